"""Bulkhead and rate limit, alone and in whole chains, cancelled at each suspension: no permit or token is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.cancellation.support import (
    ENDPOINT,
    Timeouts,
    Upstream,
    client_world,
    ended_with,
    make_request,
    one_loop,
    watched_timeouts,
)

from resilient_client import APIClient, APITimeoutError, Bulkhead, BulkheadFullError, Call, RateLimit
from resilient_client._middleware.attempt import AttemptMiddleware
from resilient_client._middleware.bulkhead import BulkheadMiddleware
from resilient_client._middleware.compose import compose
from resilient_client._middleware.deadline import DeadlineMiddleware
from resilient_client._middleware.rate_limit import RateLimitMiddleware
from resilient_client._policies.limits.bulkhead import Permits
from resilient_client._policies.registry import Registry
from resilient_client._waiting.permit import PermitWait
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._virtual_time import run_virtual
from resilient_client.testing.cancellation import (
    SweepReport,
    World,
    sweep,
    sweep_cancellation,
    was_cancelled,
)
from resilient_client.testing.faults import drip, reply

Step = Callable[[], Awaitable[object]]
ONE = Bulkhead(max_concurrent=1, max_queue=2)


def sweep_virtual(world: World) -> SweepReport:
    """Run a cancellation sweep in virtual time."""
    return run_virtual(sweep_cancellation(world, grace=5.0))


# --- alone ---


def bulkhead_world(*, ahead: int = 1, timed: bool = False) -> World:
    """Create a world with one permit. ``ahead`` attempts hold it or wait for it before the scenario starts."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        bulkheads = Registry[object, Permits](lambda _: Permits(ONE), lambda permits: permits.idle)
        permits = bulkheads.use(ENDPOINT)
        upstream = Upstream()
        middleware = BulkheadMiddleware(bulkheads)
        chain = compose((DeadlineMiddleware(), AttemptMiddleware(), middleware) if timed else (middleware,), upstream)
        others = [asyncio.create_task(chain(make_request())) for _ in range(ahead)]
        await asyncio.sleep(0)
        yield lambda: chain(make_request())
        assert all(response.status == 200 for response in await asyncio.gather(*others))
        assert permits.idle
        assert upstream.active == 0
        assert (await chain(make_request())).status == 200
        assert permits.idle

    return world


def test_bulkhead_cancelled_anywhere_releases_its_permit() -> None:
    """While it waits, in the tick in which the permit is granted, and while it holds the permit."""
    report = sweep_virtual(bulkhead_world())
    assert report.reached("wait_for_permit")
    assert report.reached("Upstream.__call__")


def test_bulkhead_without_wait_releases_its_permit() -> None:
    """A call that got its permit at once releases it when it is cancelled."""
    assert len(sweep_virtual(bulkhead_world(ahead=0))) == 4


def test_bulkhead_timeout_anywhere_releases_its_permit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for a permit is part of the attempt, so the attempt's timeout ends it."""
    with watched_timeouts(monkeypatch) as timeouts:
        verdict = ended_with(APITimeoutError, BulkheadFullError)
        run_virtual(sweep(bulkhead_world(timed=True), inject=timeouts.fire, verdict=verdict, grace=5.0))
    assert timeouts.fired > 4


@pytest.mark.parametrize("inject", [Timeouts.fire_then_cancel, Timeouts.cancel_then_fire])
def test_bulkhead_cancelled_in_same_tick_as_timeout(
    monkeypatch: pytest.MonkeyPatch, inject: Callable[[Timeouts, asyncio.Task[object]], None]
) -> None:
    """If both happen in one tick, the call ends cancelled and no permit is lost."""
    with watched_timeouts(monkeypatch) as timeouts:
        world = bulkhead_world(timed=True)
        run_virtual(sweep(world, inject=lambda task: inject(timeouts, task), verdict=was_cancelled, grace=5.0))


