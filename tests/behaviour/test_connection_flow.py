"""A side that is slow holds the other back: memory stays bounded, and all goes on afterwards."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from tests.behaviour.raw_server import Peer, RawServer, keeps_nothing, open_connections, raw_client, until
from tests.behaviour.support import failure, in_use, settled, soon

from resilient_client import APIConnectionError, APITimeoutError, Stage, Timeout
from resilient_client._transport.http1 import connection

pytestmark = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])

MIB = 1024 * 1024
SIZE = 14 * MIB  # far more than socket buffers and the client take
PIECE = bytes(range(256)) * 256
HEADS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE,
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
}


class Source:
    """A server that sends 14 MiB as fast as they are taken, and counts what left it."""

    def __init__(self, framing: str) -> None:
        self.sent = 0
        self._framing = framing

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.request()
            self.sent = 0
            await peer.send(HEADS[self._framing])
            while self.sent < SIZE:
                await peer.send(PIECE if self._framing == "length" else b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
                self.sent += len(PIECE)
            if self._framing == "chunked":
                await peer.send(b"0\r\n\r\n")


@pytest.mark.parametrize("framing", HEADS)
async def test_slow_reader_holds_the_server_back(tls: bool, framing: str) -> None:
    """The client keeps less than 2 MiB, whatever the server could send, and reads on to the end."""
    source = Source(framing)
    async with RawServer(source, tls=tls) as server, raw_client(server) as api:
        async with api.stream("GET", "/") as stream:
            pieces = aiter(stream.iter_bytes())
            tracemalloc.start()
            try:
                size = len(await soon(anext(pieces)))
                held_back = await settled(lambda: source.sent)
                memory = tracemalloc.get_traced_memory()[0]
            finally:
                tracemalloc.stop()
            assert held_back < SIZE
            assert memory < 4 * MIB
            async for piece in pieces:
                size += len(piece)
        assert (size, source.sent) == (SIZE, SIZE)
        async with api.stream("GET", "/") as stream:
            assert await soon(anext(aiter(stream.iter_bytes())))
        assert (server.hits, server.connections) == (2, 1)


async def test_server_is_not_held_back_without_the_limit(tls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: it is the client's limit that holds it back, not the sockets' buffers."""
    monkeypatch.setattr(connection, "_HIGH_WATER", 2 * SIZE)
    source = Source("length")
    async with RawServer(source, tls=tls) as server, raw_client(server) as api, api.stream("GET", "/"):
        await until(lambda: source.sent == SIZE)


async def test_idle_limit_while_nobody_reads(tls: bool) -> None:
    """A server that is held back is not silent, however long the reader takes. One that stops later is."""
    done = asyncio.Event()
    source = Source("length")

    async def stops(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEADS["length"])
        while source.sent < SIZE - MIB:
            await peer.send(PIECE)
            source.sent += len(PIECE)
        await done.wait()

    async with RawServer(stops, tls=tls) as server, raw_client(server) as api:
        async with api.stream("GET", "/", timeout=Timeout(total=30, attempt=30, idle=0.25)) as stream:
            pieces = aiter(stream.iter_bytes())
            size = len(await soon(anext(pieces)))
            await settled(lambda: source.sent)
            await asyncio.sleep(0.5)
            with pytest.raises(APITimeoutError) as caught:
                async for piece in pieces:
                    size += len(piece)
        assert size == SIZE - MIB
        assert (caught.value.stage, in_use(api)) == (Stage.BODY, 0)
        await until(lambda: open_connections(api) == 0)
        done.set()


async def test_idle_limit_and_a_complete_body(tls: bool) -> None:
    """A body that has arrived whole is read later than ``idle``, and its connection is kept."""

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            await peer.send(b"world")

    async with RawServer(serve, tls=tls) as server, raw_client(server) as api:
        for _ in range(2):
            async with api.stream("GET", "/", timeout=Timeout(total=30, attempt=30, idle=0.05)) as stream:
                await asyncio.sleep(0.15)
                assert await soon(stream.read()) == b"helloworld"
        assert (server.hits, server.connections) == (2, 1)


@pytest.mark.parametrize("how", ["close", "cancel", "server resets", "server ends"])
async def test_end_of_a_paused_stream(tls: bool, how: str) -> None:
    """Nothing is left, and a server that breaks off is noticed when the reader comes to it."""
    source = Source("length")
    breaks_off = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEADS["length"])
        task = asyncio.current_task()
        assert task is not None
        try:
            async with asyncio.timeout(30) as limit:
                asyncio.get_running_loop().create_task(reschedule(limit))
                while True:
                    await peer.send(PIECE)
                    source.sent += len(PIECE)
        except TimeoutError:
            if how == "server resets":
                peer.reset()

    async def reschedule(limit: asyncio.Timeout) -> None:
        await breaks_off.wait()
        limit.reschedule(0)

    with keeps_nothing() as check:
        async with RawServer(serve, tls=tls) as server, raw_client(server) as api:

            async def read() -> None:
                async with api.stream("GET", "/") as stream:
                    pieces = aiter(stream.iter_bytes())
                    await anext(pieces)
                    await settled(lambda: source.sent)
                    if how == "cancel":
                        await asyncio.Event().wait()
                    if how.startswith("server"):
                        breaks_off.set()
                        await until(lambda: server.open == 0)
                        with pytest.raises(APIConnectionError):
                            async for _ in pieces:
                                pass

            reading = asyncio.create_task(read())
            if how == "cancel":
                await until(lambda: source.sent > 0)
                await settled(lambda: source.sent)
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
            else:
                await soon(reading)
            assert in_use(api) == 0
            await until(lambda: open_connections(api) == 0)
            breaks_off.set()
            await until(lambda: server.open == 0)
        await check()


async def test_slow_server_holds_an_upload_back(tls: bool) -> None:
    """The source is asked for no more than the server takes, and goes on afterwards."""
    reads_on = asyncio.Event()
    taken = received = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        while taken < SIZE:
            taken += len(PIECE)
            yield PIECE

    async def serve(peer: Peer) -> None:
        nonlocal received
        await peer.request()
        await reads_on.wait()
        end = b""
        while end != b"0\r\n\r\n":
            data = await peer.receive()
            received += len(data)
            end = (end + data)[-5:]
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await peer.gone()

    async with RawServer(serve, tls=tls, window=65536) as server, raw_client(server) as api:
        call = asyncio.create_task(api.put("/", content=pieces(), timeout=Timeout(total=60, attempt=60)))
        await until(lambda: taken > 0)
        assert await settled(lambda: taken) < SIZE // 2
        reads_on.set()
        assert (await soon(call)).status == 200
        assert received > taken == SIZE
        assert (server.hits, open_connections(api)) == (1, 1)


async def test_upload_to_a_server_that_never_reads(tls: bool) -> None:
    """The attempt times out while it sends, with the connection closed."""
    done = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await done.wait()

    with keeps_nothing() as check:
        async with RawServer(serve, tls=tls, window=65536) as server, raw_client(server) as api:
            error = await failure(api.put("/", content=bytes(SIZE), timeout=Timeout(total=0.25)))
            assert (error.stage, error.maybe_processed) == (Stage.SEND, True)
            await until(lambda: open_connections(api) == 0)
            done.set()
        await check()
