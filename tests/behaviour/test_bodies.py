"""A request body arrives byte for byte on each attempt, and a body that cannot be sent is refused at once."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import io
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import BaseModel, Field, SecretBytes, SecretStr
from pydantic.types import Secret
from tests.behaviour.support import client, failure, in_use, open_files, soon, stuck_in, turns

from resilient_client import (
    APIClient,
    APIError,
    APITimeoutError,
    Call,
    CircuitBreaker,
    ErrorKind,
    InvalidRequestError,
    Retry,
    Stage,
    Timeout,
)
from resilient_client._transport import request_body
from resilient_client._transport.http1.connection import Connection
from resilient_client._transport.trace import WireTrace
from resilient_client.testing._fault_server import FaultServer, black_hole
from resilient_client.testing._wire import ReceivedRequest, Wire
from resilient_client.testing.faults import drop, garbage, reply

pytestmark = pytest.mark.usefixtures("both_paths")

BIG = bytes(range(256)) * 6_000  # 1.5 MiB: more than aiohttp takes without a warning
TWICE = Retry(max_attempts=2, backoff={"kind": "fixed", "initial": 0.001})
HUGE = bytes(20_000_000)


class User(BaseModel):
    name: str
    born: datetime.date


@dataclasses.dataclass
class Point:
    x: int
    y: float


class Unseekable(io.RawIOBase):
    """A pipe: can be read once."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._rest.readinto(buffer)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 1.5 MiB."""
    path = tmp_path / "big.bin"
    path.write_bytes(BIG)
    return path


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """A file of 20 MB: more than the buffers between client and server hold."""
    path = tmp_path / "huge.bin"
    path.write_bytes(HUGE)
    return path


# --- json, form ---


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, 2.5, None, True, "é"]}, {"a": [1, 2.5, None, True, "é"]}),
        ([], []),
        ("text", "text"),
        (0, 0),
        (False, False),
        (User(name="Ada", born=datetime.date(1815, 12, 10)), {"name": "Ada", "born": "1815-12-10"}),
        ({"user": User(name="Ada", born=datetime.date(1815, 12, 10))}, {"user": {"name": "Ada", "born": "1815-12-10"}}),
        ([Point(1, 2.0)], [{"x": 1, "y": 2.0}]),
        (datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC), "2026-01-02T03:00:00Z"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
    ids=repr,
)
@pytest.mark.one_loop
async def test_json_of_common_types(server: FaultServer, api: APIClient, value: object, expected: object) -> None:
    """Plain data, models, dataclasses, dates and UUIDs become JSON with its media type and length."""
    await api.post("/", json=value)
    got = server.requests[0]
    assert json.loads(got.body) == expected
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Content-Length"] == str(len(got.body))


@pytest.mark.parametrize(
    "value",
    [float("nan"), {"a": float("inf")}, object(), {1, object()}],
    ids=["nan", "inf within", "object", "object within"],
)
@pytest.mark.one_loop
@pytest.mark.one_path
async def test_invalid_json_refused(server: FaultServer, api: APIClient, value: object) -> None:
    """NaN, infinity and unknown objects are not JSON (RFC 8259)."""
    assert isinstance(await failure(api.post("/", json=value)), InvalidRequestError)
    assert server.connections == 0


class Login(BaseModel):
    user: str = "ann"
    password: SecretStr = SecretStr("canary")


@dataclasses.dataclass(slots=True)
class Wrapped:
    login: Login = dataclasses.field(default_factory=Login)


class Open(BaseModel, extra="allow"):
    pass


class Birthday(Secret[datetime.date]):
    def _display(self) -> str:
        return "****-**-**"


class Hidden(BaseModel):
    pattern: str = "*.py"
    password: SecretStr = Field("canary", exclude=True, validate_default=True)


@pytest.mark.parametrize(
    "value",
    [
        SecretStr("canary"),
        {"a": [SecretBytes(b"canary")]},
        Login(),
        (Wrapped(),),
        {"a": Secret[int](5)},
        Open(extra=SecretStr("canary")),
        [Birthday(datetime.date(2000, 2, 29))],
    ],
    ids=["alone", "within", "of a model", "of a dataclass", "of any type", "not declared", "with a mask of its own"],
)
@pytest.mark.one_loop
@pytest.mark.one_path
async def test_secret_in_json_refused(server: FaultServer, api: APIClient, value: object) -> None:
    """Pydantic serialises a secret as asterisks, which a server would store as the password."""
    error = await failure(api.post("/", json=value))
    assert isinstance(error, InvalidRequestError)
    assert "get_secret_value()" in str(error)
    assert "canary" not in str(error)
    assert server.connections == 0


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_asterisks_in_json_are_sent(server: FaultServer, api: APIClient) -> None:
    """Text that only looks like a hidden secret is text."""
    await api.post("/", json={"mask": "**********", "login": {"user": Login().user}})
    assert json.loads(server.requests[0].body)["mask"] == "**********"
    await api.post("/", json=Hidden())
    assert server.requests[1].body == b'{"pattern":"*.py"}'


