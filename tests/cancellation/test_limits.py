"""Bulkhead and rate limit, alone and in whole chains, struck at each of their suspensions: nothing is ever lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.cancellation.support import ENDPOINT, Timeouts, Upstream, a_request, ended_by, watched_timeouts, world_of

from resilient_client import APIClient, APITimeoutError, Bulkhead, BulkheadFullError, Call, RateLimit
from resilient_client._middleware.attempt import AttemptMiddleware
from resilient_client._middleware.bulkhead import BulkheadMiddleware
from resilient_client._middleware.compose import compose
from resilient_client._middleware.deadline import DeadlineMiddleware
from resilient_client._middleware.rate_limit import RateLimitMiddleware
from resilient_client._policies.limits.bulkhead import Permits
from resilient_client._policies.per_endpoint import PerEndpoint
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


def swept(world: World) -> SweepReport:
    """The report of a cancellation sweep in virtual time."""
    return run_virtual(sweep_cancellation(world, patience=5.0))


# --- alone ---


def bulkhead_world(*, ahead: int = 1, timed: bool = False) -> World:
    """One permit, which another attempt holds when the scenario comes, if one is ``ahead``."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        bulkheads = PerEndpoint[object, Permits](lambda: Permits(ONE), lambda permits: permits.idle)
        permits = bulkheads.for_endpoint(ENDPOINT)
        upstream = Upstream()
        link = BulkheadMiddleware(bulkheads)
        chain = compose((DeadlineMiddleware(), AttemptMiddleware(), link) if timed else (link,), upstream)
        others = [asyncio.create_task(chain(a_request())) for _ in range(ahead)]
        await asyncio.sleep(0)
        yield lambda: chain(a_request())
        assert all(response.status == 200 for response in await asyncio.gather(*others))
        assert permits.idle
        assert upstream.active == 0
        assert (await chain(a_request())).status == 200
        assert permits.idle

    return world


def test_bulkhead_cancelled_anywhere_gives_back_its_permit_and_its_place() -> None:
    """While it waits, in the tick in which it gets its permit, and while it holds it."""
    report = swept(bulkhead_world())
    assert report.reached("wait_for_permit")
    assert report.reached("Upstream.__call__")


def test_bulkhead_without_a_wait_cancelled_anywhere_gives_back_its_permit() -> None:
    """While it holds it."""
    assert len(swept(bulkhead_world(ahead=0))) == 4


def test_bulkhead_whose_alarm_rings_anywhere_gives_back_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own timer is a timeout here, too: the wait belongs to the attempt."""
    with watched_timeouts(monkeypatch) as timeouts:
        verdict = ended_by(APITimeoutError, BulkheadFullError)
        run_virtual(sweep(bulkhead_world(timed=True), strike=timeouts.fire, verdict=verdict, patience=5.0))
    assert timeouts.fired > 4


@pytest.mark.parametrize("both", [Timeouts.fire_then_cancel, Timeouts.cancel_then_fire])
def test_bulkhead_cancelled_in_the_tick_in_which_the_alarm_rings_propagates_the_cancellation(
    monkeypatch: pytest.MonkeyPatch, both: Callable[[Timeouts, asyncio.Task[object]], None]
) -> None:
    """Both at once, and nothing is lost."""
    with watched_timeouts(monkeypatch) as timeouts:
        world = bulkhead_world(timed=True)
        run_virtual(sweep(world, strike=lambda task: both(timeouts, task), verdict=was_cancelled, patience=5.0))


def test_bulkhead_that_keeps_a_permit_granted_in_the_tick_of_the_cancellation_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: a semaphore that forgets who was cancelled in that tick loses a permit."""

    async def careless(permits: Permits, *_: object) -> PermitWait:
        turn = asyncio.get_running_loop().create_future()
        place = permits.enqueue("user", lambda granted: not turn.done() and not turn.set_result(granted))
        assert place is not None
        try:
            await turn
            return PermitWait.GRANTED
        finally:
            place.leave()

    monkeypatch.setattr("resilient_client._middleware.bulkhead.wait_for_permit", careless)
    with pytest.raises(AssertionError, match=r"Permits 1 of 1 in use"):
        swept(bulkhead_world())


