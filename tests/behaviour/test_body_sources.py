"""A source of a body that fails aborts the request, and its failure is the caller's, never the server's."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from tests.behaviour.support import failure, in_use, soon

from resilient_client import APIClient, CircuitBreaker, Hedging, InvalidRequestError
from resilient_client.testing._fault_server import FaultServer

pytestmark = pytest.mark.usefixtures("both_paths")


class Reader:
    """A file that gives pieces as they are, at most one per read."""

    def __init__(self, *pieces: object) -> None:
        self._pieces = iter(pieces)

    def read(self, _size: int = -1) -> Any:
        return next(self._pieces, b"")


def generator(piece: object) -> Iterator[Any]:
    yield from (b"first", piece, b"second")


async def async_generator(piece: object) -> AsyncIterator[Any]:
    for each in (b"first", piece, b"second"):
        yield each


SOURCES: dict[str, Callable[[object], dict[str, Any]]] = {
    "generator": lambda piece: {"content": generator(piece)},
    "async generator": lambda piece: {"content": async_generator(piece)},
    "factory": lambda piece: {"content": lambda: generator(piece)},
    "file": lambda piece: {"content": Reader(b"first", piece, b"second")},
    "part": lambda piece: {"files": {"f": Reader(b"first", piece, b"second")}},
}


@pytest.fixture
async def guarded(server: FaultServer) -> AsyncIterator[APIClient]:
    """A client whose circuit opens at the first failure of the server."""
    breaker = CircuitBreaker(minimum_calls=1, break_duration=60)
    async with APIClient(server.url, circuit_breaker=breaker) as api:
        yield api


async def unharmed(api: APIClient, server: FaultServer) -> None:
    """Assert that no body was stored as whole, that nothing is held, and that the server is not blamed."""
    assert [request.complete for request in server.requests] in ([], [False])
    assert in_use(api) == 0
    assert (await soon(api.get("/"))).status == 200


@pytest.mark.parametrize("kind", SOURCES)
async def test_none_as_piece_refused(server: FaultServer, guarded: APIClient, kind: str) -> None:
    """``None`` is refused like text: ending there would store a part of the body as the whole."""
    error = await failure(guarded.put("/", **SOURCES[kind](None)))
    assert isinstance(error, InvalidRequestError)
    assert "a piece None; each piece must be bytes" in str(error)
    await unharmed(guarded, server)


@pytest.mark.parametrize("piece", ["", "text", 0, False, [], [b"x"]], ids=repr)
@pytest.mark.parametrize("kind", ["generator", "file"])
@pytest.mark.one_loop
async def test_other_piece_refused(server: FaultServer, guarded: APIClient, kind: str, piece: object) -> None:
    """An empty value of another type is neither skipped nor the end."""
    error = await failure(guarded.put("/", **SOURCES[kind](piece)))
    assert isinstance(error, InvalidRequestError)
    assert f"of type {type(piece).__name__}" in str(error)
    await unharmed(guarded, server)


@pytest.mark.parametrize("kind", SOURCES)
async def test_empty_piece_is_skipped(server: FaultServer, guarded: APIClient, kind: str) -> None:
    """Negative control: empty bytes of a generator are no end. For a file they are."""
    await soon(guarded.put("/", **SOURCES[kind](b"")))
    (request,) = server.requests
    assert request.complete
    assert (b"second" in request.body) is (kind not in ("file", "part"))


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_async_file_refused(server: FaultServer, guarded: APIClient) -> None:
    """A file whose ``read`` is async cannot be read in a thread. Nothing warns of an un-awaited coroutine."""

    class AsyncFile:
        async def read(self, _size: int = -1) -> bytes:
            return b""

    file: Any = AsyncFile()
    error = await failure(guarded.put("/", content=file))
    assert "of type coroutine" in str(error)
    await unharmed(guarded, server)


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_wide_memoryview_is_counted_in_bytes(server: FaultServer, guarded: APIClient) -> None:
    """The length of a ``memoryview`` counts items, which may be wider than a byte."""

    class Wide(io.BytesIO):
        def read(self, size: int | None = -1) -> Any:
            return memoryview(super().read(size)).cast("I")

    await soon(guarded.put("/", content=Wide(b"12345678")))
    assert server.requests[0].body == b"12345678"


class Gone(BaseException):
    """Like the cancellations of other frameworks."""


def own_failures() -> list[BaseException]:
    return [asyncio.CancelledError("own"), StopAsyncIteration("own"), Gone("own"), ValueError("own")]


def failing(raised: BaseException) -> Iterator[bytes]:
    yield b"first"
    raise raised


async def failing_async(raised: BaseException) -> AsyncIterator[bytes]:
    yield b"first"
    await asyncio.sleep(0)
    raise raised


async def caught(call: Any) -> BaseException:
    try:
        await soon(call)
    except BaseException as error:
        return error
    raise AssertionError("the call succeeded")


@pytest.mark.parametrize("raised", own_failures(), ids=lambda raised: type(raised).__name__)
async def test_own_exception_of_source_comes_out(
    server: FaultServer, guarded: APIClient, raised: BaseException
) -> None:
    """What the source raises is raised: not a library's error in its place, and not as the end of the body."""
    error = await caught(guarded.put("/", content=failing(raised)))
    assert error is raised
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one
    await unharmed(guarded, server)


