"""Hedging: when the answer takes unusually long, one more attempt is started beside; the first good answer wins.

Per call, inside retry: one step of the retry is a race of attempts here. The first attempt runs in the caller's task,
and most calls end there, with nothing but a timer set and taken back: only a hedge is a task. When a hedge wins it
cancels the first attempt, as an alarm does, and that cancellation never comes out. A failed attempt ends no healthy
one. What lost is cancelled and awaited, whatever happens. Whether a hedge may start is decided by ``policies.hedging``
and the budgets, after which delay by ``policies.latency_histogram``.
"""

from __future__ import annotations

import asyncio
import math

from resilient_client.core.attempts import AttemptRecord
from resilient_client.core.call import route_of
from resilient_client.core.deadline import RESOLUTION, Alarm
from resilient_client.core.endpoint import Endpoint
from resilient_client.core.errors import APIError, CallRejectedError
from resilient_client.core.events import AttemptFinished, HedgeStarted
from resilient_client.core.kinds import ErrorKind
from resilient_client.core.protocols import Handler
from resilient_client.core.request import Request
from resilient_client.core.response import Response
from resilient_client.policies.classify import Fault, fault_of
from resilient_client.policies.hedge_budget import HedgeTokens
from resilient_client.policies.hedging import SHORTEST, TURNS, calls_for_next, cost_of_next
from resilient_client.policies.latency_histogram import LatencyHistogram
from resilient_client.policies.per_endpoint import PerEndpoint
from resilient_client.policies.retry_budget import RETRY_COST, RetryBudgets, RetryTokens
from resilient_client.settings.hedging import Hedging

_ROUTES = 1_000
_NO_STATUSES: frozenset[int] = frozenset()