class Loud(str):
    """A text whose class has other ideas of its bytes."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"LOUD"


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_text_of_a_subclass_is_its_characters(server: FaultServer, api: APIClient) -> None:
    """As content, as a field and as a file."""
    await api.post("/", content=Loud("quiet"))
    await api.post("/", data={"a": Loud("quiet")}, files={"f": Loud("quiet")})
    assert server.requests[0].body == b"quiet"
    assert server.requests[1].body.count(b"quiet") == 2


@pytest.mark.one_loop
async def test_form_is_urlencoded(server: FaultServer, api: APIClient) -> None:
    """A list repeats its name, and spaces and umlauts are quoted."""
    await api.post("/", data={"a": "1 2", "b": ["x", "ü"]})
    got = server.requests[0]
    assert got.body == b"a=1+2&b=x&b=%C3%BC"
    assert got.headers["Content-Type"] == "application/x-www-form-urlencoded"


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_form_values_are_like_params(server: FaultServer, api: APIClient) -> None:
    """None is left out, booleans are in lower case, in the query and in both kinds of form."""
    fields = {"a": None, "b": True, "c": [False, None, 1]}
    await api.post("/", data=fields)
    await api.post("/", data=fields, files={"f": b""})
    assert server.requests[0].body == b"b=true&c=false&c=1"
    assert b'name="a"' not in server.requests[1].body
    assert server.requests[1].body.count(b"true\r\n") == 1


# --- raw content ---


def sync_pieces() -> Iterator[bytes]:
    yield from (BIG[:100_000], b"", BIG[100_000:])


async def async_pieces() -> AsyncIterator[bytes]:
    for piece in sync_pieces():
        await asyncio.sleep(0)
        yield piece


async def awaited_bytes() -> bytes:
    return BIG


CONTENTS: dict[str, Callable[[Path], Any]] = {
    "bytes": lambda _: BIG,
    "bytearray": lambda _: bytearray(BIG),
    "memoryview": lambda _: memoryview(BIG),
    "BytesIO": lambda _: io.BytesIO(BIG),
    "pipe": lambda _: Unseekable(BIG),
    "path": lambda path: path,
    "generator": lambda _: sync_pieces(),
    "list": lambda _: list(sync_pieces()),
    "async generator": lambda _: async_pieces(),
    "factory of a generator": lambda _: sync_pieces,
    "factory of an async generator": lambda _: async_pieces,
    "factory of bytes": lambda _: lambda: BIG,
    "async factory": lambda _: awaited_bytes,
}
SIZED = {"bytes", "bytearray", "memoryview", "BytesIO", "path"}
ONE_SHOT = {"pipe", "generator", "async generator"}


@pytest.mark.parametrize("kind", CONTENTS)
async def test_content_arrives_byte_for_byte(server: FaultServer, api: APIClient, path: Path, kind: str) -> None:
    """1.5 MiB arrive unchanged from every kind of source."""
    await api.post("/", content=CONTENTS[kind](path))
    assert server.requests[0].body == BIG


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.one_loop
async def test_content_length_or_chunked(server: FaultServer, api: APIClient, path: Path, kind: str) -> None:
    """Content-Length where the size is known beforehand, chunked coding elsewhere, never both (RFC 9112 6.3)."""
    await api.post("/", content=CONTENTS[kind](path))
    headers = server.requests[0].headers
    expected = (str(len(BIG)), None) if kind in SIZED else (None, "chunked")
    assert (headers.get("Content-Length"), headers.get("Transfer-Encoding")) == expected


@pytest.mark.parametrize("kind", sorted(set(CONTENTS) - ONE_SHOT))
async def test_replayable_content_is_resent_whole(server: FaultServer, path: Path, kind: str) -> None:
    """The second attempt sends everything, from where the first one began."""
    server.script(drop(), reply())
    async with APIClient(server.url, retry=TWICE) as api:
        await api.put("/", content=CONTENTS[kind](path))
    assert [request.body == BIG for request in server.requests] == [True, True]


@pytest.mark.parametrize("kind", sorted(ONE_SHOT))
async def test_one_shot_content_is_sent_once(server: FaultServer, path: Path, kind: str) -> None:
    """One attempt, and an error that says why there was no second."""
    server.script(drop(), reply())
    async with APIClient(server.url, retry=TWICE) as api:
        error = await failure(api.put("/", content=CONTENTS[kind](path)))
    assert "one-shot" in str(error)
    assert server.hits == 1


@pytest.mark.one_loop
async def test_text_content_is_utf8(server: FaultServer, api: APIClient) -> None:
    """Text is sent in UTF-8, and says so."""
    await api.post("/", content="grün")
    got = server.requests[0]
    assert (got.body, got.headers["Content-Type"]) == ("grün".encode(), "text/plain; charset=utf-8")


async def test_file_content_starts_at_position(server: FaultServer, path: Path) -> None:
    """A file that was read up to byte 10 is sent from byte 10, on every attempt, and stays the caller's to close."""
    server.script(drop(), reply())
    with path.open("rb") as file:
        file.seek(10)
        async with APIClient(server.url, retry=TWICE) as api:
            await api.put("/", content=file)
        assert not file.closed
    assert [request.body == BIG[10:] for request in server.requests] == [True, True]


