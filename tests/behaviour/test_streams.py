"""A stream has all policies up to its headers, the deadline over its body, and leaves no connection open."""

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
    CallCancelledError,
    CircuitBreaker,
    CircuitOpenError,
    ConnectionSettings,
    DeadlineExceededError,
    ErrorKind,
    InternalServerError,
    InvalidRequestError,
    ResponseTooLargeError,
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
    """A client with one slot, so that an abandoned stream would block the next call."""
    async with APIClient(server.url, retry=QUICK, connection=ONE) as api:
        yield api


async def opened(api: APIClient, method: str = "GET", path: str = "/") -> bytes:
    """Open a stream and read it to its end."""
    async with api.stream(method, path) as reply:
        return await reply.read()


# --- reading ---


async def test_iter_bytes_gives_each_byte_once(server: FaultServer, api: APIClient) -> None:
    """The body comes in several pieces, in order, and only once."""
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
    """LF and CRLF end a line. Split characters and a last line without an end come whole."""
    server.script(faults.drip("grün\r\nblau\n\nröt".encode(), interval=0.001))
    async with api.stream("GET", "/") as reply:
        assert [line async for line in reply.iter_lines()] == ["grün", "blau", "", "röt"]


@pytest.mark.usefixtures("both_paths")
async def test_line_above_max_line_ends_the_stream(server: FaultServer, api: APIClient) -> None:
    """A line without end would take memory without end. The connection is closed, the lines before it are given."""
    server.script(faults.reply(200, body=b"one\n" + b"x" * 300_000))
    lines = []
    async with api.stream("GET", "/") as reply:
        with pytest.raises(ResponseTooLargeError, match="max_line=100000"):
            async for line in reply.iter_lines(max_line=100_000):
                lines.append(line)  # noqa: PERF401 - the lines before the error count
    assert lines == ["one"]
    async with api.stream("GET", "/") as reply:
        assert [len(line) async for line in reply.iter_lines(max_line=300_000)] == [3, 300_000]
        with pytest.raises(InvalidRequestError, match="max_line is 0"):
            await anext(reply.iter_lines(max_line=0))


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_iter_lines_lets_other_tasks_run(server: FaultServer, api: APIClient) -> None:
    """A million empty lines, which a kilobyte on the wire expands to: another task runs all the time in between."""
    server.script(faults.reply(200, body=b"\n" * 1_000_000, coding="gzip"))
    longest = latest = count = 0

    async def other() -> None:
        nonlocal latest, longest
        while True:
            longest, latest = max(longest, count - latest), count
            await asyncio.sleep(0)

    async with api.stream("GET", "/") as reply:
        task = asyncio.create_task(other())
        async for _ in reply.iter_lines():
            count += 1
        await cancelled([task])
    assert count == 1_000_000
    assert longest <= 4096


async def test_stream_has_no_size_limit(server: FaultServer) -> None:
    """A stream is not kept in memory and has no limit. Read whole, the same body is refused."""
    server.script(faults.reply(200, body=BODY))
    async with client(server, connection=ConnectionSettings(max_response_size=1000)) as api:
        assert await opened(api) == BODY
        assert (await failure(api.get("/"))).kind is ErrorKind.TOO_LARGE


@pytest.mark.parametrize("status", [200, 204])
async def test_stream_without_a_body_is_empty(server: FaultServer, api: APIClient, status: int) -> None:
    """An empty body is not an error."""
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
    """The timeout takes its cancellation back, and the task goes on."""
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
    """An exception inside the block closes the stream."""
    server.script(faults.endless_body())
    with pytest.raises(KeyError):
        async with api.stream("GET", "/"):
            raise KeyError("the user's own")
    assert in_use(api) == 0


# --- policies up to the headers ---