def test_permit_granted_in_tick_of_cancellation_is_detected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: a bulkhead that ignores a cancellation in the tick of the grant loses a permit."""

    async def careless(permits: Permits, *_: object) -> PermitWait:
        granted = asyncio.get_running_loop().create_future()
        waiter = permits.enqueue("user", lambda permit: not granted.done() and not granted.set_result(permit))
        assert waiter is not None
        try:
            await granted
            return PermitWait.GRANTED
        finally:
            waiter.leave()

    monkeypatch.setattr("resilient_client._middleware.bulkhead.wait_for_permit", careless)
    with pytest.raises(AssertionError, match=r"Permits 1 of 1 in use"):
        sweep_virtual(bulkhead_world())


def rate_world(settings: RateLimit, *, timed: bool = False) -> World:
    """Create a world with a rate limit whose tokens are used up when the scenario starts."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        upstream, start = Upstream(), asyncio.get_running_loop().time()
        middleware = RateLimitMiddleware(settings)
        chain = compose((DeadlineMiddleware(), AttemptMiddleware(), middleware) if timed else (middleware,), upstream)
        others = [asyncio.create_task(chain(make_request()))]
        await asyncio.sleep(0)
        yield lambda: chain(make_request())
        assert all(response.status == 200 for response in await asyncio.gather(*others))
        (gate,) = middleware._gates.values()
        assert (gate.bucket.waiting, gate._timer) == (0, None)
        assert upstream.active == 0
        now = asyncio.get_running_loop().time()
        due = start + upstream.started * settings.per / settings.rate
        assert gate.bucket.due_in(now) == pytest.approx(max(0.0, due - now)), "a token is missing"

    return world


def test_rate_limit_cancelled_anywhere_takes_no_token() -> None:
    """While it waits and in the tick in which it gets the token: the next call gets it, and no timer is left."""
    report = sweep_virtual(rate_world(RateLimit(rate=1, max_wait=5)))
    assert report.reached("RateLimitMiddleware._wait")


def test_rate_limit_timeout_anywhere_takes_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt whose timeout fires while it waits takes no token."""
    with watched_timeouts(monkeypatch) as timeouts:
        world = rate_world(RateLimit(rate=1, max_wait=5), timed=True)
        run_virtual(sweep(world, inject=timeouts.fire, verdict=ended_with(APITimeoutError), grace=5.0))
    assert timeouts.fired > 4


def test_rate_limit_that_keeps_the_turn_of_the_cancelled_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a token that goes with who was cancelled is missing."""
    monkeypatch.setattr("resilient_client._policies.limits.token_bucket.TokenBucket.refund", lambda _bucket: None)
    with pytest.raises(AssertionError, match="a token is missing"):
        sweep_virtual(rate_world(RateLimit(rate=1, max_wait=5)))


# --- whole chains, real sockets ---


async def three(api: APIClient) -> None:
    result = await api.gather([Call.get(f"/{number}") for number in range(3)])
    assert len(result.values) == 3


async def read_all(api: APIClient) -> None:
    async with api.stream("GET", "/") as stream:
        assert await stream.read() == b"abc"


def limited(scenario: Callable[[APIClient], Awaitable[None]], *steps: Any, **settings: Any) -> World:
    """Create a world with one permit, so the last call of the world is rejected if the permit is not released."""
    settings = {"bulkhead": Bulkhead(max_concurrent=1, max_queue=9)} | settings
    return client_world(lambda api: lambda: scenario(api), *steps, arrange=assert_permits_idle, **settings)


@asynccontextmanager
async def assert_permits_idle(_server: FaultServer, api: APIClient) -> AsyncIterator[None]:
    yield
    assert all(permits.idle for permits in api.bulkheads.values())


@one_loop
@pytest.mark.parametrize(
    "world",
    [
        lambda: limited(three, reply(delay=0.002)),
        lambda: limited(read_all, drip(b"abc", interval=0.002)),
        lambda: limited(three, reply(delay=0.002), rate_limit=RateLimit(rate=500, max_wait=1)),
    ],
    ids=["bulkhead", "stream", "both"],
)
async def test_limited_call_cancelled_anywhere_leaves_nothing(
    world: Callable[[], World],
) -> None:
    """Through the whole chain, the next call gets the permit and a token."""
    assert await sweep_cancellation(world())
