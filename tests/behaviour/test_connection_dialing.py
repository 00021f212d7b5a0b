"""Making a connection: which address is tried, within which limit, and where an attempt ends that fails there."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.behaviour.raw_server import Peer, RawServer, keeps_nothing, open_connections, raw_client, until
from tests.behaviour.support import failure, in_use, soon

from resilient_client import APIClient, APIError, ErrorKind, Stage, Timeout
from resilient_client._transport import resolver

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")

FIRST, SECOND, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def serve(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(OK)


async def mute(peer: Peer) -> None:
    """Never answer, not even to a handshake."""
    await peer.gone()


async def garbage(peer: Peer) -> None:
    """What a server for plain HTTP says to a handshake."""
    await peer.receive()
    await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await peer.gone()


async def hang_up(peer: Peer) -> None:
    """Close within the handshake."""
    await peer.receive()


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of every name, in the order in which they are tried first."""
    hosts = [FIRST, SECOND]

    def getaddrinfo(_host: str, _family: int) -> list[object]:
        at = [(host, 0) for host in (hosts[-1], *hosts[:-1])]  # each use begins with the next one
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", each) for each in at]

    monkeypatch.setattr(resolver, "_getaddrinfo", getaddrinfo)
    return hosts


@contextmanager
def black_hole(host: str, port: int) -> Iterator[None]:
    """A port whose queue of connections is full, so that no more is answered."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex((host, port))
        try:
            yield
        finally:
            for each in waiting:
                each.close()


def url(server: RawServer, *, tls: bool) -> str:
    return f"{'https' if tls else 'http'}://localhost:{server.port}/"


async def get(api: APIClient, url: str, **limits: float) -> bytes:
    return (await soon(api.get(url, timeout=Timeout(**({"total": 20, "attempt": 20, "connect": 10} | limits))))).content


@pytest.mark.parametrize("dead", ["refused", "blackholed"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_dead_first_address(addresses: list[str], tls: bool, dead: str) -> None:
    """The second one is used: at once, or after a quarter of a second (RFC 8305 section 5)."""
    with keeps_nothing() as check:
        async with RawServer(serve, tls=tls, host=SECOND) as server, raw_client(None) as api:
            if dead == "refused":
                assert await get(api, url(server, tls=tls)) == b"ok"
            else:
                with black_hole(FIRST, server.port):
                    assert await get(api, url(server, tls=tls)) == b"ok"
            assert (server.hits, server.connections, open_connections(api)) == (1, 1, 1)
        await check()


@pytest.mark.parametrize("fault", [garbage, hang_up])
async def test_failing_handshake_at_the_first_address(addresses: list[str], fault: object) -> None:
    """The second one is used."""
    with keeps_nothing() as check:
        async with (
            RawServer(serve, tls=True, host=SECOND) as good,
            RawServer(fault, host=FIRST, port=good.port) as bad,  # type: ignore[arg-type]  # a function
            raw_client(None) as api,
        ):
            response = await soon(api.get(url(good, tls=True)))
            assert response.content == b"ok"
            assert (good.hits, good.connections, bad.connections) == (1, 1, 1)
            assert response.timings.tls is not None
            assert open_connections(api) == 1
            await until(lambda: bad.open == 0)
        await check()


async def test_failing_handshake_at_every_address(addresses: list[str]) -> None:
    """Each is tried once, and nothing is left."""
    with keeps_nothing() as check:
        async with (
            RawServer(garbage, host=SECOND) as second,
            RawServer(garbage, host=FIRST, port=second.port) as first,
            raw_client(None) as api,
        ):
            error = await failure(api.get(url(second, tls=True)))
            assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.TLS, Stage.TLS, False)
            assert (first.connections, second.connections) == (1, 1)
            assert open_connections(api) == in_use(api) == 0
        await check()


async def test_connect_limits_the_whole(addresses: list[str]) -> None:
    """All addresses and handshakes together, in the stage in which it ends."""
    addresses[:] = [FIRST, SECOND, THIRD]
    with keeps_nothing() as check:
        async with RawServer(mute, host=THIRD) as third:
            with black_hole(SECOND, third.port):
                async with raw_client(None) as api:
                    began = asyncio.get_running_loop().time()
                    limits = Timeout(total=20, attempt=20, connect=0.7)
                    error = await failure(api.get(url(third, tls=True), timeout=limits))
                    took = asyncio.get_running_loop().time() - began
                    assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.TIMEOUT, Stage.TLS, False)
                    assert "connect=0.7" in str(error)
                    assert 0.69 < took < 5
                    assert open_connections(api) == in_use(api) == 0
                    await until(lambda: third.open == 0)
        await check()


async def test_cancelled_while_dialing(addresses: list[str]) -> None:
    """At many moments: no socket is left."""
    with keeps_nothing() as check:
        async with (
            RawServer(mute, host=SECOND) as second,
            RawServer(hang_up, host=FIRST, port=second.port),
            raw_client(None) as api,
        ):
            for count in range(40):
                call = asyncio.create_task(api.get(url(second, tls=True)))
                for _ in range(count):
                    await asyncio.sleep(0)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                assert open_connections(api) == in_use(api) == 0
        await check()


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "x..example", ".example", "[fe80::1%25nosuch]", "1.2.3.4.5"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_host_that_cannot_be_looked_up(scheme: str, host: str) -> None:
    """It is an error of this library, with nothing sent."""
    async with raw_client(None) as api:
        error = await failure(api.get(f"{scheme}://{host}/"))
        assert isinstance(error, APIError)
        assert error.maybe_processed is False
        assert error.kind in (ErrorKind.DNS, ErrorKind.CONNECT, ErrorKind.INVALID_REQUEST)
        assert open_connections(api) == in_use(api) == 0


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_timings_of_each_stage(addresses: list[str], tls: bool) -> None:
    """Each stage has its own, none is negative, and a reused connection has none of those that make it."""
    addresses[:] = [SECOND]
    pause = 0.03

    async def slow(peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(pause)
            await peer.send(OK[:-1])
            await asyncio.sleep(pause)
            await peer.send(OK[-1:])

    async with RawServer(slow, tls=tls, host=SECOND) as server, raw_client(None) as api:
        first = (await soon(api.get(url(server, tls=tls)))).timings
        again = (await soon(api.get(url(server, tls=tls)))).timings
    assert first.pool is not None
    assert first.dns is not None
    assert first.connect is not None
    assert (first.tls is not None) is tls
    assert (again.dns, again.connect, again.tls) == (None, None, None)
    for timings in (first, again):
        assert timings.first_byte is not None
        assert timings.body is not None
        assert timings.first_byte >= pause * 0.9
        assert timings.body >= pause * 0.9
        known = [timings.pool, timings.dns, timings.connect, timings.tls, timings.first_byte, timings.body]
        assert all(each is None or each >= 0 for each in known)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_options_of_the_socket(addresses: list[str], tls: bool) -> None:
    """Small writes are sent at once, and a peer that is gone for hours is noticed."""
    async with RawServer(serve, tls=tls, host=SECOND) as server, raw_client(None) as api:
        await soon(api.get(url(server, tls=tls)))
        (transport,) = api._runtime.transport._direct_path.idle_transports()  # type: ignore[attr-defined]  # not public
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
