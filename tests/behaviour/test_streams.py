"""The rule of streams: policies up to the headers, the deadline over the body, and no connection left behind."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.behaviour.support import cancelled, client, failure, in_use, soon, turns

from resilient_client import (
    APIClient,
    APIConnectionError,
    CircuitBreaker,
    CircuitOpenError,
    ClientClosedError,
    ConnectionSettings,
    DeadlineExceededError,
    ErrorKind,
    InternalServerError,
    InvalidRequestError,
    Retry,
    Stage,
    Timeout,
)
from resilient_client._call.stream import StreamResponse
from resilient_client._core.events import CallFinished
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import End, Fault, Pause

pytestmark = pytest.mark.usefixtures("both_paths")

ONE = ConnectionSettings(pool_size=1)
QUICK = Retry(max_attempts=3, backoff={"kind": "fixed", "initial": 0.001})
LATE_BAD_CHUNK = Fault(
    "late bad chunk",
    lambda _request: (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        Pause(0.02),
        b"zz\r\n",
        End.CLOSE,
    ),
)
BODY = b"".join(b"line %d\n" % number for number in range(20_000))


@pytest.fixture
async def api(server: FaultServer) -> AsyncIterator[APIClient]:
    """A client with one place, so that a stream that is left behind is noticed by the next call."""
    async with APIClient(server.url, retry=QUICK, connection=ONE) as api:
        yield api


async def opened(api: APIClient, method: str = "GET", path: str = "/") -> bytes:
    """Open a stream and read it to its end."""
    async with api.stream(method, path) as reply:
        return await reply.read()


# --- reading ---


async def test_iter_bytes_gives_each_byte_once(server: FaultServer, api: APIClient) -> None:
    """In more than one piece, in order, and nothing the second time."""
    server.script(faults.reply(200, body=BODY))
    async with api.stream("GET", "/") as reply:
        pieces = [piece async for piece in reply.iter_bytes()]
        assert b"".join(pieces) == BODY
        assert len(pieces) > 1
        assert [piece async for piece in reply.iter_bytes()] == []


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
async def test_stream_is_decoded(server: FaultServer, api: APIClient, coding: faults.Coding) -> None:
    """The caller gets the content, not its coding."""
    server.script(faults.reply(200, body=BODY, coding=coding))
    assert await opened(api) == BODY


async def test_iter_lines_gives_text_lines(server: FaultServer, api: APIClient) -> None:
    """LF and CRLF end a line; umlauts cut in two by the network, and a last line without an end, come whole."""
    server.script(faults.drip("grün\r\nblau\n\nröt".encode(), interval=0.001))
    async with api.stream("GET", "/") as reply:
        assert [line async for line in reply.iter_lines()] == ["grün", "blau", "", "röt"]


async def test_stream_has_no_size_limit(server: FaultServer) -> None:
    """What is not kept in memory needs no cap; read whole, the same body is refused."""
    server.script(faults.reply(200, body=BODY))
    async with client(server, connection=ConnectionSettings(max_response_size=1000)) as api:
        assert await opened(api) == BODY
        assert (await failure(api.get("/"))).kind is ErrorKind.TOO_LARGE


@pytest.mark.parametrize("status", [200, 204])
async def test_stream_without_a_body_is_empty(server: FaultServer, api: APIClient, status: int) -> None:
    """Nothing to read is no error."""
    server.script(faults.reply(status))
    assert await soon(opened(api)) == b""
    assert await soon(opened(api, "HEAD")) == b""
    assert in_use(api) == 0


async def test_stream_closes_uploaded_file(server: FaultServer, api: APIClient, tmp_path: Path) -> None:
    """A path opened here is closed with the stream (a ResourceWarning is an error)."""
    path = tmp_path / "up.bin"
    await asyncio.to_thread(path.write_bytes, BODY)
    server.script(faults.reply(200, body=b"ok"))
    async with api.stream("POST", "/", content=path) as reply:
        assert await reply.read() == b"ok"
    assert server.requests[0].body == BODY


# --- the deadline ---


@pytest.mark.virtual_time
async def test_stream_deadline_covers_the_body(server: FaultServer, api: APIClient) -> None:
    """A body that drips for 2 s is cut at 0.2 s, and the error says that it was the body."""
    server.script(faults.drip(b"x" * 100, interval=0.02))
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(DeadlineExceededError) as caught:
        async with api.stream("GET", "/", timeout=0.2) as reply:
            await reply.read()
    assert 0.19 <= loop.time() - began < 1
    assert (caught.value.stage, in_use(api)) == (Stage.BODY, 0)


@pytest.mark.virtual_time
async def test_stream_deadline_cancels_no_task(server: FaultServer, api: APIClient) -> None:
    """The alarm takes its cancellation back: the task goes on as if nothing had happened."""
    server.route("GET", "/hangs", faults.hang_in_body())
    with pytest.raises(DeadlineExceededError):
        async with api.stream("GET", "/hangs", timeout=0.05) as reply:
            await reply.read()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await soon(api.get("/"))


@pytest.mark.virtual_time
async def test_attempt_limit_ends_at_headers(server: FaultServer) -> None:
    """Reading may take longer than one attempt may."""
    server.script(faults.drip(b"x" * 20, interval=0.01))
    async with client(server, timeout=Timeout(total=5, attempt=0.1)) as api:
        assert len(await soon(opened(api))) == 20


async def test_stream_cancelled_while_reading(server: FaultServer, api: APIClient) -> None:
    """A caller's own cancellation passes through and leaves nothing behind."""
    server.script(faults.hang_in_body())
    reading = asyncio.create_task(opened(api))
    await soon(server.wait_for_hits(1))
    await turns(20)
    await cancelled([reading])
    assert reading.cancelled()
    assert in_use(api) == 0


