"""What arrives on an idle connection is never the response to the next request, and costs no call."""

from __future__ import annotations

import asyncio

import pytest
from tests.behaviour.raw_server import Peer, RawServer, keeps_nothing, open_connections, raw_client, until
from tests.behaviour.support import failure, soon

from resilient_client import APIClient, ErrorKind, Retry
from resilient_client._transport.http1.connection import Connection

STRAY = {
    "whole reply": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray",
    "half a reply": b"HTTP/1.1 200 OK\r\nContent-Le",
    "one byte": b"H",
    "timeout reply": b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    "fin": None,
    "reset": None,
}


async def answer(peer: Peer) -> None:
    """Answer a request with the number of the connection."""
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % peer.number)


async def serve(peer: Peer) -> None:
    """Answer each request."""
    while True:
        await answer(peer)


async def serve_once(peer: Peer) -> None:
    """Answer one request, and leave the rest to the test."""
    await answer(peer)
    await asyncio.Event().wait()


def misbehave(peer: Peer, stray: str) -> None:
    if (data := STRAY[stray]) is not None:
        peer.send_now(data)
    elif stray == "fin":
        peer.fin()
    else:
        peer.reset()


async def post(api: APIClient) -> bytes:
    """A call that could not be repeated."""
    return (await soon(api.post("/", json={}))).content


@pytest.mark.parametrize("stray", STRAY)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_stray_bytes_close_the_connection(tls: bool, stray: str) -> None:
    """The loop reads them: the connection is closed at once, and the next call makes another one."""
    with keeps_nothing() as check:
        async with RawServer(serve_once, tls=tls) as server, raw_client(server) as api:
            assert await post(api) == b"0"
            misbehave(server.peers[0], stray)
            await until(lambda: open_connections(api) == 0)
            assert await post(api) == b"1"
            assert (server.hits, server.connections) == (2, 2)
        await check()


@pytest.mark.parametrize("stray", STRAY)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_stray_bytes_the_loop_has_not_read(tls: bool, stray: str) -> None:
    """They arrive in the iteration of the loop in which the connection would be taken again."""
    async with RawServer(serve_once, tls=tls) as server, raw_client(server) as api:
        assert await post(api) == b"0"
        await asyncio.sleep(0.003)
        misbehave(server.peers[0], stray)
        assert await post(api) == b"1"
        assert (server.hits, server.connections) == (2, 2)


async def test_unread_stray_reply_without_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: it would be taken for the response to the next request."""
    monkeypatch.setattr(Connection, "is_quiet", lambda _: True)
    async with RawServer(serve_once) as server, raw_client(server) as api:
        assert await post(api) == b"0"
        await asyncio.sleep(0.003)
        misbehave(server.peers[0], "whole reply")
        assert await post(api) == b"stray"
    assert server.connections == 1


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_empty_line_is_harmless(tls: bool) -> None:
    """Some servers send one after the content (RFC 9112 section 2.2). The connection is kept."""
    async with RawServer(serve, tls=tls) as server, raw_client(server) as api:
        assert await post(api) == b"0"
        await server.peers[0].send(b"\r\n")
        await asyncio.sleep(0.01)
        assert await post(api) == b"0"
        await server.peers[0].send(b"\r")
        assert await post(api) in (b"0", b"1")  # the second, if the loop has not read it
    assert server.hits == 3


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_reply_before_the_request(tls: bool) -> None:
    """A server that answers a connection, not a request, gets none. The call fails, and a retry succeeds."""

    async def busy(peer: Peer) -> None:
        if peer.number == 0:
            await peer.send(STRAY["timeout reply"] or b"")
            peer.fin()
            await peer.gone()
        else:
            await serve(peer)

    with keeps_nothing() as check:
        retry = Retry(max_attempts=2, backoff=lambda _: 0.0)
        async with RawServer(busy, tls=tls) as server, raw_client(server, retry=retry) as api:
            got = await soon(api.get("/"))
            assert (got.content, got.attempts, server.connections) == (b"1", 2, 2)
            await until(lambda: open_connections(api) == 1)
        await check()


async def test_closed_right_after_the_handshake() -> None:
    """No connection is counted that is lost before the call could use it."""

    async def close(peer: Peer) -> None:
        if peer.number % 2:
            peer.reset()

    for tls in (False, True):
        with keeps_nothing() as check:
            async with RawServer(close, tls=tls) as server, raw_client(server) as api:
                for _ in range(20):
                    error = await failure(api.get("/"))
                    assert error.kind in (ErrorKind.DISCONNECTED, ErrorKind.TLS), str(error)
                    await until(lambda: open_connections(api) == 0)
                assert server.connections == 20
            await check()
