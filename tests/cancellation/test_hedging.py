"""Hedged calls, cancelled at each suspension of the caller and of the hedges."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from tests.cancellation.support import (
    Timeouts,
    Upstream,
    client_world,
    ended_with,
    make_request,
    one_loop,
    watched_timeouts,
)

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
    """Create a world with hedging around an upstream in memory that takes 20 ms, in two waits."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Callable[[], Awaitable[object]]]:
        upstream = Upstream(*script)
        hedging = (middleware or HedgingMiddleware)(None)
        chain = compose((hedging, AttemptMiddleware()), upstream)
        requests: list[Request] = []

        async def scenario() -> Response:
            request = make_request(ONCE, Hedging(delay=delay, max_hedges=hedges))
            requests.append(request)
            return await chain(request)

        yield scenario
        assert upstream.active == 0
        (request,) = requests
        assert request.context.attempts == len(request.context.history) == upstream.started
        assert request.context.client.timer.active == 0
        assert hedging._timer is None or (hedging._timer.active, hedging._timer._handle) == (0, None)
        upstream.script = [200]
        assert (await scenario()).status == 200
        assert upstream.active == 0

    return world


SLOW = race_world(200, delay=0.005)
"""The hedge starts at 6 ms and loses at 20 ms."""
THREE_ATTEMPTS = race_world(200, delay=0.004, hedges=2)
FAILING = race_world(503, 200, delay=0.015)
"""The hedge is in flight when the first attempt fails."""
AT_ONCE = race_world(503, 503, 200, delay=30.0, hedges=2)
ALL_FAIL = race_world(503, delay=0.005)


@pytest.mark.parametrize("world", [SLOW, THREE_ATTEMPTS, FAILING, AT_ONCE, ALL_FAIL])
def test_race_cancelled_anywhere_leaves_no_attempt(world: World) -> None:
    """All attempts of a cancelled call end with it, and it ends with this one cancellation."""
    report = run_virtual(sweep_cancellation(world, grace=1.0))
    assert report.reached("HedgingMiddleware.__call__")
    assert report.reached("_as_coroutine")


def test_race_cancelled_during_cleanup_awaits_the_loser() -> None:
    """A losing attempt that is cleaning up is awaited even if the caller is cancelled in the meantime."""
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
            request = make_request(ONCE, Hedging(delay=0.005))
            return await chain(request)

        yield scenario
        assert upstream.active == 0

    report = run_virtual(sweep_cancellation(world, grace=1.0))
    assert report.reached("Race.cancel_losers")
    assert ended


def test_hedges_left_running_are_detected() -> None:
    """Negative control: the sweep finds hedges that are not awaited."""

    class Careless(HedgingMiddleware):
        __slots__ = ()

        async def __call__(self, request: Request, call_next: Handler) -> Response:
            hedge = asyncio.ensure_future(call_next(request.copy()))
            try:
                return await call_next(request)
            finally:
                hedge.cancel()

    with pytest.raises((CancellationError, AssertionError)):
        run_virtual(sweep_cancellation(race_world(200, delay=0.005, middleware=Careless), grace=1.0))


async def hedged(api: APIClient) -> None:
    response = await api.get("/", hedging=Hedging(delay=0.002))
    assert response.status == 200


def chain_world(*steps: object) -> World:
    """Create a world with a hedged call over real sockets, with one server reply per step."""
    return client_world(lambda api: lambda: hedged(api), *steps, retry=ONCE, retry_budget=None)


async def test_hedged_call_cancelled_anywhere_leaves_nothing() -> None:
    """Through the whole chain, no attempt, connection, permit or timer is left."""
    report = await sweep_cancellation(chain_world(reply(delay=0.05), reply(delay=0.003)))
    assert report.reached("HedgingMiddleware.__call__")


@one_loop
@pytest.mark.parametrize("inject", [Timeouts.fire_then_cancel, Timeouts.cancel_then_fire])
async def test_cancellation_in_same_tick_as_attempt_timeout(
    inject: Callable[[Timeouts, asyncio.Task[object]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a timeout fires in any attempt in the tick in which the caller cancels, the call ends cancelled."""
    with watched_timeouts(monkeypatch) as timeouts:
        world = chain_world(reply(delay=0.02), reply(delay=0.003))
        assert await sweep(world, inject=lambda task: inject(timeouts, task), verdict=was_cancelled)


async def test_attempt_timeout_anywhere_in_hedged_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The timeout of one attempt does not affect the others. If it was the last one, the call raises the timeout."""
    with watched_timeouts(monkeypatch) as timeouts:
        world = chain_world(reply(delay=0.02), reply(delay=0.003))
        await sweep(world, inject=timeouts.fire, verdict=ended_with(APITimeoutError, or_success=True))
    assert timeouts.fired > 2


@pytest.mark.parametrize("first", ["hedge", "caller"])
def test_cancellation_in_same_tick_as_winning_hedge(first: str) -> None:
    """The winning hedge and the caller both cancel the task: the caller's cancellation is the one that remains."""

    async def scenario() -> None:
        races: list[Race] = []
        hedging = HedgingMiddleware(None)

        async def hangs(request: Request) -> Response:
            races.extend(race for race in hedging._timer.pending if isinstance(race, Race))
            await asyncio.Event().wait()
            raise AssertionError

        request = make_request(ONCE, Hedging(delay=5.0))
        task = asyncio.ensure_future(compose((hedging, AttemptMiddleware()), hangs)(request))
        await asyncio.sleep(0.01)
        for interrupt in (
            (races[0]._overtake.fire, task.cancel) if first == "hedge" else (task.cancel, races[0]._overtake.fire)
        ):
            interrupt()
        await asyncio.wait([task])
        assert was_cancelled(task) == ""

    run_virtual(scenario())


def test_cancelled_loser_names_the_winner() -> None:
    """The record of a first attempt that lost to its hedge is complete when the call returns."""

    async def scenario() -> None:
        async def slow_at_first(request: Request) -> Response:
            await asyncio.sleep(1.0 if request.attempt.number == 1 else 0.01)
            return await Upstream(200)(request)

        request = make_request(ONCE, Hedging(delay=0.05))
        await compose((HedgingMiddleware(None), AttemptMiddleware()), slow_at_first)(request)
        first, second = request.context.history
        assert (first.kind, first.error, first.timeout) == (ErrorKind.CANCELLED, "lost to attempt 2", None)
        assert first.elapsed == pytest.approx(0.081)  # the delay, one millisecond of rounding, and the hedge
        assert (second.kind, second.status, request.attempt) == (None, 200, second)

    run_virtual(scenario())