@pytest.mark.parametrize("content", [b"", iter(()), io.BytesIO()], ids=["bytes", "iterator", "file"])
async def test_empty_content_is_complete(server: FaultServer, api: APIClient, content: Any) -> None:
    """An empty body is a complete request."""
    await soon(api.post("/", content=content))
    assert (server.requests[0].body, server.requests[0].complete) == (b"", True)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("foreign", [False, True], ids=["own session", "session of the caller"])
@pytest.mark.one_loop
async def test_no_body_no_content_type(server: FaultServer, method: str, foreign: bool) -> None:
    """Without a body there is no media type (RFC 9110 section 8.3). Some servers refuse unknown ones."""
    async with aiohttp.ClientSession() as session, client(server, session=session if foreign else None) as api:
        await soon(api.request(method, "/"))
    assert "Content-Type" not in server.requests[0].headers


@pytest.mark.one_loop
async def test_no_body_keeps_given_content_type(server: FaultServer, api: APIClient) -> None:
    """Negative control: only the guessed type is left out."""
    await soon(api.post("/", headers={"Content-Type": "application/json"}))
    assert server.requests[0].headers["Content-Type"] == "application/json"


async def test_generator_error_reaches_caller(server: FaultServer, api: APIClient) -> None:
    """The caller's own exception is raised unchanged, and the pool's slot is released."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"beginning"
        raise KeyError("the user's own")

    with pytest.raises(KeyError, match="own"):
        await api.post("/", content=pieces())
    assert in_use(api) == 0


async def test_vanished_file_raises_oserror(server: FaultServer, path: Path) -> None:
    """A file that is gone by the second attempt is not a connection error, and is not retried."""

    async def vanish(request: ReceivedRequest, wire: Wire) -> None:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        wire.close()

    server.script(vanish)
    async with APIClient(server.url, retry=TWICE.model_copy(update={"max_attempts": 5})) as api:
        with pytest.raises(FileNotFoundError):
            await api.put("/", content=path)
    assert server.hits == 1


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_generator_oserror_is_not_a_disconnect(server: FaultServer, api: APIClient) -> None:
    """An ``OSError`` of the caller's generator is the caller's, not the upstream's."""

    def pieces() -> Iterator[bytes]:
        yield b"beginning"
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="fire"):
        await api.post("/", content=pieces())


async def send(api: APIClient, content: Any, limit: float) -> APIError:
    """Return the error of an upload that takes too long."""
    return await failure(api.post("/", content=content, timeout=Timeout(total=60, attempt=limit)))


async def test_unread_upload_times_out_in_send() -> None:
    """A server that stops reading a 50 MB upload: the error says that it hung while sending."""
    with black_hole() as url:
        async with client(url) as api:
            error = await stuck_in(Stage.SEND, lambda limit: send(api, bytes(50_000_000), limit))
            assert in_use(api) == 0
    assert isinstance(error, APITimeoutError)
    assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.TIMEOUT, Stage.SEND, True)