async def test_error_status_raises_on_entry(server: FaultServer, api: APIClient) -> None:
    """The body of an error is read for the caller, and the connection is released."""
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
    """Failures before the body are retried as for any call."""
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
    """Delivered bytes cannot be taken back, so there is one request and an error."""
    server.script(fault)
    with pytest.raises(APIConnectionError) as caught:
        async with api.stream("GET", "/", timeout=0.5) as reply:
            async for _ in reply.iter_bytes():
                pass
    assert (caught.value.kind, caught.value.stage, caught.value.maybe_processed) == (kind, Stage.BODY, True)
    assert (server.hits, in_use(api)) == (1, 0)


@pytest.mark.virtual_time
async def test_broken_framing_fails_at_once(server: FaultServer) -> None:
    """A buffered body fails when its framing breaks, not when time runs out."""
    server.script(LATE_BAD_CHUNK)
    async with client(server, timeout=0.5) as api:
        assert (await failure(api.get("/"))).kind is ErrorKind.PROTOCOL


async def test_undecodable_stream_is_an_error(server: FaultServer, api: APIClient) -> None:
    """A coding that is stacked too high is not handed over raw."""
    server.script(faults.reply(200, body=gzip.compress(b"x"), headers={"Content-Encoding": "gzip," * 6 + "gzip"}))
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
    """The client closes the stream that its caller never got."""
    server.script(faults.endless_body())
    async with client(server, **{scope: [fails_afterwards]}) as api:
        with pytest.raises(RuntimeError):
            await opened(api)
        assert in_use(api) == 0


async def test_stream_is_closed_before_retry(server: FaultServer) -> None:
    """With one slot the second attempt would otherwise wait for the first one's connection for ever."""
    server.script(faults.reply(200, body=b"x" * 5_000_000), faults.reply(200, body=BODY))
    async with APIClient(server.url, retry=QUICK, connection=ONE, attempt_middleware=[breaks_the_first]) as api:
        assert await soon(opened(api)) == BODY
        assert in_use(api) == 0


@pytest.mark.parametrize("scope", ["middleware", "attempt_middleware"])
async def test_middleware_opening_stream_twice(server: FaultServer, scope: str) -> None:
    """A middleware that repeats leaves only the last reply open."""
    server.script(faults.reply(200, body=b"x" * 5_000_000), faults.reply(200, body=BODY))
    async with client(server, connection=ONE, **{scope: [asks_twice]}) as api:
        assert await soon(opened(api)) == BODY
        assert in_use(api) == 0


async def test_stream_replaced_by_error_frees_slot(server: FaultServer) -> None:
    """An open reply of the first send does not make the error of the second one a stream."""
    server.script(faults.endless_body(), faults.reply(500))
    async with client(server, middleware=[asks_twice]) as api:
        assert isinstance(await failure(opened(api)), InternalServerError)
        assert in_use(api) == 0


@pytest.mark.virtual_time
async def test_timeout_after_headers_closes_stream(server: FaultServer) -> None:
    """A middleware hangs after the reply: the attempt fails, and its connection is closed."""
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
        with pytest.raises(CallCancelledError):
            await soon(reading)
    assert [end.kind for end in ends] == [ErrorKind.CANCELLED]


async def test_error_reply_body_is_read_once(server: FaultServer) -> None:
    """The body of an error reply is given once."""
    server.script(faults.reply(404, body=b"nope"))
    async with client(server, raise_for_status=False) as api, api.stream("GET", "/") as reply:
        assert [await reply.read(), await reply.read()] == [b"nope", b""]


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_iter_lines_of_long_line_is_linear() -> None:
    """A line of 13 MB in 200 pieces costs far less than copying it with each piece."""
    pieces = [b"x" * 65_536] * 200
    left = iter(pieces)

    class Long(StreamResponse):
        def __init__(self) -> None:
            pass

        async def _next(self) -> bytes:
            return next(left, b"")

    began = time.process_time()
    assert [len(line) async for line in Long().iter_lines()] == [200 * 65_536]
    taken = time.process_time() - began
    copied = b""
    began = time.process_time()
    for piece in pieces:
        copied = b"".join((copied, piece))
    assert taken < (time.process_time() - began) / 2