async def test_cancelled_async_source_comes_out(server: FaultServer, guarded: APIClient) -> None:
    """The same for an async generator, such as one that passes on a stream whose reader was cancelled."""
    raised = asyncio.CancelledError("own")
    assert await caught(guarded.put("/", content=failing_async(raised))) is raised
    await unharmed(guarded, server)


async def test_cancelled_source_of_stream_comes_out(server: FaultServer, guarded: APIClient) -> None:
    """The same where the reply is streamed."""
    raised = asyncio.CancelledError("own")
    assert await caught(guarded.stream("PUT", "/", content=failing_async(raised)).__aenter__()) is raised
    await unharmed(guarded, server)


async def test_cancelled_source_of_hedged_call(server: FaultServer) -> None:
    """Every attempt fails alike, and the call ends."""
    async with APIClient(server.url, retry=None, hedging=Hedging(delay=0.01)) as api:
        error = await caught(api.put("/", content=lambda: failing_async(asyncio.CancelledError("own"))))
        assert isinstance(error, asyncio.CancelledError)
        assert in_use(api) == 0


async def test_cancelled_caller_cancels_source(server: FaultServer, guarded: APIClient) -> None:
    """Negative control: a cancellation of the caller reaches a source that waits, and is the one that comes out."""
    seen: list[BaseException] = []
    begun = asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        yield b"first"
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as cancellation:
            seen.append(cancellation)
            raise

    task = asyncio.create_task(guarded.put("/", content=waiting()))
    await soon(begun.wait())
    task.cancel("the caller's")
    error = await caught(task)
    assert isinstance(error, asyncio.CancelledError)
    assert task.cancelled()
    assert len(seen) == 1
    await unharmed(guarded, server)


@pytest.mark.parametrize("way", ["buffered", "streamed"])
@pytest.mark.parametrize("last", [None, asyncio.CancelledError("own")], ids=["none", "cancelled"])
async def test_source_fails_after_early_head(way: str, last: Any) -> None:
    """A server that replies while it reads would wait for the rest of the body, and the call for the server."""
    head = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"first")
        writer.write(b"HTTP/1.1 200 Early\r\nContent-Length: 5\r\n\r\near")
        head.set()
        await reader.read()
        writer.close()

    async def source() -> AsyncIterator[Any]:
        yield b"first"
        await head.wait()
        await asyncio.sleep(0.02)  # the head may arrive after this, too: then it is the case of the tests above
        if last is not None:
            raise last
        yield None

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listener, APIClient(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}") as api:

        async def send() -> None:
            if way == "buffered":
                await api.put("/", content=source())
                return
            async with api.stream("PUT", "/", content=source()) as response:
                await response.read()

        error = await caught(send())
        assert error is last if last is not None else isinstance(error, InvalidRequestError)
        assert in_use(api) == 0
