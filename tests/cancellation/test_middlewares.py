"""Each middleware, alone, cancelled at each of its suspensions: in memory and in virtual time, so to the last step."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
from tests.cancellation.support import ENDPOINT, Timeouts, Upstream, a_request, ended_by, watched_timeouts

from resilient_client import BearerAuth
from resilient_client._core.errors import APIConnectionError, APITimeoutError, DeadlineExceededError
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.protocols import Handler, Middleware
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._middleware.attempt import AttemptMiddleware
from resilient_client._middleware.auth import AuthMiddleware
from resilient_client._middleware.circuit_breaker import CircuitBreakerMiddleware
from resilient_client._middleware.compose import compose
from resilient_client._middleware.deadline import DeadlineMiddleware
from resilient_client._middleware.redirect import RedirectMiddleware
from resilient_client._middleware.retry import RetryMiddleware
from resilient_client._policies.circuit.circuit import CircuitState
from resilient_client._policies.circuit.registry import Circuits
from resilient_client._policies.retry.budget import RetryBudgets
from resilient_client._settings.circuit_breaker import CircuitBreaker
from resilient_client._settings.retry import Backoff, Retry, RetryBudget
from resilient_client.testing._virtual_time import run_virtual
from resilient_client.testing.cancellation import (
    CancellationError,
    SweepReport,
    World,
    sweep,
    sweep_cancellation,
    was_cancelled,
)

Step = Callable[[], Awaitable[object]]
RETRY = Retry(max_attempts=3, backoff=Backoff(kind="fixed", initial=2.0))


def swept(world: World) -> SweepReport:
    """The report of a cancellation sweep in virtual time."""
    return run_virtual(sweep_cancellation(world, patience=1.0))


def lost_connection() -> APIConnectionError:
    return APIConnectionError("lost", kind=ErrorKind.DISCONNECTED, stage=Stage.HEADERS, retryable=True)


# --- deadline and attempt ---


def timed_world(*script: int, middlewares: tuple[Middleware, ...] = ()) -> World:
    """Deadline and attempt around an upstream in memory."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        upstream, request = Upstream(*script), a_request()
        chain = compose((DeadlineMiddleware(), AttemptMiddleware(), *middlewares), upstream)
        yield lambda: chain(request)
        assert upstream.active == 0
        assert request.context.attempts == len(request.context.history) == 1
        assert (await chain(a_request())).status == 200

    return world


def test_deadline_and_attempt_cancelled_anywhere_leave_no_alarm() -> None:
    """The one timer of a call is gone with the call, however it ends."""
    report = swept(timed_world())
    assert report.reached("DeadlineMiddleware.__call__")
    assert report.reached("AttemptMiddleware.__call__")
    assert len(report) == 4


def test_deadline_that_rings_anywhere_is_the_callers_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own timer never comes out as a cancellation, and takes back its own."""
    with watched_timeouts(monkeypatch) as timeouts:
        run_virtual(sweep(timed_world(), strike=timeouts.fire, verdict=ended_by(APITimeoutError)))
    assert timeouts.fired == 4


@pytest.mark.parametrize("both", [Timeouts.fire_then_cancel, Timeouts.cancel_then_fire])
def test_cancellation_in_the_tick_in_which_the_alarm_rings_is_the_callers(
    monkeypatch: pytest.MonkeyPatch, both: Callable[[Timeouts, asyncio.Task[object]], None]
) -> None:
    """When the caller and the alarm strike at once, the caller's cancellation comes out."""
    with watched_timeouts(monkeypatch) as timeouts:
        run_virtual(sweep(timed_world(), strike=lambda task: both(timeouts, task), verdict=was_cancelled))
    assert timeouts.fired == 4


def test_attempt_that_takes_every_cancellation_for_its_own_is_caught() -> None:
    """Negative control: a timer that does not ask whether it rang turns the caller's cancellation into an error."""

    async def careless(request: Request, call_next: Handler) -> Response:
        try:
            return await call_next(request)
        except asyncio.CancelledError:
            raise APITimeoutError("took too long", stage=Stage.HEADERS) from None

    with pytest.raises(CancellationError, match="the cancellation became APITimeoutError"):
        swept(timed_world(middlewares=(careless,)))


# --- retry ---


def retry_world(upstream: Callable[[], Upstream], *, timed: bool = False, calls: list[Request] | None = None) -> World:
    """Retry, with a budget, around an upstream in memory; with the timers of the chain around it if ``timed``."""
    made: list[Request] = [] if calls is None else calls

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        budgets = RetryBudgets(RetryBudget(min_per_second=0))
        tokens = budgets.for_upstream(ENDPOINT, 0.0)
        full = tokens.available(0.0)
        server = upstream()
        links: tuple[Middleware, ...] = (RetryMiddleware(budgets),)
        if timed:
            links = (DeadlineMiddleware(), *links, AttemptMiddleware())
        chain = compose(links, server)
        done: list[Response] = []

        async def scenario() -> None:
            made.append(a_request(RETRY))
            done.append(await chain(made[-1]))

        yield scenario
        assert server.active == 0
        if not done:
            assert tokens.available(0.0) == full - max(0, server.begun - 1)  # a token for each retry that began
            server.script = [200]
            assert (await chain(a_request(RETRY))).status == 200

    return world


@pytest.mark.parametrize("fault", [503, "lost"])
def test_retry_cancelled_anywhere_ends_without_another_attempt(fault: int | str) -> None:
    """A cancellation in an attempt or in the pause before one ends the call, and the budget pays for what began."""
    faults = (503, 503) if fault == 503 else (lost_connection(), lost_connection())
    report = swept(retry_world(lambda: Upstream(*faults, 200)))
    assert report.reached("AsyncRetrying.__call__")
    assert len(report) == 2 * (3 * 2 + 2)  # three attempts of two waits, two pauses


