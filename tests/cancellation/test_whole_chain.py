"""Calls through the whole chain over real sockets, interrupted at each suspension."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.cancellation.support import Timeouts, client_world, ended_with, one_loop, watched_timeouts

from resilient_client import (
    APIClient,
    APITimeoutError,
    Backoff,
    BearerAuth,
    Call,
    ConnectionSettings,
    Handler,
    Request,
    Response,
    Retry,
)
from resilient_client.testing._wire import ReceivedRequest, Wire
from resilient_client.testing.cancellation import World, sweep, sweep_cancellation, was_cancelled
from resilient_client.testing.faults import drip, redirect, reply

RETRY = Retry(max_attempts=3, backoff=Backoff(kind="fixed", initial=0.005))
SLOW = reply(delay=0.002)


async def reject_first_token(request: ReceivedRequest, wire: Wire) -> None:
    await reply(401 if request.headers["Authorization"] == "Bearer 1" else 200)(request, wire)


def tokens() -> Callable[[], Awaitable[str]]:
    """Create a token provider that waits before it returns."""
    count = 0

    async def provide() -> str:
        nonlocal count
        count += 1
        await asyncio.sleep(0.001)
        return str(count)

    return provide


async def gather_five(api: APIClient) -> None:
    result = await api.gather([Call.get(f"/{number}") for number in range(5)], concurrency=3, timeout=5.0)
    assert len(result.values) == 5


async def read_all(api: APIClient) -> None:
    async with api.stream("GET", "/") as stream:
        assert await stream.read() == b"abc"


def succeeds(**settings: Any) -> World:
    return client_world(lambda api: lambda: api.get("/"), SLOW, **settings)


def recovers(**settings: Any) -> World:
    return client_world(
        lambda api: lambda: api.get("/", retry=RETRY), reply(503), reply(503), SLOW, faults=True, **settings
    )


def redirected(**settings: Any) -> World:
    return client_world(lambda api: lambda: api.get("/"), redirect("/b"), redirect("/c", 307), SLOW, **settings)


def fans_out(**settings: Any) -> World:
    return client_world(
        lambda api: lambda: gather_five(api), SLOW, connection=ConnectionSettings(pool_size=2), **settings
    )


def streams(**settings: Any) -> World:
    return client_world(lambda api: lambda: read_all(api), drip(b"abc", interval=0.002), **settings)


def reauthenticated(**settings: Any) -> World:
    """In each world, the first token is rejected and the next one accepted."""
    settings["auth"] = lambda: BearerAuth(tokens())
    return client_world(lambda api: lambda: api.get("/"), reject_first_token, **settings)


CALLS = [succeeds, recovers, redirected, reauthenticated, fans_out, streams]


@pytest.mark.parametrize("call", CALLS)
async def test_call_cancelled_anywhere_leaves_nothing(call: Callable[[], World]) -> None:
    """A call that is cancelled at any suspension ends cancelled, leaves nothing behind, and the next call works."""
    assert await sweep_cancellation(call())


@pytest.mark.parametrize("call", [succeeds, redirected, reauthenticated, streams])
async def test_timeout_anywhere_raises_timeout_error(
    call: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timeout that fires at any suspension raises its error, uncancels the task and leaves nothing behind."""
    with watched_timeouts(monkeypatch) as timeouts:
        report = await sweep(call(retry=None), inject=timeouts.fire, verdict=ended_with(APITimeoutError))
    assert timeouts.fired == len(report) > 2


@pytest.mark.parametrize("call", [succeeds, redirected, reauthenticated])
async def test_attempt_timeout_anywhere_is_retried(call: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that timed out is followed by another one, which finds the only pool slot free."""
    with watched_timeouts(monkeypatch) as timeouts:
        world = call(retry=RETRY, connection=ConnectionSettings(pool_size=1))
        report = await sweep(world, inject=timeouts.fire, verdict=ended_with(or_success=True))
    assert timeouts.fired == len(report) > 2


@one_loop
@pytest.mark.parametrize("inject", [Timeouts.fire_then_cancel, Timeouts.cancel_then_fire])
@pytest.mark.parametrize("call", [succeeds, reauthenticated, fans_out, streams])  # retries and hops add no timeout
async def test_cancellation_in_same_tick_as_timeout(
    call: Callable[[], World],
    inject: Callable[[Timeouts, asyncio.Task[object]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If a timeout fires in the tick in which the caller cancels, the call ends with that one cancellation."""
    with watched_timeouts(monkeypatch) as timeouts:
        assert await sweep(call(), inject=lambda task: inject(timeouts, task), verdict=was_cancelled)


async def test_attempt_timeout_above_open_stream_is_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If an attempt times out in a middleware that waits above an open reply, the next attempt gets the connection."""

    async def lingers(request: Request, call_next: Handler) -> Response:
        response = await call_next(request)
        await asyncio.sleep(0)
        return response

    with watched_timeouts(monkeypatch) as timeouts:
        world = streams(attempt_middleware=[lingers], connection=ConnectionSettings(pool_size=1), retry=RETRY)
        verdict = ended_with(APITimeoutError, or_success=True)  # a timeout in the body is not retried
        report = await sweep(world, inject=timeouts.fire, verdict=verdict, grace=1.0)
    assert report.reached(lingers.__qualname__)
