"""Hedging: when the answer takes unusually long, one more attempt is started beside; the first good answer wins.

Per call, inside retry: one step of the retry is a race of attempts here. The first attempt runs in the caller's task,
and most calls end there, with nothing but a place among those that one timer watches: only a hedge is a task. When a
hedge wins it cancels the first attempt, as an alarm does, and that cancellation never comes out. A failed attempt ends
no healthy one. What lost is cancelled and awaited, whatever happens. After which delay a hedge starts, and whether it
may, is decided by ``_policies.hedging.route``; what a failed attempt calls for, by ``_policies.hedging.rules``.
"""

from __future__ import annotations

import asyncio
import math
from contextvars import copy_context

from resilient_client._core.call import route_of
from resilient_client._core.deadline import RESOLUTION, SharedTimer, TaskTimeout
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import APIError, CallRejectedError
from resilient_client._core.events import AttemptFinished, HedgeStarted
from resilient_client._core.kinds import ErrorKind
from resilient_client._core.protocols import Handler
from resilient_client._core.record import AttemptRecord
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.classify import Fault, fault_of
from resilient_client._policies.hedging.budget import HedgeTokens
from resilient_client._policies.hedging.latency_histogram import LatencyHistogram
from resilient_client._policies.hedging.route import HedgingRoute
from resilient_client._policies.hedging.rules import LOOP_ITERATIONS, MIN_DELAY, calls_for_next, cost_of_next
from resilient_client._policies.registry import Registry
from resilient_client._policies.retry.budget import RETRY_COST, RetryBudgets
from resilient_client._settings.hedging import Hedging

_ROUTES = 1_000
_NO_STATUSES: frozenset[int] = frozenset()


