"""Hedged calls, cancelled at each of their suspensions: those of the caller, and those of the hedges."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from tests.cancellation.support import Timeouts, Upstream, a_request, ended_by, watched_timeouts, world_of

from resilient_client import APIClient, APITimeoutError, Handler, Hedging, Request, Response, Retry
from resilient_client._core.kinds import ErrorKind
from resilient_client._middleware.attempt import AttemptMiddleware
from resilient_client._middleware.compose import compose
from resilient_client._middleware.hedging import HedgingMiddleware
from resilient_client._middleware.hedging.race import Race
from resilient_client.testing._virtual_time import run_virtual
from resilient_client.testing.cancellation import CancellationError, World, sweep, sweep_cancellation, was_cancelled
from resilient_client.testing.faults import reply

ONCE = Retry(max_attempts=1)


def race_world(*script: int, delay: float, hedges: int = 1, middleware: type[HedgingMiddleware] | None = None) -> World:
    """Hedging around an upstream in memory that takes 20 ms, in two waits."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Callable[[], Awaitable[object]]]:
        upstream = Upstream(*script)
        hedging = (middleware or HedgingMiddleware)(None)
        chain = compose((hedging, AttemptMiddleware()), upstream)
        made: list[Request] = []

        async def scenario() -> Response:
            request = a_request(ONCE, Hedging(delay=delay, max_hedges=hedges))
            made.append(request)
            return await chain(request)

        yield scenario
        assert upstream.active == 0
        (request,) = made
        assert request.context.attempts == len(request.context.history) == upstream.begun
        assert request.context.client.timer.active == 0
        assert hedging._timer is None or (hedging._timer.active, hedging._timer._handle) == (0, None)
        upstream.script = [200]
        assert (await scenario()).status == 200
        assert upstream.active == 0

    return world


SLOW = race_world(200, delay=0.005)
"""The hedge starts at 6 ms and loses at 20."""
THREE = race_world(200, delay=0.004, hedges=2)
FAILING = race_world(503, 200, delay=0.015)
"""The hedge is on its way when the first fails."""
AT_ONCE = race_world(503, 503, 200, delay=30.0, hedges=2)
ALL_FAIL = race_world(503, delay=0.005)


@pytest.mark.parametrize("world", [SLOW, THREE, FAILING, AT_ONCE, ALL_FAIL])
def test_race_cancelled_anywhere_leaves_no_attempt(world: World) -> None:
    """Wherever the caller leaves, all attempts end with it, and its cancellation comes out alone."""
    report = run_virtual(sweep_cancellation(world, patience=1.0))
    assert report.reached("HedgingMiddleware.__call__")
    assert report.reached("_as_coroutine")


def test_race_cancelled_while_it_leaves_a_loser_still_awaits_it() -> None:
    """A loser that takes its time to clean up is waited for, though the caller is cancelled meanwhile."""
    ended: list[bool] = []

    async def cleans_up(request: Request, call_next: Handler) -> Response:
        try:
            return await call_next(request)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            ended.append(True)
            raise

    @asynccontextmanager
    async def world() -> AsyncIterator[Callable[[], Awaitable[object]]]:
        upstream = Upstream(200)
        chain = compose((HedgingMiddleware(None), AttemptMiddleware(), cleans_up), upstream)

        async def scenario() -> Response:
            request = a_request(ONCE, Hedging(delay=0.005))
            return await chain(request)

        yield scenario
        assert upstream.active == 0

    report = run_virtual(sweep_cancellation(world, patience=1.0))
    assert report.reached("Race.cancel_losers")
    assert ended


def test_race_that_leaves_its_losers_behind_is_caught() -> None:
    """Negative control: hedges that are not awaited are found by the sweep."""

    class Careless(HedgingMiddleware):
        __slots__ = ()

        async def __call__(self, request: Request, call_next: Handler) -> Response:
            hedge = asyncio.ensure_future(call_next(request.copy()))
            try:
                return await call_next(request)
            finally:
                hedge.cancel()

    with pytest.raises((CancellationError, AssertionError)):
        run_virtual(sweep_cancellation(race_world(200, delay=0.005, middleware=Careless), patience=1.0))


