"""The rule of wire truth through a proxy: still one wire request an attempt, and the target named as it is."""

from __future__ import annotations

import pytest
from tests.behaviour.support import failure, soon

from resilient_client import APIClient, ConnectionSettings, ErrorKind, Retry
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
