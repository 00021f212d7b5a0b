"""Which connections are kept, how many, and which one is used or closed next."""

from __future__ import annotations

import asyncio
import sys

import pytest
from multidict import CIMultiDict
from tests.behaviour.raw_server import Peer, RawServer, Serve, keeps_nothing, open_connections, raw_client, until
from tests.behaviour.support import cancelled, in_use, settled, soon

from resilient_client import APIClient, APIError

TLS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


def answering(head: bytes = b"", version: bytes = b"HTTP/1.1") -> Serve:
    """A server that answers with the number of the connection, and leaves the end of it to the client."""

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            body = b"%d" % peer.number
            await peer.send(b"%b 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (version, head, len(body), body))

    return serve


async def get(api: APIClient, url: str = "/", **options: object) -> bytes:
    return (await soon(api.get(url, **options))).content  # type: ignore[arg-type]  # mixed values


KEPT = {
    "nothing": (b"", b"HTTP/1.1", True),
    "keep-alive": (b"Connection: keep-alive\r\n", b"HTTP/1.1", True),
    "a hint": (b"Keep-Alive: timeout=5, max=100\r\n", b"HTTP/1.1", True),
    "a hint in other letters": (b"keep-alive: Timeout = 5\r\n", b"HTTP/1.1", True),
    "a hint of no time": (b"Keep-Alive: timeout=0\r\n", b"HTTP/1.1", False),
    "a hint without a meaning": (b"Keep-Alive: forever\r\n", b"HTTP/1.1", True),
    "close": (b"Connection: close\r\n", b"HTTP/1.1", False),
    "close in a list": (b"Connection: x, Close\r\n", b"HTTP/1.1", False),
    "close in another field": (b"Connection: x\r\nConnection: close\r\n", b"HTTP/1.1", False),
    "HTTP/1.0": (b"", b"HTTP/1.0", False),
    "HTTP/1.0 keep-alive": (b"Connection: keep-alive\r\n", b"HTTP/1.0", True),
}


@TLS
@pytest.mark.parametrize("case", KEPT)
async def test_what_the_server_says(tls: bool, case: str) -> None:
    """A connection is used again unless the server closes it (RFC 9112 section 9.3)."""
    head, version, kept = KEPT[case]
    with keeps_nothing() as check:
        async with RawServer(answering(head, version), tls=tls) as server, raw_client(server) as api:
            assert [await get(api), await get(api)] == ([b"0", b"0"] if kept else [b"0", b"1"])
            if not kept and "timeout" not in head.decode().lower():
                await until(lambda: server.open == 0)
                assert open_connections(api) == 0
        await check()


@TLS
@pytest.mark.parametrize("values", [["close"], ["Close"], ["foo, close"], ["foo", "close"]], ids=str)
async def test_request_that_closes(tls: bool, values: list[str]) -> None:
    """The client closes after a request with ``Connection: close`` (RFC 9112 section 9.6), whatever the server does."""
    headers = CIMultiDict([("Connection", value) for value in values])
    async with RawServer(answering(), tls=tls) as server, raw_client(server, connection={"keepalive": 300}) as api:
        assert await get(api, headers=headers) == b"0"
        await until(lambda: server.open == 0)
        async with api.stream("GET", "/", headers=headers) as stream:
            assert await soon(stream.read()) == b"1"
        await until(lambda: server.open == 0)
        assert open_connections(api) == 0


@TLS
async def test_keepalive_0_keeps_none(tls: bool) -> None:
    """The server is told so, and a stream is no exception."""
    heads: list[bytes] = []

    async def serve(peer: Peer) -> None:
        while True:
            heads.append(await peer.request())
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with RawServer(serve, tls=tls) as server, raw_client(server, connection={"keepalive": 0}) as api:
        await get(api)
        async with api.stream("GET", "/") as stream:
            await soon(stream.read())
        await soon(api.post("/", json={}))
        await until(lambda: server.open == 0)
        assert server.connections == 3
        assert open_connections(api) == 0
    assert all(b"\r\nconnection: close" in head.lower() for head in heads)


async def test_keepalive_closes_idle_connections() -> None:
    """After ``keepalive`` seconds, without another call."""
    async with RawServer(answering()) as server, raw_client(server, connection={"keepalive": 0.05}) as api:
        assert await get(api) == b"0"
        await until(lambda: server.open == 0)
        assert open_connections(api) == 0
        assert await get(api) == b"1"


async def test_newest_connection_is_used_first() -> None:
    """So the others grow old, and a burst leaves none behind."""
    release = asyncio.Event()

    async def serve(peer: Peer) -> None:
        while True:
            head = await peer.request()
            if b" /wait" in head:
                await release.wait()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % peer.number)

    async with RawServer(serve) as server, raw_client(server) as api:
        burst = [asyncio.create_task(get(api, "/wait")) for _ in range(3)]
        await until(lambda: server.hits == 3)
        release.set()
        numbers = [await task for task in burst]
        newest = list(api._runtime.transport._direct_path._idle._oldest_first)[-1]  # type: ignore[attr-defined]
        again = {await get(api) for _ in range(5)}
        assert sorted(numbers) == [b"0", b"1", b"2"]
        assert len(again) == 1
        assert server.connections == 3
        assert list(api._runtime.transport._direct_path._idle._oldest_first)[-1] is newest  # type: ignore[attr-defined]


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")


