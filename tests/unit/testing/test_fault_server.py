"""`FaultServer`: its scripts, its counters and its shutdown."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

import aiohttp
import pytest
import trustme

from resilient_client.testing._fault_server import FaultServer, black_hole, refused_url
from resilient_client.testing._wire import Fault, ReceivedRequest, Step, Wire
from resilient_client.testing.faults import (
    drip,
    drop,
    endless_body,
    endless_headers,
    hang_before_headers,
    hang_in_body,
    hang_in_headers,
    hold,
    reply,
    reset,
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


async def test_script_answers_in_order_and_repeats_the_last(
    server: FaultServer, session: aiohttp.ClientSession
) -> None:
    """Each request takes one step, and the last step repeats."""
    server.script(reply(503), reply(429), reply(204))
    assert [(await fetch(session, server))[0] for _ in range(4)] == [503, 429, 204, 204]
    assert server.hits == 4


async def test_script_is_shared_by_all_connections(server: FaultServer) -> None:
    """Steps follow the order of requests, whichever connection carries them."""
    server.script(reply(500, keep_alive=False), reply(200, keep_alive=False))
    assert (await raw(server)).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert (await raw(server)).startswith(b"HTTP/1.1 200 OK\r\n")
    assert [request.connection_id for request in server.requests] == [1, 2]
    assert server.connections == 2


async def test_script_empty_is_rejected(server: FaultServer) -> None:
    """A script needs at least one step."""
    with pytest.raises(ValueError, match="at least one step"):
        server.script()


async def test_route_answers_its_own_path(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """Requests that match a route do not take a step of the script."""
    server.script(reply(500))
    server.route("GET", "/good", reply(200), reply(201))
    statuses = []
    for path in ("/good?x=1", "/bad", "/good", "/good"):
        async with session.get(server.url + path) as response:
            statuses.append(response.status)
    assert statuses == [200, 500, 201, 201]


async def test_request_is_recorded_as_sent(server: FaultServer) -> None:
    """A recorded request contains target, path and body as they were on the wire."""
    server.script(reply(keep_alive=False))
    await raw(
        server,
        b"PUT /a%2Fb?x=1&x=%20&y HTTP/1.1\r\nHost: h\r\nX-Twice: 1\r\nx-twice: 2\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n",
    )
    [request] = server.requests
    assert (request.method, request.target, request.path) == ("PUT", "/a%2Fb?x=1&x=%20&y", "/a%2Fb")
    assert list(request.query.items()) == [("x", "1"), ("x", " "), ("y", "")]
    assert request.headers.getall("X-Twice") == ["1", "2"]
    assert (request.body, request.complete, request.connection_id) == (b"abcde", True, 1)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n7",
    ],
)
async def test_request_cut_in_its_body_is_a_hit(server: FaultServer, sent: bytes) -> None:
    """An incomplete upload reached the server, so it counts, but it is not answered."""
    server.script(reply(500), reply(200))
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(sent)
    writer.close()
    await server.wait_for_hits(1)
    assert (server.requests[0].body, server.requests[0].complete) == (b"abc", False)
    await writer.wait_closed()


async def test_request_expecting_100_continue_gets_it(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """The server sends the interim reply that a client may wait for."""
    async with session.post(server.url, data=BODY, expect100=True) as response:
        assert response.status == 200
    assert server.requests[0].body == BODY


@pytest.mark.parametrize(
    "junk",
    [b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"x" * (1 << 21)],
)
async def test_request_that_is_not_http_gets_a_400(server: FaultServer, junk: bytes) -> None:
    """A request that cannot be parsed gets a 400 and is not counted."""
    with contextlib.suppress(ConnectionResetError):  # a long request may still be sending when the socket closes
        assert (await raw(server, junk)).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert server.hits == 0


async def test_peak_counts_concurrent_requests(server: FaultServer, session: aiohttp.ClientSession) -> None:
    """`active` is the current number of requests, `peak` the highest."""
    server.script(gate := hold(reply(201)))
    async with asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(fetch(session, server)) for _ in range(5)]
        await server.wait_for_hits(5)
        assert server.active == 5
        gate.release()
    assert [call.result()[0] for call in calls] == [201] * 5
    assert (server.active, server.peak) == (0, 5)


async def test_user_step_writes_to_the_wire(server: FaultServer) -> None:
    """An async function as a step can send any bytes."""

    async def step(request: ReceivedRequest, wire: Wire) -> None:
        await wire.write(request.method.encode())
        await wire.write(b" was here")
        wire.close()

    server.script(step)
    assert await raw(server) == b"GET was here"


async def test_step_that_raises_fails_the_close() -> None:
    """A step that raises drops its connection, and ``close`` raises the exception."""

    async def step(request: ReceivedRequest, wire: Wire) -> None:
        raise LookupError(request.path)

    server = FaultServer()
    await server.start()
    server.script(step)
    assert await raw(server) == b""
    with pytest.raises(ExceptionGroup) as caught:
        await server.close()
    assert [repr(error) for error in caught.value.exceptions] == ["LookupError('/')"]


@pytest.mark.parametrize(
    "create_step", [hang_before_headers, hang_in_headers, hang_in_body, drip, hold, endless_headers, endless_body]
)
async def test_close_ends_an_endless_step(create_step: Callable[[], Step]) -> None:
    """Closing does not wait for clients, and it leaves no task behind."""
    before = asyncio.all_tasks()
    async with asyncio.timeout(5), FaultServer() as server:
        server.script(create_step())
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET)
        await server.wait_for_hits(1)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert asyncio.all_tasks() == before
    assert server.active == 0


async def test_client_disconnect_ends_the_step(server: FaultServer) -> None:
    """The step is cancelled when its client disconnects."""
    ended = asyncio.Event()

    async def step(request: ReceivedRequest, wire: Wire) -> None:
        try:
            await hang_before_headers()(request, wire)
        finally:
            ended.set()

    server.script(step)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(GET)
    await server.wait_for_hits(1)
    writer.close()
    await ended.wait()
    await writer.wait_closed()


async def test_client_that_disconnects_at_once_is_a_hit(server: FaultServer) -> None:
    """A complete request counts, even if its client disconnects directly after sending it."""
    server.script(hang_before_headers())
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(GET)
    await server.wait_for_hits(1)


async def test_server_restarts_on_the_same_port(session: aiohttp.ClientSession) -> None:
    """An upstream can go down and come back at the same address."""
    async with FaultServer() as first:
        assert await fetch(session, first) == (200, b"")
    with pytest.raises(aiohttp.ClientConnectionError):
        await fetch(session, first)
    async with FaultServer(port=first.port) as second:
        assert await fetch(session, second) == (200, b"")
        assert second.url == first.url


async def test_close_twice_or_before_the_start_does_nothing() -> None:
    """Closing is safe at any time."""
    server = FaultServer()
    await server.close()
    await server.start()
    await server.close()
    await server.close()


@pytest.mark.parametrize(
    ("step", "error"),
    [(reply(200), None), (drop(), aiohttp.ServerDisconnectedError), (reset(), aiohttp.ClientOSError)],
)
async def test_tls_server_misbehaves_like_a_plain_one(step: Fault, error: type[Exception] | None) -> None:
    """Faults work over TLS, too."""
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    connector = aiohttp.TCPConnector(ssl=trusting)
    async with FaultServer(tls=serving) as server, aiohttp.ClientSession(connector=connector) as session:
        assert server.url.startswith("https://127.0.0.1:")
        server.script(step)
        if error is None:
            assert await fetch(session, server) == (200, b"")
        else:
            with pytest.raises(error):
                await fetch(session, server)
        assert server.hits == 1


# --- addresses without a server ---


async def test_refused_url_refuses(session: aiohttp.ClientSession) -> None:
    """Connecting to the URL fails at once."""
    with pytest.raises(aiohttp.ClientConnectorError):
        await session.get(refused_url())


@pytest.mark.parametrize(
    ("connects", "error"), [(True, aiohttp.SocketTimeoutError), (False, aiohttp.ConnectionTimeoutError)]
)
async def test_black_hole_never_answers(session: aiohttp.ClientSession, connects: bool, error: type[Exception]) -> None:
    """There is no reply and, with a full backlog, not even a connection."""
    timeout = aiohttp.ClientTimeout(sock_connect=0.2, sock_read=0.2)
    with black_hole(connects=connects) as url, pytest.raises(error):
        await session.get(url, timeout=timeout)