async def hedged(api: APIClient) -> None:
    response = await api.get("/", hedging=Hedging(delay=0.002))
    assert response.status == 200


def through_the_chain(*steps: object) -> World:
    """A hedged call over real sockets: the first reply is slow, the second quick; what comes after is not hedged."""
    return world_of(lambda api: lambda: hedged(api), *steps, retry=ONCE, retry_budget=None)


async def test_hedged_call_cancelled_anywhere_leaves_nothing_and_the_next_one_works() -> None:
    """Through the whole chain: no attempt, connection, permit or timer stays behind."""
    report = await sweep_cancellation(through_the_chain(reply(delay=0.05), reply(delay=0.003)))
    assert report.reached("HedgingMiddleware.__call__")


@pytest.mark.parametrize("both", [Timeouts.fire_then_cancel, Timeouts.cancel_then_fire])
async def test_cancellation_in_the_tick_in_which_an_attempts_alarm_rings_is_the_callers(
    both: Callable[[Timeouts, asyncio.Task[object]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the caller and a timer of ours strike at once, in whatever attempt, the cancellation comes out."""
    with watched_timeouts(monkeypatch) as timeouts:
        world = through_the_chain(reply(delay=0.02), reply(delay=0.003))
        assert await sweep(world, strike=lambda task: both(timeouts, task), verdict=was_cancelled)


async def test_hedged_call_whose_latest_alarm_rings_anywhere_goes_on_or_fails_with_our_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An attempt that our timer ended harms no other; if it was the only one left, the error is ours."""
    with watched_timeouts(monkeypatch) as timeouts:
        world = through_the_chain(reply(delay=0.02), reply(delay=0.003))
        await sweep(world, strike=timeouts.fire, verdict=ended_by(APITimeoutError, or_well=True))
    assert timeouts.fired > 2


@pytest.mark.parametrize("first", ["hedge", "caller"])
def test_hedge_that_wins_in_the_tick_of_the_callers_cancellation_lets_it_pass(first: str) -> None:
    """Both cancel the same task at once: it is the caller's cancellation that comes out, and the only one left."""

    async def scenario() -> None:
        races: list[Race] = []
        hedging = HedgingMiddleware(None)

        async def hangs(request: Request) -> Response:
            races.extend(race for race in hedging._timer.pending if isinstance(race, Race))
            await asyncio.Event().wait()
            raise AssertionError

        request = a_request(ONCE, Hedging(delay=5.0))
        task = asyncio.ensure_future(compose((hedging, AttemptMiddleware()), hangs)(request))
        await asyncio.sleep(0.01)
        for strike in (
            (races[0]._overtake.fire, task.cancel) if first == "hedge" else (task.cancel, races[0]._overtake.fire)
        ):
            strike()
        await asyncio.wait([task])
        assert was_cancelled(task) == ""

    run_virtual(scenario())


def test_cancelled_loser_says_to_whom_it_lost() -> None:
    """The record of the first attempt, which lost to its hedge, is complete when the answer is given."""

    async def scenario() -> None:
        async def slow_at_first(request: Request) -> Response:
            await asyncio.sleep(1.0 if request.attempt.number == 1 else 0.01)
            return await Upstream(200)(request)

        request = a_request(ONCE, Hedging(delay=0.05))
        await compose((HedgingMiddleware(None), AttemptMiddleware()), slow_at_first)(request)
        first, second = request.context.history
        assert (first.kind, first.error, first.timeout) == (ErrorKind.CANCELLED, "lost to attempt 2", None)
        assert first.elapsed == pytest.approx(0.081)  # the delay, a millisecond, and what the hedge took
        assert (second.kind, second.status, request.attempt) == (None, 200, second)

    run_virtual(scenario())
