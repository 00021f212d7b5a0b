"""Where a response begins and ends, when a server adds bytes, breaks off, or announces something wrong."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import tracemalloc

import pytest
from tests.behaviour.support import client, failure, soon

from resilient_client import (
    APIClient,
    APIResponseValidationError,
    CircuitBreaker,
    CircuitState,
    ConnectionSettings,
    ErrorKind,
    Stage,
    Timeout,
)
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import ReceivedRequest, Step, Wire
from resilient_client.testing.faults import endless_informational, garbage, reply

pytestmark = pytest.mark.usefixtures("both_paths")


async def streamed(api: APIClient) -> bytes:
    """The body, read as a stream."""
    async with api.stream("GET", "/") as got:
        return await got.read()


@pytest.mark.parametrize("coding", ["rot13", "none", "utf-8", "aws-chunked", "binary", "gzip, none", "pack200;q=1"])
async def test_body_in_an_unknown_coding_is_given_as_received(server: FaultServer, coding: str) -> None:
    """Many servers announce a coding and send none. The bytes are given, buffered and streamed. It is no failure."""
    server.script(reply(200, body=b'{"a": 1}', headers={"Content-Encoding": coding}))
    async with APIClient(server.url, circuit_breaker=CircuitBreaker(minimum_calls=1)) as api:
        got = await api.get("/")
        assert (got.content, got.json()) == (b'{"a": 1}', {"a": 1})
        assert "unknown content coding" in got.undecoded
        assert await streamed(api) == b'{"a": 1}'
        with pytest.raises(APIResponseValidationError, match="unknown content coding"):
            got.parse(list[int])
        assert all(circuit.state is CircuitState.CLOSED for circuit in api.circuits.values())
    assert server.hits == 2


async def test_known_coding_may_have_parameters(server: FaultServer) -> None:
    """It has none (RFC 9110 section 8.4.1), and some servers send them."""
    server.script(reply(200, body=gzip.compress(b"plain"), headers={"Content-Encoding": "gzip;q=1"}))
    async with client(server) as api:
        got = await api.get("/")
    assert (got.content, got.undecoded) == (b"plain", "")


@pytest.mark.parametrize(
    "coding",
    ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked", "deflate", "chunked, gzip", "xchunked", "chunked, chunked"],
)
async def test_other_transfer_coding_is_no_content(server: FaultServer, coding: str) -> None:
    """Its bytes would pass for the content (RFC 9112 section 7)."""
    body = b"4\r\ncode\r\n0\r\n\r\n"
    server.script(garbage(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n".encode() + body))
    async with client(server) as api:
        assert (await failure(api.get("/"))).kind is ErrorKind.PROTOCOL
        assert (await failure(streamed(api))).kind is ErrorKind.PROTOCOL


@pytest.mark.parametrize("status", ["000", "099", "101"])
async def test_status_that_is_no_answer_is_an_error(server: FaultServer, status: str) -> None:
    """Only 200 to 599 are final responses (RFC 9110 section 15)."""
    server.script(garbage(f"HTTP/1.1 {status} Odd\r\nContent-Length: 2\r\n\r\nhm".encode()))
    async with client(server) as api:
        assert (await failure(api.get("/"))).kind is ErrorKind.PROTOCOL
        assert (await failure(streamed(api))).kind is ErrorKind.PROTOCOL


@pytest.mark.parametrize("cut", [1, 12, 13, 17, 40])
@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")]
)
async def test_bytes_after_a_bodiless_response_are_dropped(
    server: FaultServer, method: str, status: str, cut: int
) -> None:
    """They are not part of it (RFC 9112 section 6.3), however the segments fall. The connection is not used again."""
    head = f"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n".encode()

    async def in_two_pieces(_request: ReceivedRequest, wire: Wire) -> None:
        await wire.write(head[:cut])
        await asyncio.sleep(0.01)
        await wire.write(head[cut:] + b"hello")

    server.script(in_two_pieces)
    async with APIClient(server.url, retry=None) as api:
        for _ in range(2):
            got = await api.request(method, "/")
            assert (got.status, got.content) == (int(status[:3]), b"")
    assert (server.hits, server.connections) == (2, 2)


@pytest.mark.parametrize("length", ["", "Transfer-Encoding: identity\r\n"])
async def test_reset_is_not_the_end_of_a_body(server: FaultServer, length: str) -> None:
    """A body without a length ends with its connection, unless that breaks (RFC 9112 section 8)."""
    head = f"HTTP/1.1 200 OK\r\n{length}\r\n".encode()

    async def break_off(_request: ReceivedRequest, wire: Wire) -> None:
        await wire.write(head + b"first half")
        await asyncio.sleep(0.01)
        wire.reset()

    async def close(_request: ReceivedRequest, wire: Wire) -> None:
        await wire.write(head + b"all of it")
        wire.close()

    server.script(break_off, break_off, close)
    async with client(server) as api:
        for ask in (api.get("/"), streamed(api)):
            error = await failure(ask)
            assert (error.kind, error.stage) == (ErrorKind.DISCONNECTED, Stage.BODY)
        assert (await api.get("/")).content == b"all of it"


@pytest.mark.parametrize("body", ["not gzip", "cut", "endless", "too large"])
async def test_redirect_is_followed_whatever_its_body(server: FaultServer, body: str) -> None:
    """Its Location is the answer (RFC 9110 section 15.4)."""
    steps: dict[str, Step] = {
        "not gzip": reply(302, body=b"plain", headers={"Location": "/new", "Content-Encoding": "gzip"}),
        "cut": garbage(b"HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 10\r\n\r\nshort"),
        "endless": garbage(b"HTTP/1.1 302 Found\r\nLocation: /new\r\n\r\n" + b"x" * 500_000),
        "too large": reply(302, body=b"x" * 200_000, headers={"Location": "/new"}),
    }
    server.route("GET", "/old", steps[body])
    server.route("GET", "/new", reply(200, body=b"end"))
    async with client(server, connection=ConnectionSettings(max_response_size=1000)) as api:
        assert (await api.get("/old")).content == b"end"
        async with api.stream("GET", "/old") as got:
            assert await got.read() == b"end"
    assert server.hits == 4


async def test_flood_of_interim_responses_ends_at_once(server: FaultServer) -> None:
    """They are read 32 at most, and none is kept: on uvloop, megabytes of them arrive in one turn of the loop."""
    server.script(endless_informational())
    async with client(server) as api:
        tracemalloc.start()
        try:
            error = await failure(api.get("/"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (error.kind, error.stage) == (ErrorKind.PROTOCOL, Stage.HEADERS)
    assert "more than 32" in str(error)
    assert peak < 4_000_000


async def test_some_interim_responses_are_read_over(server: FaultServer) -> None:
    """In one segment with the final response, or in segments of their own."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 10

    async def answer(_request: ReceivedRequest, wire: Wire) -> None:
        await wire.write(hints)
        await asyncio.sleep(0.01)
        await wire.write(hints + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server.script(answer)
    async with client(server) as api:
        assert (await api.get("/")).content == b"ok"
        assert (await api.get("/")).content == b"ok"
    assert server.connections == 1


async def deaf_to_expect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that does not know ``Expect``: it answers when the body is there."""
    await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(5)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)
    with contextlib.closing(writer), contextlib.suppress(ConnectionError):
        await reader.read()


async def test_body_is_sent_if_no_100_comes() -> None:
    """It goes out after a second, or after half of the time that the attempt has (RFC 9110 section 10.1.1)."""
    async with await asyncio.start_server(deaf_to_expect, "127.0.0.1", 0) as deaf:
        port = deaf.sockets[0].getsockname()[1]
        async with client(f"http://127.0.0.1:{port}", timeout=Timeout(total=60, attempt=0.4)) as api:
            got = await soon(api.put("/", content=b"hello", headers={"Expect": "100-continue"}))
    assert got.content == b"hello"
