"""The rule of the bulkhead for streams: an open body is an attempt under way, until it is closed."""

from __future__ import annotations

import asyncio

import pytest
from tests.behaviour.support import client, failure, with_server

from resilient_client import (
    APIClient,
    APIConnectionError,
    Backoff,
    Bulkhead,
    BulkheadFullError,
    Handler,
    Permits,
    Request,
    Response,
    Retry,
    Timeout,
)
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import drip, reply, truncate


def permits_of(api: APIClient) -> Permits:
    (permits,) = api.bulkheads.values()
    return permits


async def test_stream_holds_permit_until_closed(server: FaultServer) -> None:
    """A body that is being read is an attempt under way."""
    server.script(reply(body=b"abc"))
    async with client(server, bulkhead=Bulkhead(max_concurrent=1)) as api:
        async with api.stream("GET", "/") as stream:
            assert permits_of(api).in_use == 1
            assert isinstance(await failure(api.get("/")), BulkheadFullError)
            assert await stream.read() == b"abc"
            assert permits_of(api).idle  # at the end of the body, which closes it
            await api.get("/")
        assert permits_of(api).idle


@pytest.mark.virtual_time
async def test_stream_left_early_releases_permit(server: FaultServer) -> None:
    """With the end of its block, whatever was read."""
    server.script(drip(interval=0.05), reply())
    async with client(server, bulkhead=Bulkhead(max_concurrent=1)) as api:
        async with api.stream("GET", "/") as stream:
            async for _ in stream.iter_bytes():
                break
        assert permits_of(api).idle
        await api.get("/")


async def test_broken_stream_releases_permit(server: FaultServer) -> None:
    """With the error, not only at the end of its block."""
    server.script(truncate(), reply())
    async with client(server, bulkhead=Bulkhead(max_concurrent=1)) as api, api.stream("GET", "/") as stream:
        with pytest.raises(APIConnectionError):
            await stream.read()
        assert permits_of(api).idle
        await api.get("/")


async def test_error_stream_releases_permit_at_once(server: FaultServer) -> None:
    """Its body is read already."""
    server.script(reply(404, body=b"no"))
    api = client(server, bulkhead=Bulkhead(max_concurrent=1), raise_for_status=False)
    async with api, api.stream("GET", "/"):
        assert permits_of(api).idle


def test_retry_takes_over_lingering_permit() -> None:
    """An attempt that timed out above an open reply left a permit behind: the next one takes it over."""
    lingered = False

    async def lingers(request: Request, call_next: Handler) -> Response:
        nonlocal lingered
        response = await call_next(request)
        if not lingered:
            lingered = True
            await asyncio.sleep(10)
        return response

    async def scenario(server: FaultServer) -> None:
        server.script(reply(body=b"abc"))
        async with APIClient(
            server.url,
            retry=Retry(max_attempts=2, backoff=Backoff(kind="fixed", initial=0.01)),
            bulkhead=Bulkhead(max_concurrent=1),
            timeout=Timeout(attempt=0.1),
            attempt_middleware=[lingers],
        ) as api:
            async with api.stream("GET", "/", idempotent=True) as stream:
                assert await stream.read() == b"abc"
                assert stream.attempts == 2
            assert permits_of(api).idle

    with_server(scenario)