@pytest.fixture(params=["bytes", "file", "pieces"])
def not_taken(request: pytest.FixtureRequest, huge: Path, both_paths: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A body that no kernel keeps whole."""
    if both_paths == "direct":
        monkeypatch.setattr(request_body, "_AT_ONCE", len(HUGE))
    return {"bytes": HUGE, "file": huge, "pieces": lambda: iter([HUGE[:60_000]] * 200)}[request.param]


async def test_unread_upload_leaves_no_connection(not_taken: Any) -> None:
    """An orderly close would wait until the server reads the rest, which it never does."""
    with black_hole() as url:
        async with client(url) as api:
            await failure(api.get("/", timeout=0.1))  # opens what stays open
            await turns()
            before = open_files()
            error = await stuck_in(Stage.SEND, lambda limit: send(api, not_taken, limit))
            assert error.stage is Stage.SEND
            await turns()
            assert open_files() == before


async def test_unread_upload_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: closed in order, the connection outlives its call, and waits for a server that hangs."""
    closed: list[Any] = []

    def close_in_order(connection: Connection) -> None:
        closed.append(connection.transport)
        connection.transport.close()

    monkeypatch.setattr(WireTrace, "abort", lambda self: closed.append(self.wire))
    monkeypatch.setattr(Connection, "_hang_up", close_in_order)
    with black_hole() as url:
        async with client(url) as api:
            await failure(api.get("/", timeout=0.1))
            await turns()
            before, attempts_before = open_files(), len(closed)
            await stuck_in(Stage.SEND, lambda limit: send(api, lambda: iter([HUGE[:60_000]] * 200), limit))
            await turns()
            assert open_files() > before
            assert len(closed) > attempts_before
        for wire in filter(None, closed):
            wire.abort()
        await turns()


async def test_early_reply_leaves_no_connection(not_taken: Any) -> None:
    """A server that has replied and does not read the rest is not waited for."""
    answered = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 Early\r\nContent-Length: 5\r\n\r\nearly")
        await answered.wait()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listener, client(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}") as api:
        before = open_files()
        await soon(api.post("/", content=not_taken))
        await turns()
        left = open_files() - before
        answered.set()
    assert left == 1  # the server's end


@pytest.mark.parametrize("status", [200, 413])
async def test_early_reply_is_returned(huge: Path, status: int) -> None:
    """An early reply of a server that stops reading is returned, and our file is closed."""
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d Early\r\nContent-Length: 5\r\n\r\nearly" % status)
        await writer.drain()
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        ended.set()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listener, client(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}") as api:
        response = await soon(api.post("/", content=huge, raise_for_status=False))
        await soon(ended.wait())
    assert (response.status, response.content) == (status, b"early")


async def test_early_reply_while_sending(huge: Path) -> None:
    """A server that answers first and reads on meanwhile gets the whole file, and its reply is read to the end."""
    got = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 Early\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
        await writer.drain()
        got.set_result(len(await reader.readexactly(20_000_000)))
        writer.write(b"early")
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listener, client(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}") as api:
        assert (await soon(api.post("/", content=huge))).content == b"early"
    assert got.result() == 20_000_000


# --- wrong bodies ---


@pytest.mark.parametrize(
    "options",
    [
        {"json": {}, "data": {}},
        {"json": {}, "content": b""},
        {"content": b"", "files": {"f": b""}},
        {"json": {}, "files": {"f": b""}},
        {"content": 5},
        {"data": 5},
        {"data": b"raw"},
        {"data": {"a": {"b": 1}}},
        {"content": {"a": 1}},
        {"content": ["text"]},
        {"content": (b"bytes", 5)},
        {"files": {"f": 5}},
        {"content": Path("/does/not/exist")},
        {"files": {"f": Path("/does/not/exist")}},
        {"content": "half of a \ud83d"},
        {"json": "half of a \ud83d"},
        {"data": {"a": "half of a \ud83d"}},
        {"data": {"half of a \ud83d": "a"}},
        {"files": {"f": "half of a \ud83d"}},
        {"files": {"half of a \ud83d": b""}},
        {"files": {"f": ("half of a \ud83d", b"")}},
        {"content": io.StringIO("text")},
        {"files": {"f": io.StringIO("text")}},
    ],
    ids=lambda options: re.sub(" at 0x[0-9a-f]+", "", ascii(options)),  # an address differs from process to process
)
@pytest.mark.one_loop
@pytest.mark.one_path
async def test_invalid_body_refused(server: FaultServer, api: APIClient, options: Any) -> None:
    """Combinations that exclude each other, wrong kinds, missing files, text files."""
    assert isinstance(await failure(api.post("/", **options)), InvalidRequestError)
    assert server.connections == 0


# --- replies without a body ---


@pytest.mark.parametrize("status", [200, 204, 304])
async def test_empty_reply_fits_optional_model(server: FaultServer, api: APIClient, status: int) -> None:
    """An empty body counts as null."""
    server.script(reply(status))
    assert (await soon(api.get("/"))).content == b""
    assert await soon(api.get("/", response_model=User | None)) is None


async def test_head_reply_has_no_body(server: FaultServer, api: APIClient) -> None:
    """The length of a reply to HEAD is not waited for."""
    server.script(reply(200, body=b"12345"))
    response = await soon(api.head("/"))
    assert (response.content, response.headers["Content-Length"]) == (b"", "5")


@pytest.mark.one_loop
async def test_empty_reply_does_not_fit_model(server: FaultServer, api: APIClient) -> None:
    """Where a value was asked for, an empty reply is an invalid response."""
    server.script(reply(204))
    assert (await failure(api.get("/", response_model=User))).kind is ErrorKind.INVALID_RESPONSE


@pytest.mark.parametrize("head", ["HEAD 200", "GET 204", "GET 304"])
async def test_empty_reply_needs_no_decoder(server: FaultServer, api: APIClient, head: str) -> None:
    """An unknown coding does not matter where there is nothing to decode."""
    method, status = head.split()
    server.script(garbage(f"HTTP/1.1 {status} X\r\nContent-Encoding: aws-chunked\r\n\r\n".encode()))
    response = await soon(api.request(method, "/"))
    assert (response.status, response.content) == (int(status), b"")


# --- one call, made twice ---


@pytest.mark.parametrize(("option", "kind"), [*(("content", kind) for kind in sorted(ONE_SHOT)), ("files", "pipe")])
@pytest.mark.one_loop
async def test_one_shot_call_sent_twice_refused(
    server: FaultServer, api: APIClient, path: Path, kind: str, option: str
) -> None:
    """The second send is refused with the remedy, and nothing is sent empty."""
    source = CONTENTS[kind](path)
    call: Call[Any] = Call("PUT", "/", **{option: {"f": source} if option == "files" else source})
    await api.send(call)
    error = await failure(api.send(call))
    assert isinstance(error, InvalidRequestError)
    assert "already sent; give bytes, a file or a factory" in str(error)
    assert server.hits == 1


async def test_one_shot_call_sent_concurrently(server: FaultServer, api: APIClient) -> None:
    """Of two tasks one sends the whole body, and the other is refused."""
    call = Call.put("/", content=sync_pieces())
    outcomes = await soon(asyncio.gather(api.run(call), api.run(call)))
    assert sorted(getattr(outcome, "kind", "") for outcome in outcomes) == ["", ErrorKind.INVALID_REQUEST]
    assert [request.body for request in server.requests if request.complete] == [BIG]


@pytest.mark.parametrize("option", ["content", "files"])
async def test_file_call_sent_twice(server: FaultServer, api: APIClient, path: Path, option: str) -> None:
    """Both sends carry the whole file from where it stood first."""
    with path.open("rb") as file:
        file.seek(10)
        call: Call[Any] = Call("PUT", "/", **{option: {"f": file} if option == "files" else file})
        await api.send(call)
        await api.send(call)
    first, second = (request.body for request in server.requests)
    assert first == second
    assert BIG[10:] in first


# --- bodies that turn out wrong on the way ---


@pytest.mark.parametrize(
    "content", [lambda: iter([b"x", "text"]), lambda: range(3), lambda: {"a": 1}, lambda: "text"], ids=range(4)
)
@pytest.mark.one_loop
@pytest.mark.one_path
async def test_content_of_wrong_type_is_invalid(server: FaultServer, content: Any) -> None:
    """One attempt, a clear error, and nothing counted against the server by the circuit."""
    breaker = CircuitBreaker(minimum_calls=1, break_duration=60)
    async with APIClient(server.url, retry=TWICE, circuit_breaker=breaker) as api:
        error = await failure(api.put("/", content=content))
        assert isinstance(error, InvalidRequestError)
        assert "must be bytes" in str(error)
        assert error.attempts == 1
        assert (await api.get("/")).status == 200


@pytest.mark.parametrize("piece", [bytearray(b"piece"), memoryview(b"piece")], ids=["bytearray", "memoryview"])
async def test_bytes_like_pieces_arrive(server: FaultServer, api: APIClient, piece: Any) -> None:
    """Bytes-like pieces are sent as bytes."""
    await api.put("/", content=iter([piece]))
    assert server.requests[0].body == b"piece"


@pytest.mark.parametrize("option", ["content", "files"])
async def test_truncated_content_fails_at_once(server: FaultServer, api: APIClient, option: str) -> None:
    """A file that shrinks while it is sent cannot be completed, so the call fails without waiting."""

    class Cut(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(5) if self.tell() == 0 else b""

    options: dict[str, Any] = {"content": Cut(b"x" * 10)} if option == "content" else {"files": {"f": Cut(b"x" * 10)}}
    error = await failure(api.put("/", **options))
    assert isinstance(error, InvalidRequestError)
    assert "the body ended after" in str(error)
