"""Whole calls, through the whole chain and over real sockets, struck at each of their suspensions."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.sweep.support import Alarms, ended_by, watched_alarms, world_of

from resilient_client import (
    APIClient,
    APITimeoutError,
    Backoff,
    BearerAuth,
    Call,
    ConnectionSettings,
    DeadlineExceededError,
    Handler,
    Request,
    Response,
    Retry,
)
from resilient_client.testing.cancellation import World, sweep, sweep_cancellation, was_cancelled
from resilient_client.testing.faults import drip, redirect, reply
from resilient_client.testing.wire import ReceivedRequest, Wire

RETRY = Retry(max_attempts=3, backoff=Backoff(kind="fixed", initial=0.005))
SLOW = reply(delay=0.002)


async def only_the_second_token(request: ReceivedRequest, wire: Wire) -> None:
    await reply(200 if request.headers["Authorization"] == "Bearer 2" else 401)(request, wire)


def tokens() -> Callable[[], Awaitable[str]]:
    """A token provider that takes a moment."""
    given = 0

    async def provide() -> str:
        nonlocal given
        given += 1
        await asyncio.sleep(0.001)
        return str(given)

    return provide


async def five(api: APIClient) -> None:
    result = await api.gather([Call.get(f"/{number}") for number in range(5)], concurrency=3, timeout=5.0)
    assert len(result.values) == 5


async def read_all(api: APIClient) -> None:
    async with api.stream("GET", "/") as stream:
        assert await stream.read() == b"abc"


def succeeds() -> World:
    return world_of(lambda api: lambda: api.get("/"), SLOW)


def recovers() -> World:
    return world_of(lambda api: lambda: api.get("/", retry=RETRY), reply(503), reply(503), SLOW, faults=True)


def redirected() -> World:
    return world_of(lambda api: lambda: api.get("/"), redirect("/b"), redirect("/c", 307), SLOW)


def reauthenticated() -> World:
    """Each world with a provider of its own, whose second token is the good one; the call afterwards has the third."""

    def scenario(api: APIClient) -> Callable[[], Awaitable[object]]:
        return lambda: api.get("/")

    async def fresh(request: Request, call_next: Handler) -> Response:
        return await call_next(request)

    return world_of(scenario, only_the_second_token, auth=BearerAuth(tokens()), attempt_middleware=[fresh])


def fans_out() -> World:
    return world_of(lambda api: lambda: five(api), SLOW, connection=ConnectionSettings(pool_size=2))


def streams() -> World:
    return world_of(lambda api: lambda: read_all(api), drip(b"abc", interval=0.002))


CALLS = [succeeds, recovers, redirected, fans_out, streams]


@pytest.mark.parametrize("call", CALLS)
async def test_call_cancelled_anywhere_leaves_nothing_and_the_next_one_works(call: Callable[[], World]) -> None:
    """Whatever a call is doing when its caller leaves, the cancellation comes out, and nothing of the call stays."""
    assert await sweep_cancellation(call())
