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
from resilient_client.core.deadline import Alarm
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
        context = request.context
        hedging = context.hedging
        body = request.body
        if hedging is None or not context.idempotent or (body is not None and not body.shareable):
            return await call_next(request)
        # Several endpoints share what is learnt: a sick one must not teach that its slowness is normal.
        latencies = self._latencies.for_endpoint((request.endpoint, request.method, route_of(context.call.path)))
        tokens = self._tokens.for_endpoint(context.upstream)
        retry_tokens = None
        if self._budgets is not None:
            retry_tokens = self._budgets.for_upstream(context.upstream, context.started)
        race = _Race(request, call_next, hedging, latencies, tokens, retry_tokens)
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
            if race.end():
                await race.leave()


class _Hedge:
    """An attempt in a task of its own."""

    __slots__ = ("began", "cost", "request")

    def __init__(self, request: Request, began: float, cost: float) -> None:
        self.request = request
        self.began = began
        self.cost = cost


class _Race:
    """The attempts of one step of the retry. Whoever runs the first tells of its end, tasks tell of the hedges'."""

    __slots__ = (
        "_alarm", "_answered", "_began", "_call_next", "_delay", "_ended", "_endpoint", "_failures", "_first_runs",
        "_headers", "_hedges", "_hedging", "_latencies", "_left", "_newest", "_request", "_retry_tokens", "_statuses",
        "_timer", "_tokens", "_url", "_waiter", "_winner",
    )  # fmt: skip  # one name a line says no more

    def __init__(
        self,
        request: Request,
        call_next: Handler,
        hedging: Hedging,
        latencies: LatencyHistogram,
        tokens: HedgeTokens,
        retry_tokens: RetryTokens | None,
    ) -> None:
        """Begin, in the caller's task."""
        context = request.context
        client = context.client
        self._request = self._newest = request
        self._url, self._endpoint = request.url, request.endpoint
        self._headers = request.headers.copy()  # hedges are made of what the first attempt was given
        self._call_next = call_next
        self._hedging = hedging
        self._latencies = latencies
        self._tokens = tokens
        self._retry_tokens = retry_tokens
        self._statuses = _NO_STATUSES if context.retry is None else context.retry.statuses
        self._left = hedging.max_hedges
        self._hedges: dict[asyncio.Task[Response], _Hedge] = {}
        self._first_runs = True
        self._answered = self._ended = False
        self._winner: tuple[Request, Response] | None = None
        self._failures: list[tuple[Request, Response | BaseException]] = []
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.Handle | None = None
        self._alarm: Alarm | None = None
        self._began = client.clock()
        delay = hedging.delay if isinstance(hedging.delay, float) else latencies.quantile(hedging.share or 0.95)
        if delay is not None:
            self._delay = max(delay, SHORTEST)
            self._alarm = Alarm(client.timers, math.inf)  # never rings by itself: a hedge that wins rings it
            self._timer = client.timers.loop.call_later(self._delay, self._due, TURNS)

    # -- the first attempt ---------------------------------------------------------------------------------------

    def is_won_by_first(self, response: Response) -> bool:
        """The first attempt got a reply; whether it is the answer."""
        self._first_runs = False
        fault = self._judge(response, self._began)
        if fault is None:
            return True
        self._failed(self._request, response, fault)
        return False

    def first_failed(self, error: APIError) -> None:
        """The first attempt got none."""
        self._first_runs = False
        self._failed(self._request, error, self._judge(error, self._began))

    def is_lost_to_hedge(self) -> bool:
        """The first attempt was cancelled; whether that is a hedge's doing and nobody else's."""
        self._first_runs = False
        self._learn(self._began, complete=False)
        return self._alarm is not None and self._alarm.rang()

    # -- the hedges ----------------------------------------------------------------------------------------------

    def _due(self, turns: int) -> None:
        """The delay is over: a few turns later, start a hedge, if it is the server that is late."""
        loop = self._request.context.client.timers.loop
        if turns:
            self._timer = loop.call_soon(self._due, turns - 1)
            return
        record = getattr(self._newest, "record", None)
        queued = record is not None and record.queued  # on our side: a hedge would stand behind it
        if queued or not self._start(f"no answer after {self._delay:.3g} s", RETRY_COST):
            self._delay *= 2  # until then something may have changed
        self._timer = loop.call_later(self._delay, self._due, TURNS) if self._left else None

    def _start(self, reason: str, cost: float) -> bool:
        """Start one more attempt, if it is still of use and the budgets allow it."""
        context = self._request.context
        client = context.client
        if self._ended or self._winner is not None or not self._left or not self._pay(client.loop_time(), cost):
            return False
        self._left -= 1
        began = client.clock()
        context.emit(HedgeStarted, waited=began - self._began, reason=reason)
        first = self._request
        self._newest = Request(
            first.method, self._url, self._headers.copy(), first.body, context, endpoint=self._endpoint
        )
        task = client.timers.loop.create_task(_attempt(self._newest, self._call_next))
        self._hedges[task] = _Hedge(self._newest, began, cost)
        task.add_done_callback(self._hedge_ended)
        return True

    def _hedge_ended(self, task: asyncio.Task[Response]) -> None:
        hedge = self._hedges.pop(task)
        outcome = None if task.cancelled() else task.exception() or task.result()
        if isinstance(outcome, Response | APIError):
            if isinstance(outcome, CallRejectedError):
                self._take_back(hedge.cost)
            fault = self._judge(outcome, hedge.began)
            if fault is None and isinstance(outcome, Response):
                self._won(hedge.request, outcome)
            else:
                self._failed(hedge.request, outcome, fault)
        elif outcome is not None:  # a bug, in a middleware perhaps: it, too, harms no healthy attempt
            self._failed(hedge.request, outcome, None)
        else:
            self._learn(hedge.began, complete=False)
        self._wake()

    # -- what came of an attempt ---------------------------------------------------------------------------------

    def _judge(self, outcome: Response | APIError, began: float) -> Fault | None:
        """What is wrong with it, by the lights of the retry; ``None``: it is an answer."""
        fault = fault_of(outcome, self._statuses)
        if fault is None:
            self._answered = True
        if fault is None or not fault.rejected:
            self._learn(began, complete=fault is None)
        return fault

    def _learn(self, began: float, *, complete: bool) -> None:
        client = self._request.context.client
        self._latencies.observe(client.loop_time(), client.clock() - began, complete=complete)

    def _won(self, request: Request, response: Response) -> None:
        if self._winner is None and not self._ended:
            self._winner = request, response
            if self._first_runs and self._alarm is not None:
                self._alarm.ring()

    def _failed(self, request: Request, outcome: Response | BaseException, fault: Fault | None) -> None:
        """Keep it, and start the next attempt at once if that may help."""
        if isinstance(outcome, CallRejectedError):
            self._failures.insert(0, (request, outcome))  # the last *real* failure tells more
        else:
            self._failures.append((request, outcome))
        if calls_for_next(outcome, fault) and fault is not None:
            self._start(fault.summary, cost_of_next(fault))

    # -- the end -------------------------------------------------------------------------------------------------

    async def rest(self) -> Response:
        """Wait for an answer from those still running, once the first attempt has ended without one.

        Raises:
            Exception: There is none; the last real failure.
        """
        while self._winner is None and self._hedges:
            self._waiter = self._request.context.client.timers.loop.create_future()
            await self._waiter
        if self._winner is not None:
            winner, response = self._winner
            first, self._request.record = self._request.record, winner.record
            self._tell_lost(first)
        else:
            winner, outcome = self._failures[-1]
            if not isinstance(outcome, Response):
                raise outcome
            response = outcome
        if winner.url is not self._request.url:
            self._request.url = winner.url  # what is said of the call names whom it asked last
        return response

    def end(self) -> bool:
        """It is over: start nothing more; whether there are attempts to leave."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._alarm is not None:
            self._alarm.close()
        if self._answered:
            self._tokens.deposit(self._hedging.max_extra)
        self._failures.clear()  # an error that knows a frame that knows the error is only freed by the collector
        return bool(self._hedges)

    async def leave(self) -> None:
        """Cancel the attempts still running, and wait for their ends, however often that is interrupted."""
        left = [hedge.request for hedge in self._hedges.values()]
        for task in self._hedges:
            task.cancel()
        interrupted: asyncio.CancelledError | None = None
        while self._hedges:
            try:
                await asyncio.wait(self._hedges)
            except asyncio.CancelledError as cancellation:  # the caller's: raised below
                interrupted = cancellation
        if self._answered:
            for request in left:
                self._tell_lost(getattr(request, "record", None))
        if interrupted is not None:
            raise interrupted

    def _tell_lost(self, record: AttemptRecord | None) -> None:
        """Have a cancelled attempt say to whom it lost; there is no record before it has begun."""
        if record is not None and record.status is None and record.kind is None:
            context = self._request.context
            record.kind = ErrorKind.CANCELLED
            record.error = f"lost to attempt {self._request.record.number}"
            context.emit(AttemptFinished, record=record)

    # -- small things --------------------------------------------------------------------------------------------

    def _pay(self, now: float, cost: float) -> bool:
        """Take from both budgets, or from none."""
        if not self._tokens.try_spend():
            return False
        if self._retry_tokens is None or self._retry_tokens.try_spend(now, cost):
            return True
        self._tokens.give_back()
        return False

    def _take_back(self, cost: float) -> None:
        """Nothing was sent for what was paid."""
        self._tokens.give_back()
        if self._retry_tokens is not None:
            self._retry_tokens.give_back(cost)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def _attempt(request: Request, call_next: Handler) -> Response:
    """An attempt as a coroutine: a middleware may give any awaitable."""
    return await call_next(request)


def _always(_: object) -> bool:
    """What was learnt of those not called for long may go."""
    return True
