"""Through a proxy an attempt is still one request, and names its target."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from tests.behaviour.support import failure, soon

from resilient_client import APIClient, CircuitBreaker, CircuitState, ConnectionSettings, ErrorKind, Retry
from resilient_client.testing._fault_server import FaultServer, refused_url
from resilient_client.testing.faults import drop, reply

TARGET = "http://upstream.invalid"


def through(proxy: str, attempts: int = 1) -> APIClient:
    retry = Retry(max_attempts=attempts, backoff=lambda _: 0.0) if attempts > 1 else None
    return APIClient(TARGET, connection=ConnectionSettings(proxy=proxy), retry=retry)


async def test_proxied_request_names_target(server: FaultServer) -> None:
    """The proxy gets the whole URL (RFC 9112 section 3.2.2), and its reply comes back."""
    server.script(reply(200, body=b"through"))
    async with through(server.url) as api:
        response = await soon(api.get("/users"))
    assert response.content == b"through"
    assert [request.target for request in server.requests] == [f"{TARGET}/users"]


@pytest.mark.parametrize("attempts", [1, 3])
async def test_dropping_proxy_gets_one_request(server: FaultServer, attempts: int) -> None:
    """The silent resend of aiohttp is off there, too."""
    server.script(drop())
    async with through(server.url, attempts) as api:
        error = await failure(api.get("/"))
    assert (error.kind, error.attempts, server.hits) == (ErrorKind.DISCONNECTED, attempts, attempts)


async def test_refused_proxy_is_a_connect_error() -> None:
    """Nothing was sent, and the error says so."""
    async with through(refused_url()) as api:
        error = await failure(api.get("/"))
    assert (error.kind, error.maybe_processed) == (ErrorKind.CONNECT, False)


@pytest.mark.parametrize("status", [407, 403, 502])
async def test_tunnel_refused_by_the_proxy(status: int) -> None:
    """A 4xx would come again, so it is not retried: repeats lock accounts. And the upstream is not to blame for it."""
    asked = 0

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            await reader.read()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        connection = ConnectionSettings(proxy=f"http://user:canary@127.0.0.1:{server.sockets[0].getsockname()[1]}")
        retry = Retry(max_attempts=3, backoff=lambda _: 0.0)
        breaker = CircuitBreaker(minimum_calls=1, break_duration=60)
        async with APIClient("https://up.example", connection=connection, retry=retry, circuit_breaker=breaker) as api:
            error = await failure(api.get("/"))
            state = next(iter(api.circuits.values())).state
    assert error.attempts == asked == 1
    assert error.retryable == (status == 502)
    assert state is (CircuitState.OPEN if status == 502 else CircuitState.CLOSED)
    assert "canary" not in str(error)