# --- leaving early ---


async def test_stream_left_early_is_closed(server: FaultServer, api: APIClient) -> None:
    """An unread body is not read to spare a connection."""
    server.script(faults.reply(200, body=b"x" * 5_000_000), faults.reply(200))
    async with api.stream("GET", "/") as reply:
        assert reply.status == 200
    assert in_use(api) == 0
    await soon(api.get("/"))
    assert server.connections == 2


async def test_stream_read_to_end_keeps_connection(server: FaultServer, api: APIClient) -> None:
    """Negative control: after the last byte the connection is good for another call."""
    server.script(faults.reply(200, body=BODY))
    await opened(api)
    await opened(api)
    assert (server.hits, server.connections) == (2, 1)


async def test_error_in_block_closes_stream(server: FaultServer, api: APIClient) -> None:
    """Whatever happens inside."""
    server.script(faults.endless_body())
    with pytest.raises(KeyError):
        async with api.stream("GET", "/"):
            raise KeyError("the user's own")
    assert in_use(api) == 0


# --- policies up to the headers ---


async def test_error_status_raises_on_entry(server: FaultServer, api: APIClient) -> None:
    """The body of an error is read for the caller; the connection is given back."""
    server.script(faults.reply(500, body=b"why"))
    with pytest.raises(InternalServerError) as caught:
        await opened(api)
    assert caught.value.response.content == b"why"
    assert (caught.value.attempts, server.hits, in_use(api)) == (3, 3, 0)


async def test_error_status_without_raise_is_read(server: FaultServer, api: APIClient) -> None:
    """The caller reads the body of an error like any other."""
    server.script(faults.reply(404, body=b"why"))
    async with api.stream("GET", "/", raise_for_status=False) as reply:
        assert (reply.status, await reply.read()) == (404, b"why")