def rate_world(settings: RateLimit, *, timed: bool = False) -> World:
    """A rate limit whose tokens others have taken when the scenario comes."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        upstream, began = Upstream(), asyncio.get_running_loop().time()
        link = RateLimitMiddleware(settings)
        chain = compose((DeadlineMiddleware(), AttemptMiddleware(), link) if timed else (link,), upstream)
        others = [asyncio.create_task(chain(a_request()))]
        await asyncio.sleep(0)
        yield lambda: chain(a_request())
        assert all(response.status == 200 for response in await asyncio.gather(*others))
        (gate,) = link._gates.values()
        assert (gate.bucket.waiting, gate._timer) == (0, None)
        assert upstream.active == 0
        now = asyncio.get_running_loop().time()
        due = began + upstream.begun * settings.per / settings.rate
        assert gate.bucket.due_in(now) == pytest.approx(max(0.0, due - now)), "a turn is missing"

    return world


def test_rate_limit_cancelled_anywhere_takes_no_turn_and_leaves_no_timer() -> None:
    """Waiting for a turn, or in the tick in which it comes: the token stays for the next."""
    report = swept(rate_world(RateLimit(rate=1, max_wait=5)))
    assert report.reached("RateLimitMiddleware._wait")


def test_rate_limit_whose_alarm_rings_anywhere_takes_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own timer, likewise."""
    with watched_timeouts(monkeypatch) as timeouts:
        world = rate_world(RateLimit(rate=1, max_wait=5), timed=True)
        run_virtual(sweep(world, strike=timeouts.fire, verdict=ended_by(APITimeoutError), patience=5.0))
    assert timeouts.fired > 4


def test_rate_limit_that_keeps_the_turn_of_the_cancelled_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a token that goes with who was cancelled is missing."""
    monkeypatch.setattr("resilient_client._policies.limits.token_bucket.TokenBucket.put_back", lambda _bucket: None)
    with pytest.raises(AssertionError, match="a turn is missing"):
        swept(rate_world(RateLimit(rate=1, max_wait=5)))


# --- whole chains, real sockets ---


async def three(api: APIClient) -> None:
    result = await api.gather([Call.get(f"/{number}") for number in range(3)])
    assert len(result.values) == 3


async def read_all(api: APIClient) -> None:
    async with api.stream("GET", "/") as stream:
        assert await stream.read() == b"abc"


def limited(scenario: Callable[[APIClient], Awaitable[None]], *steps: Any, **settings: Any) -> World:
    """A client with one permit: the call that every world ends with is refused if anybody still has it."""
    settings = {"bulkhead": Bulkhead(max_concurrent=1, max_queue=9)} | settings
    return world_of(lambda api: lambda: scenario(api), *steps, arrange=all_permits_come_home, **settings)


@asynccontextmanager
async def all_permits_come_home(_server: FaultServer, api: APIClient) -> AsyncIterator[None]:
    yield
    assert all(permits.idle for permits in api.bulkheads.values())


@pytest.mark.parametrize(
    "world",
    [
        lambda: limited(three, reply(delay=0.002)),
        lambda: limited(read_all, drip(b"abc", interval=0.002)),
        lambda: limited(three, reply(delay=0.002), rate_limit=RateLimit(rate=500, max_wait=1)),
    ],
    ids=["bulkhead", "stream", "both"],
)
async def test_call_with_limits_cancelled_anywhere_leaves_nothing_and_the_next_one_works(
    world: Callable[[], World],
) -> None:
    """The next call has the one permit and its turn, as ever."""
    assert await sweep_cancellation(world())
