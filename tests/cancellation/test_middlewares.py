"""Each middleware alone, cancelled at each suspension, in memory and in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
from tests.cancellation.support import ENDPOINT, Timeouts, Upstream, ended_with, make_request, watched_timeouts

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


def sweep_virtual(world: World) -> SweepReport:
    """Run a cancellation sweep in virtual time."""
    return run_virtual(sweep_cancellation(world, grace=1.0))


def lost_connection() -> APIConnectionError:
    return APIConnectionError("lost", kind=ErrorKind.DISCONNECTED, stage=Stage.HEADERS, retryable=True)


# --- deadline and attempt ---


def timed_world(*script: int, middlewares: tuple[Middleware, ...] = ()) -> World:
    """Create a world with deadline and attempt around an upstream in memory."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        upstream, request = Upstream(*script), make_request()
        chain = compose((DeadlineMiddleware(), AttemptMiddleware(), *middlewares), upstream)
        yield lambda: chain(request)
        assert upstream.active == 0
        assert request.context.attempts == len(request.context.history) == 1
        assert (await chain(make_request())).status == 200

    return world


def test_deadline_and_attempt_cancelled_anywhere() -> None:
    """The timer of a call is removed when the call ends."""
    report = sweep_virtual(timed_world())
    assert report.reached("DeadlineMiddleware.__call__")
    assert report.reached("AttemptMiddleware.__call__")
    assert len(report) == 4


def test_deadline_firing_anywhere_raises_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout never comes out as a cancellation, and it uncancels the task."""
    with watched_timeouts(monkeypatch) as timeouts:
        run_virtual(sweep(timed_world(), inject=timeouts.fire, verdict=ended_with(APITimeoutError)))
    assert timeouts.fired == 4


@pytest.mark.parametrize("inject", [Timeouts.fire_then_cancel, Timeouts.cancel_then_fire])
def test_cancellation_in_same_tick_as_timeout(
    monkeypatch: pytest.MonkeyPatch, inject: Callable[[Timeouts, asyncio.Task[object]], None]
) -> None:
    """If a timeout fires in the tick in which the caller cancels, the call ends cancelled."""
    with watched_timeouts(monkeypatch) as timeouts:
        run_virtual(sweep(timed_world(), inject=lambda task: inject(timeouts, task), verdict=was_cancelled))
    assert timeouts.fired == 4


def test_cancellation_taken_for_timeout_is_detected() -> None:
    """Negative control: code that does not check whether its timeout fired turns a cancellation into an error."""

    async def careless(request: Request, call_next: Handler) -> Response:
        try:
            return await call_next(request)
        except asyncio.CancelledError:
            raise APITimeoutError("took too long", stage=Stage.HEADERS) from None

    with pytest.raises(CancellationError, match="the cancellation became APITimeoutError"):
        sweep_virtual(timed_world(middlewares=(careless,)))


# --- retry ---


def retry_world(upstream: Callable[[], Upstream], *, timed: bool = False, calls: list[Request] | None = None) -> World:
    """Create a world with retry and a budget around an upstream in memory, inside the chain's timeouts if ``timed``."""
    requests: list[Request] = [] if calls is None else calls

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        budgets = RetryBudgets(RetryBudget(min_per_second=0))
        tokens = budgets.for_upstream(ENDPOINT, 0.0)
        full = tokens.available(0.0)
        server = upstream()
        middlewares: tuple[Middleware, ...] = (RetryMiddleware(budgets),)
        if timed:
            middlewares = (DeadlineMiddleware(), *middlewares, AttemptMiddleware())
        chain = compose(middlewares, server)
        done: list[Response] = []

        async def scenario() -> None:
            requests.append(make_request(RETRY))
            done.append(await chain(requests[-1]))

        yield scenario
        assert server.active == 0
        if not done:
            assert tokens.available(0.0) == full - max(0, server.started - 1)  # a token for each retry that started
            server.script = [200]
            assert (await chain(make_request(RETRY))).status == 200

    return world


@pytest.mark.parametrize("fault", [503, "lost"])
def test_retry_cancelled_anywhere_sends_no_more(fault: int | str) -> None:
    """A cancellation in an attempt or in a pause ends the call. The budget loses a token per retry that started."""
    faults = (503, 503) if fault == 503 else (lost_connection(), lost_connection())
    report = sweep_virtual(retry_world(lambda: Upstream(*faults, 200)))
    assert report.reached("AsyncRetrying.__call__")
    assert len(report) == 2 * (3 * 2 + 2)  # three attempts of two waits, two pauses


