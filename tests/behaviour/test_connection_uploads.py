"""Uploads that meet an early answer, an end, silence, or a source that fails. No socket, task or source is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.behaviour.raw_server import Peer, RawServer, keeps_nothing, open_connections, raw_client, until
from tests.behaviour.support import failure, in_use, soon

from resilient_client import APIClient, ErrorKind, Response, Stage
from resilient_client._transport import transport

pytestmark = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])

PIECE = b"x" * 262144
SIZE = 6 * 1024 * 1024  # more than the buffers of the sockets take
WINDOW = 65536
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"
CLOSING = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
STREAMED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


class Source:
    """A body of many pieces, which counts the pieces taken and knows whether it was ended."""

    def __init__(self, fails_after: int = -1, error: BaseException | None = None) -> None:
        self.taken = 0
        self.begun = 0
        self.ended = False
        self._fails_after, self._error = fails_after, error

    async def __call__(self) -> AsyncIterator[bytes]:
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        self.begun += 1
        try:
            for number in range(SIZE // len(PIECE)):
                if number == self._fails_after and self._error is not None:
                    raise self._error
                self.taken += 1
                yield PIECE
                await asyncio.sleep(0)
        finally:
            self.ended = True


BODIES: dict[str, Callable[[], Any]] = {"length": lambda: b"x" * SIZE, "chunked": Source}


async def put(api: APIClient, body: Any, **options: Any) -> Response:
    return await soon(api.put("/", content=body, raise_for_status=False, **options))


async def read_rest(peer: Peer) -> int:
    """Read until the client closes, and return how much."""
    size = 0
    try:
        while True:
            size += len(await peer.receive())
    except ConnectionError:
        return size


# --- early replies ---


@pytest.mark.parametrize("reads_on", [False, True], ids=["stops reading", "reads on"])
@pytest.mark.parametrize("reply", [OK, TOO_LARGE, CLOSING], ids=["200", "413", "413 and close"])
@pytest.mark.parametrize("body", BODIES)
async def test_early_reply_ends_the_upload(tls: bool, body: str, reply: bytes, reads_on: bool) -> None:
    """The reply is the result. The connection cannot be used again, and is closed (RFC 9112 section 9.5)."""
    done = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.receive()
        await peer.send(reply)
        if reads_on:
            assert await read_rest(peer) < SIZE
        else:
            await done.wait()

    with keeps_nothing() as check:
        async with RawServer(serve, tls=tls, window=WINDOW) as server, raw_client(server) as api:
            for count in (1, 2):
                got = await put(api, BODIES[body]())
                assert (got.status, got.content) == (int(reply[9:12]), reply[-2:])
                assert (in_use(api), server.hits, server.connections) == (0, count, count)
                await until(lambda: open_connections(api) == 0)
            done.set()
        await check()


@pytest.mark.parametrize("body", BODIES)
async def test_early_stream_while_the_server_reads(tls: bool, body: str) -> None:
    """A response may begin before the request has ended, as an echo does. Both go on to their ends."""
    received = 0

    async def serve(peer: Peer) -> None:
        nonlocal received
        await peer.request()
        await peer.send(STREAMED)
        while received < SIZE:
            received += len(await peer.receive())
        await peer.send(b"0\r\n\r\n")
        await peer.gone()

    async with RawServer(serve, tls=tls, window=WINDOW) as server, raw_client(server) as api:
        async with api.stream("PUT", "/", content=BODIES[body]()) as stream:
            assert await soon(stream.read()) == b"ok"
        assert received >= SIZE
        assert in_use(api) == 0


@pytest.mark.parametrize("body", BODIES)
async def test_early_stream_closed_by_the_reader(tls: bool, body: str) -> None:
    """Closing the stream ends the upload that is held back."""
    done = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAMED)
        await done.wait()

    with keeps_nothing() as check:
        async with RawServer(serve, tls=tls, window=WINDOW) as server, raw_client(server) as api:
            async with api.stream("PUT", "/", content=BODIES[body]()) as stream:
                assert await soon(anext(aiter(stream.iter_bytes()))) == b"ok"
            assert in_use(api) == 0
            await until(lambda: open_connections(api) == 0)
            done.set()
        await check()


# --- the server ends ---


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("end", ["fin", "reset"])
async def test_end_while_uploading(tls: bool, end: str, body: str) -> None:
    """A server that can send no reply any more ends the call, also if it neither reads nor closes."""
    done = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        if end == "fin":
            if tls:
                await peer.alert()
            peer.fin()
            await done.wait()
        else:
            peer.reset()

    with keeps_nothing() as check:
        async with RawServer(serve, tls=tls, window=WINDOW) as server, raw_client(server) as api:
            error = await failure(put(api, BODIES[body]()))
            assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.DISCONNECTED, Stage.SEND, True)
            assert (in_use(api), server.hits) == (0, 1)
            await until(lambda: open_connections(api) == 0)
            done.set()
        await check()


# --- Expect ---


EXPECT = {"Expect": "100-continue"}


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest wait for a 100 that never comes is short."""
    monkeypatch.setattr(transport, "MAX_CONTINUE_WAIT", 0.05)


