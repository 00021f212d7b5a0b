"""Each fault as a raw socket or aiohttp receives it."""

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
    """Send bytes and read to the end of the connection."""
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
async def test_reply_with_a_body_has_its_content_type(
    server: FaultServer, session: aiohttp.ClientSession, step: Fault, content_type: str, body: bytes
) -> None:
    """A reply has the content type of its body, or the one that was passed."""
    server.script(step)
    async with session.get(server.url) as response:
        assert (response.content_type, await response.read()) == (content_type, body)


async def test_reply_keeps_the_connection_by_default(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """The connection stays open unless ``keep_alive=False``."""
    server.script(reply(), reply(keep_alive=False), reply())
    for _ in range(3):
        await fetch(session, server)
    assert [request.connection_id for request in server.requests] == [1, 1, 2]


async def test_reply_to_head_has_no_body(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """HEAD gets only the headers of the reply, so the connection stays usable."""
    server.script(reply(body=BODY))
    async with session.head(server.url) as response:
        assert response.headers["Content-Length"] == "16"
    assert await fetch(session, server) == (200, BODY)
    assert server.connections == 1


async def test_echo_returns_the_request(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """An echo returns the request that the server received."""
    server.script(echo())
    async with session.patch(server.url + "/p?a=1", data=BODY, headers={"X-Key": "v"}) as response:
        received = await response.json()
    assert (received["method"], received["path"], received["query"], received["body"]) == (
        "PATCH",
        "/p",
        {"a": "1"},
        BODY.decode(),
    )
    assert received["headers"]["x-key"] == "v"


async def test_redirect_is_followed(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """The client follows a redirect to its target."""
    server.script(redirect("/there", 307), echo())
    async with session.post(server.url) as response:
        assert (await response.json())["path"] == "/there"


# --- faults, as aiohttp reports them ---


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
async def test_broken_connection_raises(
    server: FaultServer, session: aiohttp.ClientSession, step: Fault, error: type[Exception]
) -> None:
    """A connection that breaks raises an error, after one request on the wire."""
    server.script(step)
    with pytest.raises(error):
        await fetch(session, server)
    assert server.hits == 1


@pytest.mark.parametrize(
    "step",
    [garbage(), oversized_headers(), many_headers(), truncated_coding("deflate")],
    ids=lambda step: step.name,
)
async def test_unreadable_head_is_a_400_in_aiohttp(
    server: FaultServer, session: aiohttp.ClientSession, step: Fault
) -> None:
    """Aiohttp reports a 400 for an error in the head, and for deflate if the body arrives with the head."""
    server.script(step)
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        await fetch(session, server)
    assert caught.value.status == 400


async def test_chunk_with_invalid_size_raises(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """A chunk size that is not a number is an error."""
    server.script(bad_chunk())
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientResponseError)):
        await fetch(session, server)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_coding_truncated_is_a_short_200_in_aiohttp(
    server: FaultServer, session: aiohttp.ClientSession, coding: faults.Coding
) -> None:
    """Aiohttp does not notice that a compressed body stops half way."""
    server.script(truncated_coding(coding, body=json.dumps(list(range(50_000))).encode()))
    status, body = await fetch(session, server)
    assert status == 200
    assert len(body) < 300_000


async def test_wrong_length_sends_more_than_announced(server: FaultServer) -> None:
    """The body is longer than ``Content-Length``."""
    server.script(wrong_length(BODY, announced=4))
    head, _, body = (await raw(server)).partition(b"\r\n\r\n")
    assert b"Content-Length: 4" in head
    assert body == BODY


@pytest.mark.parametrize("step", [hang_before_headers(), hang_in_headers(), hang_in_body(), drip(interval=60)])
async def test_silence_lasts_until_the_client_disconnects(
    server: FaultServer, session: aiohttp.ClientSession, step: Fault
) -> None:
    """A step that hangs does not end by itself."""
    server.script(step)
    fetching = asyncio.create_task(fetch(session, server))
    await server.wait_for_hits(1)
    done, _ = await asyncio.wait([fetching], timeout=0.05)
    assert not done
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert server.hits == 1


async def test_hang_in_body_sends_the_first_bytes(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """The headers and the first bytes of the body arrive."""
    server.script(hang_in_body(BODY, sent=4))
    async with session.get(server.url) as response:
        assert await response.content.readexactly(4) == b"0123"


async def test_drip_sends_the_whole_body(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """A drip sends the complete body in pieces."""
    server.script(drip(BODY, interval=0.001))
    async with session.get(server.url) as response:
        pieces = [piece async for piece in response.content.iter_any()]
    assert b"".join(pieces) == BODY
    assert len(pieces) > 1


# --- stale keep-alive ---


async def test_close_idle_on_request_takes_no_step(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """The next request on the connection counts as a hit, gets no reply and takes no step."""
    server.script(close_idle("request"), reply(201))
    assert await fetch(session, server) == (200, b"{}")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await fetch(session, server)
    assert (await fetch(session, server))[0] == 201
    assert [request.connection_id for request in server.requests] == [1, 1, 2]


async def test_close_idle_on_reply_announces_nothing(server: FaultServer) -> None:
    """The reply does not announce the close that follows it."""
    server.script(close_idle("reply"))
    answer = await raw(server)
    assert answer.endswith(b"\r\n\r\n{}")
    assert b"close" not in answer.lower()


# --- endless replies ---


@pytest.mark.parametrize("step", [endless_headers(), endless_informational(), endless_body()])
async def test_endless_reply_does_not_block_others(server: FaultServer, step: Fault) -> None:
    """An endless reply starts anew for each request, and the server still answers other requests."""
    server.script(step, step, reply(204, keep_alive=False))
    for _ in range(2):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET)
        assert (await reader.readexactly(200_000)).startswith(b"HTTP/1.1 ")
        writer.transport.abort()
    assert (await raw(server)).startswith(b"HTTP/1.1 204")


async def test_endless_redirect_never_repeats_a_url(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """Only a limit of hops ends it, because no URL occurs twice."""
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
async def test_bomb_is_small_on_the_wire(
    server: FaultServer, session: aiohttp.ClientSession, coding: faults.Coding
) -> None:
    """The compressed body is complete and at least 500 times smaller than the decoded one."""
    server.script(bomb(8 << 20, coding))
    assert await fetch(session, server) == (200, bytes(8 << 20))
    async with aiohttp.ClientSession(auto_decompress=False) as plain:
        _, coded = await fetch(plain, server)
    assert len(coded) < (8 << 20) / 500


async def test_corrupt_gzip_keeps_its_framing(server: FaultServer) -> None:
    """The HTTP framing is correct, but the gzip stream is corrupt."""
    async with aiohttp.ClientSession(auto_decompress=False) as plain:
        server.script(corrupt_gzip())
        _, coded = await fetch(plain, server)
    with pytest.raises((zlib.error, gzip.BadGzipFile)):
        gzip.decompress(coded)


def test_coding_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes when the fault is created, not when it is sent."""

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"pip install 'resilient-client\[speed\]'"):
        bomb(1, "br")
