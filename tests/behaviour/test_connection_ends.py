"""A connection that ends at any byte of a response: complete exactly where RFC 9112 sections 8 and 9.8 say so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from tests.behaviour.raw_server import Peer, RawServer, keeps_nothing, open_connections, raw_client, until
from tests.behaviour.support import failure, in_use, soon

from resilient_client import APIClient, APIError, ErrorKind, Stage

BODY = b"hello"
HEADS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "until close": b"HTTP/1.0 200 OK\r\n\r\n",
}
RESPONSES = {
    "length": HEADS["length"] + BODY,
    "chunked": HEADS["chunked"] + b"3;x=1\r\nhel\r\n2\r\nlo\r\n0\r\nSum: 1\r\n\r\n",
    "until close": HEADS["until close"] + BODY,
}
LAST_CHUNK = RESPONSES["chunked"].index(b"0\r\nSum") + 3
PLAIN_ENDS = ("fin", "reset")
TLS_ENDS = ("alert", "fin", "reset")


def is_complete(framing: str, sent: int, end: str, *, tls: bool) -> bool:
    """Whether the first ``sent`` bytes and this end are a complete response (RFC 9112 sections 8 and 9.8)."""
    if framing == "until close":
        return sent >= len(HEADS[framing]) and end == ("alert" if tls else "fin")
    if framing == "chunked":
        return sent >= LAST_CHUNK
    return sent == len(RESPONSES[framing])


def positions(framing: str, *, tls: bool) -> list[int]:
    """After how many bytes the connection ends. A handshake is slow, so over TLS not after each one of the head."""
    head, end = len(HEADS[framing]), len(RESPONSES[framing])
    return [0, 1, head // 2, head - 1, *range(head, end + 1)] if tls else list(range(end + 1))


def content(framing: str, sent: int) -> bytes:
    """The content of a complete response whose first ``sent`` bytes were sent."""
    return RESPONSES[framing][len(HEADS[framing]) : sent] if framing == "until close" else BODY


async def end_connection(peer: Peer, end: str) -> None:
    if end == "alert":
        await peer.alert()
    if end == "reset":
        peer.reset()
    else:
        peer.fin()
        await peer.gone()


async def streamed(api: APIClient) -> bytes:
    async with api.stream("GET", "/") as stream:
        return await stream.read()


async def buffered(api: APIClient) -> bytes:
    return (await api.get("/")).content


def check_failure(error: APIError, framing: str, sent: int) -> None:
    """The error says how far the response had come. A retry may help, and the server may have acted."""
    assert error.kind is ErrorKind.DISCONNECTED
    assert (error.retryable, error.maybe_processed, error.attempts) == (True, True, 1)
    has_head = sent >= len(HEADS[framing])
    assert error.stage is (Stage.BODY if has_head else Stage.HEADERS)


@pytest.mark.parametrize(
    ("tls", "read"),
    [(False, buffered), (False, streamed), (True, buffered), pytest.param(True, streamed, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("framing", RESPONSES)
async def test_end_at_every_byte(tls: bool, framing: str, read: Callable[[APIClient], Awaitable[bytes]]) -> None:
    """Success exactly where the response is complete. Each call is one request, and nothing is left of it."""
    response, ends = RESPONSES[framing], TLS_ENDS if tls else PLAIN_ENDS
    sent, end = 0, ""

    async def serve(peer: Peer) -> None:
        await peer.request()
        if sent:
            await peer.send(response[:sent])
        await end_connection(peer, end)

    with keeps_nothing() as check:
        async with RawServer(serve, tls=tls) as server, raw_client(server) as api:
            calls = 0
            for sent in positions(framing, tls=tls):
                for end in ends:
                    if is_complete(framing, sent, end, tls=tls):
                        assert await soon(read(api)) == content(framing, sent), (sent, end)
                    else:
                        error = await failure(read(api))
                        check_failure(error, framing, sent)
                    calls += 1
                    assert (server.hits, server.connections, in_use(api)) == (calls, calls, 0), (sent, end)
                    await until(lambda: open_connections(api) == 0)
        await check()
