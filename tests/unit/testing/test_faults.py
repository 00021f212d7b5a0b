"""Each fault, seen by a raw socket or by aiohttp: that it truly happens on the wire."""

import asyncio
import contextlib
import gzip
import importlib
import json
import zlib

import aiohttp
import pytest

from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import Fault
from resilient_client.testing.faults import (
    bad_chunk,
    bomb,
    close_idle,
    corrupt_gzip,
    drip,
    drop,
    echo,
    endless_body,
    endless_headers,
    endless_informational,
    endless_redirect,
    garbage,
    hang_before_headers,
    hang_in_body,
    hang_in_headers,
    many_headers,
    oversized_headers,
    redirect,
    reply,
    reset,
    reset_body,
    truncate,
    truncate_chunked,
    truncated_coding,
    wrong_length,
)

BODY = b"0123456789abcdef"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def raw(server: FaultServer, request: bytes = GET) -> bytes:
    """Send bytes, read to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def fetch(session: aiohttp.ClientSession, server: FaultServer) -> tuple[int, bytes]:
    async with session.post(server.url) as response:  # a POST, because aiohttp sends a lost GET twice
        return response.status, await response.read()


# --- proper replies ---


@pytest.mark.parametrize(
    ("step", "content_type", "body"),
    [
        (reply(json={"ok": True}), "application/json", b'{"ok": true}'),
        (reply(text="é"), "text/plain", "é".encode()),
        (reply(body=BODY, headers={"content-type": "image/x"}), "image/x", BODY),
        (reply(text="packed", coding="gzip"), "text/plain", b"packed"),
        (reply(text="packed", coding="zstd"), "text/plain", b"packed"),
    ],
)
async def test_reply_with_a_body_says_its_type(
    server: FaultServer, session: aiohttp.ClientSession, step: Fault, content_type: str, body: bytes
) -> None:
    """A reply carries its body, the content type that fits, or the one that was given."""
    server.script(step)
    async with session.get(server.url) as response:
        assert (response.content_type, await response.read()) == (content_type, body)


async def test_reply_keeps_the_connection_unless_told_otherwise(
    server: FaultServer, session: aiohttp.ClientSession
) -> None:
    """A reply can be kept alive, or closed by announcement."""
    server.script(reply(), reply(keep_alive=False), reply())
    for _ in range(3):
        await fetch(session, server)
    assert [request.connection_id for request in server.requests] == [1, 1, 2]


async def test_reply_to_head_has_no_body(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """HEAD gets the headers of the reply only, so that the connection stays usable."""
    server.script(reply(body=BODY))
    async with session.head(server.url) as response:
        assert response.headers["Content-Length"] == "16"
    assert await fetch(session, server) == (200, BODY)
    assert server.connections == 1


async def test_echo_tells_what_was_received(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """An echo shows a client what it really sent."""
    server.script(echo())
    async with session.patch(server.url + "/p?a=1", data=BODY, headers={"X-Key": "v"}) as response:
        told = await response.json()
    assert (told["method"], told["path"], told["query"], told["body"]) == (
        "PATCH",
        "/p",
        {"a": "1"},
        BODY.decode(),
    )
    assert told["headers"]["x-key"] == "v"


async def test_redirect_is_followed(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """A redirect leads to its target."""
    server.script(redirect("/there", 307), echo())
    async with session.post(server.url) as response:
        assert (await response.json())["path"] == "/there"


# --- faults, as aiohttp tells them ---


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (drop(), aiohttp.ServerDisconnectedError),
        (reset(), aiohttp.ClientOSError),
        (reset_body(), aiohttp.ClientPayloadError),
        (truncate(), aiohttp.ClientPayloadError),
        (truncate_chunked(), aiohttp.ClientPayloadError),
        (corrupt_gzip(), aiohttp.ClientPayloadError),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
async def test_fault_on_the_way_is_an_error_of_the_connection(
    server: FaultServer, session: aiohttp.ClientSession, step: Fault, error: type[Exception]
) -> None:
    """What breaks off raises, and was one request on the wire."""
    server.script(step)
    with pytest.raises(error):
        await fetch(session, server)
    assert server.hits == 1


@pytest.mark.parametrize(
    "step",
    [garbage(), oversized_headers(), many_headers(), truncated_coding("deflate")],
    ids=lambda step: step.name,
)
async def test_reply_that_cannot_be_read_passes_for_a_400_in_aiohttp(
    server: FaultServer, session: aiohttp.ClientSession, step: Fault
) -> None:
    """What breaks while the head is read (deflate too, where the body came with it) is a 400 to aiohttp."""
    server.script(step)
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        await fetch(session, server)
    assert caught.value.status == 400


async def test_chunk_of_bad_size_is_a_broken_body(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """A chunk size that is no number breaks the reply."""
    server.script(bad_chunk())
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientResponseError)):
        await fetch(session, server)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_coding_truncated_is_a_short_200_in_aiohttp(
    server: FaultServer, session: aiohttp.ClientSession, coding: faults.Coding
) -> None:
    """That a compressed body stopped half way goes unnoticed by aiohttp."""
    server.script(truncated_coding(coding, body=json.dumps(list(range(50_000))).encode()))
    status, body = await fetch(session, server)
    assert status == 200
    assert len(body) < 300_000


async def test_length_too_small_leaves_bytes_behind_the_body(server: FaultServer) -> None:
    """More is sent than was announced."""
    server.script(wrong_length(BODY, announced=4))
    head, _, body = (await raw(server)).partition(b"\r\n\r\n")
    assert b"Content-Length: 4" in head
    assert body == BODY


@pytest.mark.parametrize("step", [hang_before_headers(), hang_in_headers(), hang_in_body(), drip(interval=60)])
async def test_silence_ends_only_when_the_client_leaves(
    server: FaultServer, session: aiohttp.ClientSession, step: Fault
) -> None:
    """A server that hangs is left by nobody but the client."""
    server.script(step)
    fetching = asyncio.create_task(fetch(session, server))
    await server.wait_for_hits(1)
    done, _ = await asyncio.wait([fetching], timeout=0.05)
    assert not done
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert server.hits == 1


async def test_hang_in_body_gives_the_bytes_before_it(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """The headers and the first bytes do arrive."""
    server.script(hang_in_body(BODY, sent=4))
    async with session.get(server.url) as response:
        assert await response.content.readexactly(4) == b"0123"


async def test_drip_comes_byte_by_byte_and_whole(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """A drip is slow, and otherwise right."""
    server.script(drip(BODY, interval=0.001))
    async with session.get(server.url) as response:
        pieces = [piece async for piece in response.content.iter_any()]
    assert b"".join(pieces) == BODY
    assert len(pieces) > 1


# --- stale keep-alive ---


async def test_idle_connection_closed_on_reuse_costs_a_hit_and_no_step(
    server: FaultServer, session: aiohttp.ClientSession
) -> None:
    """The next request on the connection reaches the server and gets no answer."""
    server.script(close_idle("request"), reply(201))
    assert await fetch(session, server) == (200, b"{}")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await fetch(session, server)
    assert (await fetch(session, server))[0] == 201
    assert [request.connection_id for request in server.requests] == [1, 1, 2]


async def test_idle_connection_closed_behind_the_reply_was_promised_to_stay(server: FaultServer) -> None:
    """The reply says nothing of closing, and the FIN follows."""
    server.script(close_idle("reply"))
    answer = await raw(server)
    assert answer.endswith(b"\r\n\r\n{}")
    assert b"close" not in answer.lower()


# --- without end or measure ---


@pytest.mark.parametrize("step", [endless_headers(), endless_informational(), endless_body()])
async def test_endless_reply_serves_every_connection_and_others_too(server: FaultServer, step: Fault) -> None:
    """An endless reply starts anew for each request, and does not keep the server from answering others."""
    server.script(step, step, reply(204, keep_alive=False))
    for _ in range(2):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET)
        assert (await reader.readexactly(200_000)).startswith(b"HTTP/1.1 ")
        writer.transport.abort()
    assert (await raw(server)).startswith(b"HTTP/1.1 204")


async def test_endless_redirect_is_never_the_same_url(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """Only a limit of hops ends it; remembering URLs does not."""
    server.script(endless_redirect())
    with pytest.raises(aiohttp.TooManyRedirects):
        await session.get(server.url + "/start", max_redirects=4)
    assert [request.target for request in server.requests] == [
        "/start",
        "/start?hop=1",
        "/start?hop=2",
        "/start?hop=3",
    ]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
async def test_bomb_is_small_on_the_wire_and_large_when_decoded(
    server: FaultServer, session: aiohttp.ClientSession, coding: faults.Coding
) -> None:
    """The coded body is whole, and at least 500 times smaller than what it holds."""
    server.script(bomb(8 << 20, coding))
    assert await fetch(session, server) == (200, bytes(8 << 20))
    async with aiohttp.ClientSession(auto_decompress=False) as plain:
        _, coded = await fetch(plain, server)
    assert len(coded) < (8 << 20) / 500


async def test_corrupt_gzip_keeps_its_framing(server: FaultServer) -> None:
    """HTTP is right, gzip is not."""
    async with aiohttp.ClientSession(auto_decompress=False) as plain:
        server.script(corrupt_gzip())
        _, coded = await fetch(plain, server)
    with pytest.raises((zlib.error, gzip.BadGzipFile)):
        gzip.decompress(coded)


def test_coding_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear error, when the fault is made and not when it is sent."""

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"pip install 'resilient-client\[speed\]'"):
        bomb(1, "br")