@pytest.mark.parametrize("fault", [faults.drop(), faults.reset(), faults.reply(503), faults.garbage()], ids=repr)
async def test_stream_is_retried_up_to_headers(server: FaultServer, api: APIClient, fault: Fault) -> None:
    """Trouble before the body is healed as for any call."""
    server.script(fault, faults.reply(200, body=BODY))
    async with api.stream("GET", "/") as reply:
        assert await reply.read() == BODY
        assert (reply.attempts, server.hits) == (2, 2)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.truncate(), ErrorKind.DISCONNECTED),
        (faults.truncate_chunked(), ErrorKind.DISCONNECTED),
        (faults.reset_body(), ErrorKind.DISCONNECTED),
        (faults.truncated_coding("gzip"), ErrorKind.DISCONNECTED),
        (faults.truncated_coding("br"), ErrorKind.DISCONNECTED),
        (faults.truncated_coding("zstd"), ErrorKind.DISCONNECTED),
        (LATE_BAD_CHUNK, ErrorKind.PROTOCOL),
        (faults.corrupt_gzip(), ErrorKind.PROTOCOL),
    ],
    ids=repr,
)
@pytest.mark.virtual_time
async def test_broken_body_is_not_retried(server: FaultServer, api: APIClient, fault: Fault, kind: ErrorKind) -> None:
    """Bytes were delivered: nobody can take them back, so there is one request and an error."""
    server.script(fault)
    with pytest.raises(APIConnectionError) as caught:
        async with api.stream("GET", "/", timeout=0.5) as reply:
            async for _ in reply.iter_bytes():
                pass
    assert (caught.value.kind, caught.value.stage, caught.value.maybe_processed) == (kind, Stage.BODY, True)
    assert (server.hits, in_use(api)) == (1, 0)


@pytest.mark.virtual_time
async def test_broken_framing_fails_at_once(server: FaultServer) -> None:
    """Read whole, too, it is known for what it is when it happens, not when time runs out."""
    server.script(LATE_BAD_CHUNK)
    async with client(server, timeout=0.5) as api:
        assert (await failure(api.get("/"))).kind is ErrorKind.PROTOCOL


async def test_undecodable_stream_is_an_error(server: FaultServer, api: APIClient) -> None:
    """A coding nobody knows is not handed over raw."""
    server.script(faults.reply(200, body=gzip.compress(b"x"), headers={"Content-Encoding": "pack200"}))
    with pytest.raises(APIConnectionError):
        await opened(api)
    assert in_use(api) == 0


async def test_circuit_counts_stream_at_headers(server: FaultServer) -> None:
    """Failed streams open it, and then none is opened."""
    server.script(faults.drop())
    breaker = CircuitBreaker(minimum_calls=3, break_duration=60)
    async with client(server, circuit_breaker=breaker) as api:
        for _ in range(3):
            await failure(opened(api))
        assert isinstance(await failure(opened(api)), CircuitOpenError)
    assert server.hits == 3


# --- other people's code around it ---


async def fails_afterwards(request: Request, call_next: Handler) -> Response:
    await call_next(request)
    raise RuntimeError("a bug of the user's")


async def breaks_the_first(request: Request, call_next: Handler) -> Response:
    response = await call_next(request)
    if request.context.attempts == 1:
        raise APIConnectionError("the user's middleware does not like it", retryable=True)
    return response


async def asks_twice(request: Request, call_next: Handler) -> Response:
    await call_next(request)
    return await call_next(request)


async def dawdles(request: Request, call_next: Handler) -> Response:
    response = await call_next(request)
    await asyncio.get_running_loop().create_future()
    return response


@pytest.mark.parametrize("scope", ["middleware", "attempt_middleware"])
async def test_failing_middleware_closes_stream(server: FaultServer, scope: str) -> None:
    """Nobody owns it then but the client."""
    server.script(faults.endless_body())
    async with client(server, **{scope: [fails_afterwards]}) as api:
        with pytest.raises(RuntimeError):
            await opened(api)
        assert in_use(api) == 0