def test_deadline_that_rings_in_attempts_and_pauses_is_the_callers_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """At whatever suspension of attempts and pauses the deadline strikes, its error comes out and nothing is left."""
    calls: list[Request] = []
    world = retry_world(lambda: Upstream(503, 503, 200), timed=True, calls=calls)
    with watched_timeouts(monkeypatch) as timeouts:

        def strike(task: asyncio.Task[object]) -> None:
            calls[-1].context.deadline = calls[-1].context.client.loop_time()
            timeouts.fire(task)

        run_virtual(sweep(world, strike=strike, verdict=ended_by(DeadlineExceededError)))
    assert timeouts.fired == 16


# --- circuit breaker ---


def circuit_world(*script: int, half_open: bool) -> World:
    """A circuit around an upstream in memory: closed, or half open with one of two probes out already."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        loop = asyncio.get_running_loop()
        settings = CircuitBreaker(minimum_calls=1, failure_ratio=1.0, break_duration=1.0, half_open_probes=2)
        circuits: Circuits[object] = Circuits(settings, Random(0), lambda *_: None)
        circuit = circuits.for_endpoint(ENDPOINT)
        if half_open:
            ticket = circuit.try_admit(loop.time())
            assert ticket is not None
            ticket.failure(loop.time(), 0.0)
            await asyncio.sleep(2.0)
        upstream = Upstream(*script)
        chain = compose((CircuitBreakerMiddleware(circuits),), upstream)
        done: list[Response] = []

        async def scenario() -> None:
            done.append(await chain(a_request()))

        yield scenario
        if done:
            return
        now = loop.time()
        assert circuit.failure_ratio(now) == (1.0 if half_open else 0.0)
        assert circuit.state is (CircuitState.HALF_OPEN if half_open else CircuitState.CLOSED)
        probes = [circuit.try_admit(now) for _ in range(2)]
        assert all(probes), "a cancelled probe kept its permit"
        assert circuit.would_admit(now) is not half_open
        for probe in probes:
            probe.cancel()
        upstream.script = [200]
        assert (await chain(a_request())).status == 200

    return world


@pytest.mark.parametrize("half_open", [False, True], ids=["closed", "half_open"])
@pytest.mark.parametrize("status", [200, 404])
def test_circuit_breaker_cancelled_anywhere_counts_nothing_and_gives_back_its_permit(
    status: int, half_open: bool
) -> None:
    """A cancelled attempt teaches a circuit nothing, and the next probes find all permits free."""
    assert swept(circuit_world(status, half_open=half_open)).reached("CircuitBreakerMiddleware.__call__")


# --- auth, redirect, a user's own ---


def test_auth_cancelled_anywhere_leaves_no_refresh_and_serves_the_next_call() -> None:
    """Sole waiter cancelled: the refresh ends with it, in its own task too, and the next call refreshes anew."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        upstream = Upstream(401, 200)

        async def provide() -> str:
            await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
            return f"token-{upstream.begun}"

        link = AuthMiddleware(BearerAuth(provide))
        chain = compose((link,), upstream)
        yield lambda: chain(a_request())
        assert upstream.active == 0
        assert link._refreshing._flight is None
        upstream.script = [200]
        assert (await chain(a_request())).status == 200

    report = swept(world)
    assert report.reached("SingleFlight.join")
    assert report.reached("TokenKeeper._renew")
    assert report.reached("AuthMiddleware._refresh")


def test_auth_cancelled_waiter_leaves_the_refresh_to_the_others() -> None:
    """One of two waiters cancelled: the other still gets the refreshed credentials."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        refreshes = 0

        class Slow:
            token = "old"

            async def apply(self, request: Request) -> None:
                request.headers["Authorization"] = self.token

            async def refresh(self, _rejected: Response) -> bool:
                nonlocal refreshes
                refreshes += 1
                await asyncio.sleep(0.05)
                self.token = "new"
                return True

        async def upstream(request: Request) -> Response:
            await asyncio.sleep(0.01)
            status = 200 if request.headers["Authorization"] == "new" else 401
            return Response(status, request.headers, b"", request.url)

        chain = compose((AuthMiddleware(Slow()),), upstream)
        other = asyncio.create_task(chain(a_request()))
        await asyncio.sleep(0.005)
        yield lambda: chain(a_request())
        assert (await other).status == 200
        assert refreshes == 1

    assert swept(world).reached("SingleFlight.join")


def test_redirect_cancelled_anywhere_follows_no_further() -> None:
    """A cancellation in any hop ends the chain of redirects."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        upstream = Upstream(302, 307, 200)
        chain = compose((RedirectMiddleware("same-origin"),), upstream)
        yield lambda: chain(a_request())
        assert upstream.active == 0
        upstream.script = [302, 200]
        assert (await chain(a_request())).status == 200

    assert len(swept(world)) == 12


def test_middleware_of_a_user_cancelled_anywhere_gives_back_what_it_holds() -> None:
    """A bulkhead as users write it, around the call or the attempt, is right when the sweep says so."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        permits = asyncio.Semaphore(1)

        async def at_most_one(request: Request, call_next: Handler) -> Response:
            async with permits:
                return await call_next(request)

        chain = compose((DeadlineMiddleware(), at_most_one), Upstream())
        busy = asyncio.create_task(chain(a_request()))
        await asyncio.sleep(0)
        yield lambda: chain(a_request())
        await busy
        assert not permits.locked()
        assert (await chain(a_request())).status == 200

    assert swept(world).reached("Semaphore.acquire")