class HedgingMiddleware:
    """Starts hedges as the call's settings say, within two budgets of its upstream."""

    __slots__ = ("_budgets", "_latencies", "_tokens")

    def __init__(self, budgets: RetryBudgets[Endpoint] | None) -> None:
        """Serve any number of calls.

        Args:
            budgets: The retry budgets, of which hedges take, too; ``None``: only that of hedges bounds them.
        """
        self._budgets = budgets
        self._tokens: PerEndpoint[Endpoint, HedgeTokens] = PerEndpoint(HedgeTokens, idle=_always)
        self._latencies: PerEndpoint[tuple[Endpoint, str, str], LatencyHistogram]
        self._latencies = PerEndpoint(LatencyHistogram, idle=_always, limit=_ROUTES)

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Make an attempt, and another beside it when it is slow or fails."""
        context, body = request.context, request.body
        hedging = context.hedging
        if hedging is None or not context.idempotent or (body is not None and not body.shareable):
            return await call_next(request)
        tokens = self._tokens.for_endpoint(context.upstream)
        # Several endpoints share what is learnt: a sick one must not teach that its slowness is normal.
        latencies = self._latencies.for_endpoint((request.endpoint, request.method, route_of(context.call.path)))
        share = hedging.share
        delay = hedging.fixed if share is None else latencies.quantile(share)
        race = _Race(request, call_next, latencies, delay)
        race.hedging, race.tokens, race.budgets = hedging, tokens, self._budgets
        try:
            try:
                response = await call_next(request)
            except APIError as error:
                race.first_failed(error)
            except asyncio.CancelledError:
                if not race.is_lost_to_hedge():
                    raise
            else:
                if race.is_won_by_first(response):
                    return response
            return await race.rest()
        finally:
            race.close()
            if race.hedges:
                await race.leave()


class _Race(Alarm):
    """The attempts of one step of the retry. Whoever runs the first tells of its end, tasks tell of the hedges'.

    It is an alarm of the caller's task, too, which no time rings, but a hedge that wins.
    """

    hedging: Hedging
    tokens: HedgeTokens
    budgets: RetryBudgets[Endpoint] | None

    _first_runs = True
    _started = 0
    _winner: tuple[Request, Response] | None = None
    _waiter: asyncio.Future[None] | None = None
    _timer: asyncio.Handle | None = None
    _delay = 0.0

    def __init__(self, request: Request, call_next: Handler, latencies: LatencyHistogram, delay: float | None) -> None:
        """Begin, in the caller's task; a ``delay`` of ``None`` is never over."""
        timers = request.context.client.timers
        super().__init__(timers, math.inf)
        if delay is not None:
            self._delay = max(delay, SHORTEST)
            # The clock of some loops stands still for a millisecond: too early is worse than too late.
            self._timer = timers.loop.call_later(self._delay + RESOLUTION, self._due, TURNS)
        self._request = self._newest = request
        self._headers = request.headers.copy()  # hedges are made of what the first attempt was given
        self._url = request.url
        self._call_next = call_next
        self._latencies = latencies
        self.hedges: dict[asyncio.Task[Response], tuple[Request, float]] = {}
        self._failures: list[tuple[Request, Response | BaseException]] = []

    # -- the first attempt ---------------------------------------------------------------------------------------

    def is_won_by_first(self, response: Response) -> bool:
        """The first attempt got a reply; whether it is the answer."""
        self._first_runs = False
        fault = self._judge(self._request, response)
        if fault is None:
            for _ in self.hedges:
                self.tokens.judge(won=False)
            return True
        self._failed(self._request, response, fault)
        return False

    def first_failed(self, error: APIError) -> None:
        """The first attempt got none."""
        self._first_runs = False
        self._failed(self._request, error, self._judge(self._request, error))

    def is_lost_to_hedge(self) -> bool:
        """The first attempt was cancelled; whether that is a hedge's doing and nobody else's."""
        self._first_runs = False
        self._learn(self._request, complete=False)
        return self.rang()

    # -- the hedges ----------------------------------------------------------------------------------------------

    def _due(self, turns: int) -> None:
        """A few turns of the loop later, start a hedge, if it is the server that is late."""
        if self._task is None or self._winner is not None:
            return
        loop = self._timers.loop
        if turns:
            self._timer = loop.call_soon(self._due, turns - 1)
            return
        record = getattr(self._newest, "record", None)
        queued = record is not None and record.queued  # on our side: a hedge would stand behind it
        if queued or not self._start(f"no answer after {self._delay:.3g} s", RETRY_COST):
            self._delay *= 2  # until then something may have changed
        if self._started < self.hedging.max_hedges:
            self._timer = loop.call_later(self._delay, self._due, TURNS)

    def _start(self, reason: str, cost: float) -> bool:
        """Start one more attempt, if it is still of use and the budgets allow it."""
        if self._task is None or self._winner is not None or self._started >= self.hedging.max_hedges:
            return False
        if not self._pay(cost):
            return False
        self._started += 1
        first, context = self._request, self._request.context
        waited = context.client.clock() - context.started_clock - first.record.started
        context.emit(HedgeStarted, waited=waited, reason=reason)
        self._newest = Request(first.method, self._url, self._headers.copy(), first.body, context)
        attempt = _attempt(self._newest, self._call_next)
        task = self._timers.loop.create_task(attempt)  # by a timer of the call: with its context variables
        self.hedges[task] = self._newest, cost
        task.add_done_callback(self._hedge_ended)
        return True

    def _hedge_ended(self, task: asyncio.Task[Response]) -> None:
        request, cost = self.hedges.pop(task)
        outcome = None if task.cancelled() else task.exception() or task.result()
        if isinstance(outcome, Response | APIError):
            if isinstance(outcome, CallRejectedError):
                self._take_back(cost)
            fault = self._judge(request, outcome)
            if fault is None and isinstance(outcome, Response):
                self._won(request, outcome)
            else:
                self._failed(request, outcome, fault)
        elif outcome is not None:  # a bug, in a middleware perhaps: it, too, harms no healthy attempt
            self._failures.append((request, outcome))
        else:
            self._learn(request, complete=False)
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
            self._learn(request, complete=True)
            if self._task is not None and self._winner is None:
                self.tokens.deposit(self.hedging.max_extra)
        elif not fault.rejected:
            self._learn(request, complete=False)
        return fault

    def _learn(self, request: Request, *, complete: bool) -> None:
        record = getattr(request, "record", None)
        if record is not None:
            self._latencies.observe(request.context.started, record.elapsed, complete=complete)

    def _won(self, request: Request, response: Response) -> None:
        if self._winner is None and self._task is not None:
            self._winner = request, response
            if self._first_runs:
                self.tokens.judge(won=True)
                self.ring()

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
            self._waiter = self._timers.loop.create_future()
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

    def close(self) -> None:
        """It is over: start nothing more."""
        super().close()
        if self._timer is not None:
            self._timer.cancel()
        self._failures.clear()

    async def leave(self) -> None:
        """Cancel the attempts still running, and wait for their ends, however often that is interrupted."""
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

    # -- the budgets ---------------------------------------------------------------------------------------------

    @property
    def _retry_tokens(self) -> RetryTokens | None:
        context = self._request.context
        return None if self.budgets is None else self.budgets.for_upstream(context.upstream, context.started)

    def _pay(self, cost: float) -> bool:
        """Take from both budgets, or from none."""
        if not self.tokens.try_spend():
            return False
        retry_tokens = self._retry_tokens
        if retry_tokens is None or retry_tokens.try_spend(self._timers.loop.time(), cost):
            return True
        self.tokens.give_back()
        return False

    def _take_back(self, cost: float) -> None:
        """Nothing was sent for what was paid."""
        self.tokens.give_back()
        if (retry_tokens := self._retry_tokens) is not None:
            retry_tokens.give_back(cost)


async def _attempt(request: Request, call_next: Handler) -> Response:
    """An attempt as a coroutine: a middleware may give any awaitable."""
    return await call_next(request)


def _always(_: object) -> bool:
    """What was learnt of those not called for long may go."""
    return True