@linux
@pytest.mark.parametrize("size", [1, 7, 20])
async def test_pool_size_bounds_all_connections(size: int) -> None:
    """Idle and in use together, with 200 calls at once to 50 hosts, some of which are cancelled."""
    rounds = 0

    async def serve(peer: Peer) -> None:
        nonlocal rounds
        while True:
            await peer.request()
            rounds += 1
            if rounds % 7 == 0:
                return  # closes without a reply
            close = b"Connection: close\r\n" if rounds % 3 == 0 else b""
            await asyncio.sleep(0)
            await peer.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\nok" % close)

    most = 0

    async def call(api: APIClient, number: int, port: int) -> None:
        nonlocal most
        try:
            await api.get(f"http://127.0.0.{1 + number % 50}:{port}/")
        except APIError:
            pass
        most = max(most, open_connections(api))

    with keeps_nothing() as check:
        async with RawServer(serve) as server, raw_client(None, connection={"pool_size": size}) as api:
            tasks = [asyncio.create_task(call(api, number, server.port)) for number in range(200)]
            await until(lambda: server.hits > 20)
            await cancelled(tasks[100:120])
            await soon(asyncio.gather(*tasks, return_exceptions=True))
            assert most <= size
            assert server.most <= 2 * size  # it learns of a closed connection a little later
            assert in_use(api) == 0
            assert await settled(lambda: server.open) <= size
        await check()


@linux
async def test_oldest_idle_connection_makes_room() -> None:
    """Also while connections are in use and others are being made."""
    release = asyncio.Event()

    async def serve(peer: Peer) -> None:
        while True:
            head = await peer.request()
            if b" /wait" in head:
                await release.wait()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % peer.number)

    async with RawServer(serve) as server, raw_client(None, connection={"pool_size": 3}) as api:

        def url(number: int, path: str = "") -> str:
            return f"http://127.0.0.{number}:{server.port}/{path}"

        assert [await get(api, url(1)), await get(api, url(2))] == [b"0", b"1"]
        waiting = asyncio.create_task(get(api, url(3, "wait")))
        await until(lambda: server.hits == 3)
        assert await get(api, url(4)) == b"3"  # in place of the first
        assert await get(api, url(2)) == b"1"
        assert await get(api, url(1)) == b"4"  # in place of the fourth
        assert await get(api, url(2)) == b"1"
        release.set()
        assert await soon(waiting) == b"2"
        assert open_connections(api) == 3