@pytest.mark.parametrize("interim", [CONTINUE, HINTS + CONTINUE, CONTINUE + HINTS, b""], ids=str)
async def test_expect_is_answered(tls: bool, interim: bytes, short_wait: None) -> None:
    """The body follows the 100, or the longest wait for it. Other interim replies mean nothing."""

    async def serve(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            for at in range(0, len(interim), 20):
                await peer.send(interim[at : at + 20])
            received = await peer.receive()
            while len(received) < 5:
                received += await peer.receive()
            await peer.send(OK)
        await peer.gone()

    async with RawServer(serve, tls=tls, window=WINDOW) as server, raw_client(server) as api:
        for _ in range(2):
            assert (await put(api, b"hello", headers=EXPECT)).content == b"ok"
        assert (server.hits, server.connections) == (2, 1)


async def test_expect_is_answered_late(tls: bool, short_wait: None) -> None:
    """A 100 after the longest wait finds the body sent, and changes nothing."""

    async def serve(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            received = b""
            while len(received) < 5:
                received += await peer.receive()
            await peer.send(CONTINUE)
            await peer.send(OK)
        await peer.gone()

    async with RawServer(serve, tls=tls, window=WINDOW) as server, raw_client(server) as api:
        for _ in range(2):
            assert (await put(api, b"hello", headers=EXPECT)).status == 200
        assert (server.hits, server.connections) == (2, 1)


@pytest.mark.parametrize("status", [200, 417, 401])
@pytest.mark.parametrize("interim", [b"", HINTS], ids=["at once", "after 103"])
async def test_final_reply_in_place_of_100(tls: bool, interim: bytes, status: int) -> None:
    """The server does not want the body. It is not sent, nor is its source begun, and the connection is closed."""
    source, rest = Source(), -1

    async def serve(peer: Peer) -> None:
        nonlocal rest
        await peer.request()
        await peer.send(interim + b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % status)
        rest = await read_rest(peer)

    async with RawServer(serve, tls=tls, window=WINDOW) as server, raw_client(server) as api:
        got = await put(api, source, headers=EXPECT)
        assert (got.status, got.content) == (status, b"ok")
        await until(lambda: rest >= 0)
        assert (rest, source.begun, server.hits) == (0, 0, 1)
        assert open_connections(api) == 0


@pytest.mark.parametrize("end", ["fin", "reset", "cancelled"])
async def test_end_in_place_of_100(tls: bool, end: str) -> None:
    """A connection that ends, or a call that is cancelled, in the wait for the 100: nothing is sent or left."""
    source, done = Source(), asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        if end == "fin":
            if tls:
                await peer.alert()
            peer.fin()
        if end == "reset":
            peer.reset()
        else:
            await done.wait()

    with keeps_nothing() as check:
        async with RawServer(serve, tls=tls) as server, raw_client(server) as api:
            call = asyncio.create_task(put(api, source, headers=EXPECT))
            if end == "cancelled":
                await until(lambda: server.hits == 1)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await soon(call)
            else:
                error = await failure(call)
                assert (error.kind, error.stage) == (ErrorKind.DISCONNECTED, Stage.HEADERS)
            assert (source.begun, in_use(api), server.hits) == (0, 0, 1)
            await until(lambda: open_connections(api) == 0)
            done.set()
        await check()


# --- the source ---


@pytest.mark.parametrize("after", [0, 20])
@pytest.mark.parametrize("error", [ValueError("broken"), asyncio.CancelledError()], ids=repr)
async def test_failing_source(tls: bool, error: BaseException, after: int) -> None:
    """The call fails with the source's own error. The server sees the connection break, never a whole body."""
    ends = []

    async def serve(peer: Peer) -> None:
        await peer.request()
        received = b""
        try:
            while True:
                received = received[-5:] + await peer.receive()
        except ConnectionError:
            ends.append(received[-5:])
            raise

    with keeps_nothing() as check:
        async with RawServer(serve, tls=tls, window=WINDOW) as server, raw_client(server) as api:
            source = Source(after, error)
            with pytest.raises(type(error)):
                await put(api, source)
            await until(lambda: open_connections(api) == 0)
            assert (source.ended, in_use(api)) == (True, 0)
            await until(lambda: len(ends) == 1)
            assert ends != [b"0\r\n\r\n"]
        await check()


@pytest.mark.parametrize("moment", ["before", "held back", "sending task"])
async def test_cancelled_upload(tls: bool, moment: str) -> None:
    """The source ends, and nothing is left."""
    done = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await done.wait()

    with keeps_nothing() as check:
        async with RawServer(serve, tls=tls, window=WINDOW) as server, raw_client(server) as api:
            source = Source()
            call = asyncio.create_task(put(api, source))
            if moment == "before":
                await asyncio.sleep(0)
            else:
                await until(lambda: source.taken > 0)
                taken = -1
                while taken != source.taken:
                    taken = source.taken
                    await asyncio.sleep(0.02)
                assert source.taken < SIZE // len(PIECE)
            if moment == "sending task":
                (sending,) = (task for task in asyncio.all_tasks() if "send_body" in repr(task.get_coro()))
                sending.cancel()
            else:
                call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await soon(call)
            await until(lambda: source.ended or not source.begun)
            assert in_use(api) == 0
            await until(lambda: open_connections(api) == 0)
            done.set()
        await check()