class HedgingMiddleware:
    """Starts hedges as the call's settings say, within two budgets of its upstream."""

    __slots__ = ("_budgets", "_latencies", "_routes", "_timer", "_tokens")

    def __init__(self, budgets: RetryBudgets[Endpoint] | None) -> None:
        """Serve any number of calls.

        Args:
            budgets: The retry budgets, of which hedges take, too; ``None``: only that of hedges bounds them.
        """
        self._budgets = budgets
        self._tokens: Registry[Endpoint, HedgeTokens] = Registry(lambda _: HedgeTokens())
        self._latencies: Registry[tuple[Endpoint, str, str], LatencyHistogram]
        self._latencies = Registry(lambda _: LatencyHistogram(), limit=_ROUTES)
        self._routes: dict[str, HedgingRoute] = {}  # the latest of each path as it was written
        self._timer: SharedTimer | None = None

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Make an attempt, and another beside it when it is slow or fails."""
        context, body = request.context, request.body
        hedging = context.hedging
        if hedging is None or not context.idempotent or (body is not None and not body.shareable):
            return await call_next(request)
        route = self._routes.get(context.call.path)
        if route is None or not route.matches(request):
            route = self._route(request)
        timer, loop = self._timer, context.client.timer.loop
        if timer is None or timer.loop is not loop:  # of its own: it rings far more often than that for alarms
            timer = self._timer = SharedTimer(loop)
        race = _Race(timer, request, call_next, hedging, route)
        try:
            try:
                response = await call_next(request)
            except APIError as error:
                race.first_failed(error)
            except asyncio.CancelledError:
                if not race.is_lost_to_hedge():
                    raise
            else:
                if response.status < 400 and not race.eventful:
                    route.answered(request, hedging)
                    return response
                if race.is_won_by_first(response):
                    return response
            return await race.rest()
        finally:
            race.close()
            if race.eventful:
                await race.leave()

    def _route(self, request: Request) -> HedgingRoute:
        """What the calls of this route share, looked up and remembered."""
        context, path = request.context, request.context.call.path
        latencies = self._latencies.use((request.endpoint, request.method, route_of(path)))
        if len(self._routes) >= _ROUTES:
            self._routes.clear()
        tokens = self._tokens.use(context.upstream)
        route = self._routes[path] = HedgingRoute(request, latencies, tokens, self._budgets)
        return route


class _Race(TaskTimeout):
    """The attempts of one step of the retry. Whoever runs the first tells of its end, tasks tell of the hedges'.

    It is an alarm of the caller's task that does not end it: when the delay is over it rings, to start a hedge; only a
    hedge that wins cancels the task.

    Attributes:
        eventful: Whether anything has happened but that the first attempt began: most races end as they have begun.
        hedges: Those under way, with what was paid for each.
    """

    hedges: dict[asyncio.Task[Response], tuple[Request, float]]
    _failures: list[tuple[Request, Response | BaseException]]
    _first_runs = True
    _late = False
    _started = 0
    _winner: tuple[Request, Response] | None = None
    _waiter: asyncio.Future[None] | None = None
    _handle: asyncio.Handle | None = None
    _newest: Request | None = None

    def __init__(
        self,
        timer: SharedTimer,
        request: Request,
        call_next: Handler,
        hedging: Hedging,
        route: HedgingRoute,
    ) -> None:
        """Begin, in the caller's task."""
        task = asyncio.current_task(timer.loop)
        if task is None:
            raise RuntimeError("a call must be awaited inside a task, such as one started by asyncio.run()")
        share = hedging.share
        delay = hedging.fixed if share is None else route.latencies.quantile(share)
        if delay is None:
            delay = math.inf
        elif delay < MIN_DELAY:
            delay = MIN_DELAY
        # What follows until the timer is armed is what Alarm does, here once more: the interpreter makes code quick
        # that meets one class only, and a frame for two would slow down each attempt's own alarm.
        self._timer = timer
        self._task = task
        self._cancelling = task.cancelling()
        self._fired = False
        # The clock of some loops stands still for a millisecond: too early is worse than too late.
        self.ends_at = ends_at = timer.loop.time() + delay + RESOLUTION
        timer.active += 1
        timer.pending[self] = None
        if ends_at < timer.armed_for:
            timer.arm(ends_at)
        self.eventful = False
        self._delay = self._wait = self._waited = delay
        tokens = route.tokens
        self._number = tokens.begun = tokens.begun + 1
        self._request = request
        self._call_next = call_next
        self._hedging = hedging
        self._route = route
        self._headers = request.headers.copy()  # hedges are made of what the first attempt was given
        self._url = request.url
        self._context = copy_context()  # and in the context of the call

    # -- the first attempt ---------------------------------------------------------------------------------------

    def is_won_by_first(self, response: Response) -> bool:
        """The first attempt got a reply; whether it is the answer."""
        self._stir()
        self._first_runs = False
        fault = self._judge(self._request, response)
        if fault is None:
            for _ in self.hedges:
                self._route.tokens.judge(won=False)
            return True
        self._failed(self._request, response, fault)
        return False

    def first_failed(self, error: APIError) -> None:
        """The first attempt got none."""
        self._stir()
        self._first_runs = False
        self._failed(self._request, error, self._judge(self._request, error))

    def is_lost_to_hedge(self) -> bool:
        """The first attempt was cancelled; whether that is a hedge's doing and nobody else's."""
        self._stir()
        self._first_runs = False
        self._route.ended(self._request, complete=False)
        return self.uncancel()

    def _stir(self) -> None:
        """Something happens."""
        if not self.eventful:
            self.eventful = True
            self.hedges, self._failures = {}, []

    # -- the hedges ----------------------------------------------------------------------------------------------

    def fire(self) -> None:
        """The delay is over."""
        if self._task is not None:
            self._stir()
            self._wait_turns(LOOP_ITERATIONS)

    def overtake(self) -> None:
        """A hedge has won: cancel the first attempt."""
        super().fire()

    def _wait_turns(self, turns: int) -> None:
        """A few turns of the loop later, see whether it is the server that is late."""
        if self._task is None or self._winner is not None:
            return
        if turns:
            self._handle = self._timer.loop.call_soon(self._wait_turns, turns - 1, context=self._context)
        else:
            self._due()

    def _due(self) -> None:
        """Start a hedge, if that is of use; else look again when something may have changed."""
        first = self._request
        early = self._delay - (first.context.client.clock() - first.context.started_clock - first.record.started)
        if early > 0:  # the clock of the loop stood still when it was set
            self._look_again(early + RESOLUTION)
            return
        record = getattr(self._newest or first, "record", None)
        queued = record is not None and record.queued  # on our side: a hedge would stand behind it
        route = self._route
        if not queued and not self._late:
            self._late = True
            route.late(self._number, self._delay, self._hedging)
        waited = self._waited
        if queued or not route.is_worthwhile(waited) or not self._start(f"no answer after {waited:.3g} s", RETRY_COST):
            self._wait *= 2
        if self._started < self._hedging.max_hedges:
            self._waited += self._wait
            self._look_again(self._wait)

    def _look_again(self, after: float) -> None:
        self._handle = self._timer.loop.call_later(after, self._wait_turns, LOOP_ITERATIONS, context=self._context)

    def _start(self, reason: str, cost: float) -> bool:
        """Start one more attempt, if it is still of use and the budgets allow it."""
        if self._task is None or self._winner is not None or self._started >= self._hedging.max_hedges:
            return False
        if not self._route.try_spend(self._request, self._timer.loop.time(), cost):
            return False
        self._started += 1
        first, context = self._request, self._request.context
        waited = context.client.clock() - context.started_clock - first.record.started
        context.emit(HedgeStarted, waited=waited, reason=reason)
        self._newest = Request(first.method, self._url, self._headers.copy(), first.body, context)
        attempt = _attempt(self._newest, self._call_next)
        task = self._timer.loop.create_task(attempt)  # it has the context of the call: whatever leads here runs in it
        self.hedges[task] = self._newest, cost
        task.add_done_callback(self._hedge_ended)
        return True

    def _hedge_ended(self, task: asyncio.Task[Response]) -> None:
        request, cost = self.hedges.pop(task)
        outcome = None if task.cancelled() else task.exception() or task.result()
        if isinstance(outcome, Response | APIError):
            if isinstance(outcome, CallRejectedError):
                self._route.refund(request, cost)
            fault = self._judge(request, outcome)
            if fault is None and isinstance(outcome, Response):
                self._won(request, outcome)
            else:
                self._failed(request, outcome, fault)
        elif outcome is not None:  # a bug, in a middleware perhaps: it, too, harms no healthy attempt
            self._failures.append((request, outcome))
        else:
            self._route.ended(request, complete=False)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- what came of an attempt ---------------------------------------------------------------------------------

    def _judge(self, request: Request, outcome: Response | APIError) -> Fault | None:
        """What is wrong with it, by the lights of the retry; ``None``: it is an answer."""
        fault = None
        if not isinstance(outcome, Response) or outcome.status >= 400:
            retry = request.context.retry
            fault = fault_of(outcome, _NO_STATUSES if retry is None else retry.statuses)
        if fault is None:
            self._route.ended(request, complete=True)
            if self._task is not None and self._winner is None:
                self._route.tokens.deposit(self._hedging.max_extra_load)
        elif not fault.rejected:
            self._route.ended(request, complete=False)
        return fault

    def _won(self, request: Request, response: Response) -> None:
        if self._winner is None and self._task is not None:
            self._winner = request, response
            if self._first_runs:
                self._route.tokens.judge(won=True)
                self.overtake()

    def _failed(self, request: Request, outcome: Response | APIError, fault: Fault | None) -> None:
        """Keep it, and start the next attempt at once if that may help."""
        if isinstance(outcome, CallRejectedError):
            self._failures.insert(0, (request, outcome))  # the last *real* failure tells more
        else:
            self._failures.append((request, outcome))
        if fault is not None and calls_for_next(outcome, fault):
            self._start(fault.summary, cost_of_next(fault))

    # -- the end -------------------------------------------------------------------------------------------------

    async def rest(self) -> Response:
        """Wait for an answer from those still running, once the first attempt has ended without one.

        Raises:
            Exception: There is none; the last real failure.
        """
        while self._winner is None and self.hedges:
            self._waiter = self._timer.loop.create_future()
            await self._waiter
        first = self._request
        if self._winner is None:
            return self._last_failure()
        winner, response = self._winner
        lost, first.record = first.record, winner.record
        self._tell_lost(lost)
        self._follow(winner)
        return response

    def _last_failure(self) -> Response:
        request, outcome = self._failures[-1]
        self._follow(request)
        try:
            if isinstance(outcome, Response):
                return outcome
            raise outcome
        finally:
            del outcome  # an error that knows a frame that knows the error is only freed by the collector

    def _follow(self, request: Request) -> None:
        """What is said of the call names whom it asked last."""
        if request.url is not self._request.url:
            self._request.url = request.url

    async def leave(self) -> None:
        """Cancel the attempts still running, and wait for their ends, however often that is interrupted."""
        if self._handle is not None:
            self._handle.cancel()
        self._failures.clear()
        left = [request for request, _ in self.hedges.values()]
        for task in self.hedges:
            task.cancel()
        interrupted: asyncio.CancelledError | None = None
        while self.hedges:
            try:
                await asyncio.wait(self.hedges)
            except asyncio.CancelledError as cancellation:  # the caller's: raised below
                interrupted = cancellation
        for request in left:
            self._tell_lost(getattr(request, "record", None))
        if interrupted is not None:
            raise interrupted

    def _tell_lost(self, record: AttemptRecord | None) -> None:
        """Have a cancelled attempt say to whom it lost; there is no record before it has begun."""
        winner = self._request.record
        if record is not None and record.status is None and record.kind is None and winner.status is not None:
            context = self._request.context
            record.kind = ErrorKind.CANCELLED
            record.error = f"lost to attempt {winner.number}"
            context.emit(AttemptFinished, record=record)


async def _attempt(request: Request, call_next: Handler) -> Response:
    """An attempt as a coroutine: a middleware may give any awaitable."""
    return await call_next(request)