async def test_stream_is_closed_before_retry(server: FaultServer) -> None:
    """With one place only, the second attempt would otherwise wait for the first one's connection for ever."""
    server.script(faults.reply(200, body=b"x" * 5_000_000), faults.reply(200, body=BODY))
    async with APIClient(server.url, retry=QUICK, connection=ONE, attempt_middleware=[breaks_the_first]) as api:
        assert await soon(opened(api)) == BODY
        assert in_use(api) == 0


@pytest.mark.parametrize("scope", ["middleware", "attempt_middleware"])
async def test_middleware_opening_stream_twice(server: FaultServer, scope: str) -> None:
    """A repeater of the user's leaves only the last reply open."""
    server.script(faults.reply(200, body=b"x" * 5_000_000), faults.reply(200, body=BODY))
    async with client(server, connection=ONE, **{scope: [asks_twice]}) as api:
        assert await soon(opened(api)) == BODY
        assert in_use(api) == 0


async def test_stream_replaced_by_error_frees_slot(server: FaultServer) -> None:
    """An open reply of a first try does not make an error of the second one look like a stream."""
    server.script(faults.endless_body(), faults.reply(500))
    async with client(server, middleware=[asks_twice]) as api:
        assert isinstance(await failure(opened(api)), InternalServerError)
        assert in_use(api) == 0


@pytest.mark.virtual_time
async def test_timeout_after_headers_closes_stream(server: FaultServer) -> None:
    """The reply was there, a middleware dawdled: the attempt fails, and its connection goes."""
    server.script(faults.endless_body())
    timeout = Timeout(total=5, attempt=0.2)
    async with client(server, timeout=timeout, attempt_middleware=[dawdles]) as api:
        assert (await failure(opened(api))).kind is ErrorKind.TIMEOUT
        assert in_use(api) == 0


# --- closed streams ---


async def test_read_after_block_is_invalid(server: FaultServer, api: APIClient) -> None:
    """It says that the stream is closed, not that the server broke the connection."""
    server.script(faults.reply(200, body=BODY * 10))
    async with api.stream("GET", "/") as reply:
        pieces = reply.iter_bytes()
        await anext(pieces)
    for reading in (reply.read(), anext(pieces)):
        error = await failure(reading)
        assert isinstance(error, InvalidRequestError)
        assert "this stream is closed" in str(error)


async def test_stream_of_closed_client(server: FaultServer) -> None:
    """The call ends once, as a failure, and the server is not blamed."""
    server.script(faults.drip(b"abc", interval=60))
    api, ends = client(server), list[CallFinished]()
    api.subscribe(lambda event: ends.append(event) if isinstance(event, CallFinished) else None)
    async with api.stream("GET", "/") as reply:
        reading = asyncio.create_task(reply.read())
        await turns()
        await api.close()
        with pytest.raises(ClientClosedError):
            await soon(reading)
    assert [end.kind for end in ends] == [ErrorKind.UNEXPECTED]


async def test_error_reply_body_is_read_once(server: FaultServer) -> None:
    """As that of any other."""
    server.script(faults.reply(404, body=b"nope"))
    async with client(server, raise_for_status=False) as api, api.stream("GET", "/") as reply:
        assert [await reply.read(), await reply.read()] == [b"nope", b""]


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_iter_lines_of_long_line_is_linear() -> None:
    """A line of 13 MB in 200 pieces takes far less than that would."""
    pieces = [b"x" * 65_536] * 200

    class Long(StreamResponse):
        def __init__(self) -> None:
            pass

        async def iter_bytes(self) -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

    began = time.process_time()
    assert [len(line) async for line in Long().iter_lines()] == [200 * 65_536]
    taken = time.process_time() - began
    copied = b""
    began = time.process_time()
    for piece in pieces:
        copied = b"".join((copied, piece))
    assert taken < (time.process_time() - began) / 2
