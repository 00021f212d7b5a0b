"""``max_response_size`` gives the same result however the segments fall."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from tests.behaviour.raw_server import Peer, RawServer, keeps_nothing, open_connections, raw_client, until
from tests.behaviour.support import in_use, soon

from resilient_client import APIClient, APIError, ErrorKind

MAX = 20
CODED = gzip.compress(b"0123456789", mtime=0)  # more bytes than it has content
SMALL, LARGE = b"x" * MAX, b"x" * (MAX + 1)


def sized(status: int, body: bytes, *fields: bytes) -> bytes:
    head = b"".join(b"%b\r\n" % field for field in fields)
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, head, len(body), body)


def chunked(status: int, body: bytes) -> bytes:
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % (status, chunks)


CASES: dict[str, tuple[bytes, tuple[int, bytes] | ErrorKind]] = {
    "at the limit": (sized(200, SMALL), (200, SMALL)),
    "above the limit": (sized(200, LARGE), ErrorKind.TOO_LARGE),
    "chunked at the limit": (chunked(200, SMALL), (200, SMALL)),
    "chunked above the limit": (chunked(200, LARGE), ErrorKind.TOO_LARGE),
    "error above the limit": (sized(404, LARGE), (404, LARGE)),
    "chunked error above the limit": (chunked(500, LARGE), (500, LARGE)),
    "coded, small after decoding": (sized(200, CODED, b"Content-Encoding: gzip"), (200, b"0123456789")),
    "300 above the limit": (sized(300, LARGE), ErrorKind.TOO_LARGE),
    "redirect above the limit": (sized(302, LARGE, b"Location: /b"), (302, LARGE)),
}


@pytest.mark.parametrize("case", CASES)
async def test_size_limit_whatever_the_segments(case: str) -> None:
    """In one segment, in two cut anywhere, and with the end of the connection behind it."""
    response, expected = CASES[case]
    cut, count = 0, 0

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            if cut:
                await peer.send(response[:cut])
                await asyncio.sleep(0.001)
            await peer.send(response[cut:])

    async def result(api: APIClient) -> tuple[int, bytes] | ErrorKind:
        try:
            got = await soon(api.get("/", raise_for_status=False))
        except APIError as error:
            return error.kind
        return got.status, got.content

    with keeps_nothing() as check:
        async with (
            RawServer(serve) as server,
            raw_client(server, follow_redirects=None, connection={"max_response_size": MAX}) as api,
        ):
            results = {}
            for cut in range(0, len(response), 3):
                results[cut] = await result(api)
                count += 1
            assert results == dict.fromkeys(results, expected)
            assert (server.hits, in_use(api)) == (count, 0)
            if isinstance(expected, tuple):
                assert server.connections == 1
            else:
                await until(lambda: open_connections(api) == 0)
        await check()