def test_deadline_firing_anywhere_ends_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the deadline fires in an attempt or in a pause, the call raises its error and nothing is left."""
    calls: list[Request] = []
    world = retry_world(lambda: Upstream(503, 503, 200), timed=True, calls=calls)
    with watched_timeouts(monkeypatch) as timeouts:

        def expire(task: asyncio.Task[object]) -> None:
            calls[-1].context.deadline = calls[-1].context.client.loop_time()
            timeouts.fire(task)

        run_virtual(sweep(world, inject=expire, verdict=ended_with(DeadlineExceededError)))
    assert timeouts.fired == 16


# --- circuit breaker ---


def circuit_world(*script: int, half_open: bool) -> World:
    """Create a world with a circuit that is closed, or half open with one of two probes already in flight."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        loop = asyncio.get_running_loop()
        settings = CircuitBreaker(minimum_calls=1, failure_ratio=1.0, break_duration=1.0, half_open_probes=2)
        circuits: Circuits[object] = Circuits(settings, Random(0), lambda *_: None)
        circuit = circuits.use(ENDPOINT)
        if half_open:
            ticket = circuit.try_admit(loop.time())
            assert ticket is not None
            ticket.failure(loop.time(), 0.0)
            await asyncio.sleep(2.0)
        upstream = Upstream(*script)
        chain = compose((CircuitBreakerMiddleware(circuits),), upstream)
        done: list[Response] = []

        async def scenario() -> None:
            done.append(await chain(make_request()))

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
        assert (await chain(make_request())).status == 200

    return world


@pytest.mark.parametrize("half_open", [False, True], ids=["closed", "half_open"])
@pytest.mark.parametrize("status", [200, 404])
def test_circuit_cancelled_anywhere_counts_nothing(status: int, half_open: bool) -> None:
    """A circuit does not count a cancelled attempt, and all permits are free for the next probes."""
    assert sweep_virtual(circuit_world(status, half_open=half_open)).reached("CircuitBreakerMiddleware.__call__")


# --- auth, redirect, user middleware ---


def test_auth_cancelled_anywhere_ends_its_refresh() -> None:
    """If the only waiting call is cancelled, the refresh ends, and the next call refreshes again."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        upstream = Upstream(401, 200)

        async def provide() -> str:
            await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
            return f"token-{upstream.started}"

        middleware = AuthMiddleware(BearerAuth(provide))
        chain = compose((middleware,), upstream)
        yield lambda: chain(make_request())
        assert upstream.active == 0
        assert middleware._refreshing._flight is None
        upstream.script = [200]
        assert (await chain(make_request())).status == 200

    report = sweep_virtual(world)
    assert report.reached("SingleFlight.join")
    assert report.reached("TokenKeeper._renew")
    assert report.reached("AuthMiddleware._refresh")


def test_auth_refresh_survives_one_cancelled_waiter() -> None:
    """If one of two waiting calls is cancelled, the other one still gets the refreshed credentials."""

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
        other = asyncio.create_task(chain(make_request()))
        await asyncio.sleep(0.005)
        yield lambda: chain(make_request())
        assert (await other).status == 200
        assert refreshes == 1

    assert sweep_virtual(world).reached("SingleFlight.join")


def test_redirect_cancelled_anywhere_stops() -> None:
    """A cancellation in any hop ends the chain of redirects."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        upstream = Upstream(302, 307, 200)
        chain = compose((RedirectMiddleware("same-origin", 5),), upstream)
        yield lambda: chain(make_request())
        assert upstream.active == 0
        upstream.script = [302, 200]
        assert (await chain(make_request())).status == 200

    assert len(sweep_virtual(world)) == 12


def test_user_middleware_cancelled_anywhere() -> None:
    """A bulkhead written by a user with ``asyncio.Semaphore`` releases its permit."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        permits = asyncio.Semaphore(1)

        async def at_most_one(request: Request, call_next: Handler) -> Response:
            async with permits:
                return await call_next(request)

        chain = compose((DeadlineMiddleware(), at_most_one), Upstream())
        busy = asyncio.create_task(chain(make_request()))
        await asyncio.sleep(0)
        yield lambda: chain(make_request())
        await busy
        assert not permits.locked()
        assert (await chain(make_request())).status == 200

    assert sweep_virtual(world).reached("Semaphore.acquire")
