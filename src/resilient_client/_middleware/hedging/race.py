"""A race of attempts: one step of the retry of one call.

::

    first attempt, in the caller's task ───────────────┬─► answers: done
       │ delay over, and a hedge is worth its cost     ├─► fails: the next attempt starts at once, or the race waits
       ▼                                               │
    hedge, in a task of its own ───────────────────────┴─► answers first: it cancels the first attempt

A failed attempt never ends a healthy one. When a hedge wins, it cancels the first attempt, and that cancellation never
leaves the race. The losers are cancelled and awaited, whatever happens.
"""

from __future__ import annotations

import asyncio
import math
from contextvars import copy_context

from resilient_client._core.attempt import Attempt
from resilient_client._core.causes import HedgeCause
from resilient_client._core.deadline import RESOLUTION, SharedTimer, TaskTimeout
from resilient_client._core.errors import APIError, CallRejectedError
from resilient_client._core.events import AttemptFinished, HedgeStarted
from resilient_client._core.kinds import ErrorKind
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.classify import Fault, fault_of
from resilient_client._policies.hedging.route import HedgingRoute
from resilient_client._policies.hedging.rules import LOOP_ITERATIONS, MIN_DELAY, calls_for_next, cost_of_next
from resilient_client._policies.retry.budget import RETRY_COST
from resilient_client._settings.hedging import Hedging

_NO_STATUSES: frozenset[int] = frozenset()


class Race:
    """The first attempt, run by the caller's task, and its hedges, which report by themselves.

    Attributes:
        ends_at: When the delay is over, in loop time; the shared timer calls ``fire`` then.
        eventful: Whether anything happened besides the first attempt. Most races end as they began.
        hedges: The hedges under way, with their requests and what was paid for each.
    """

    # Most races are not eventful: what only eventful ones need is on the class, and is made in _become_eventful.
    eventful = False
    hedges: dict[asyncio.Task[Response], tuple[Request, float]]
    _failures: list[tuple[Request, Response | BaseException]]
    _first_is_running = True
    _closed = False
    _late = False
    _started = 0
    _winner: tuple[Request, Response] | None = None
    _waiter: asyncio.Future[None] | None = None
    _handle: asyncio.Handle | None = None
    _newest: Request | None = None
    context = None  # the timeouts of the attempts stand for the call
    _newest_began: float | None = None  # when it was started, in seconds of the call

    def __init__(
        self, timer: SharedTimer, request: Request, call_next: Handler, hedging: Hedging, route: HedgingRoute
    ) -> None:
        """Begin, in the caller's task.

        Args:
            timer: Ends the delay.
            request: The request of the first attempt.
            call_next: The rest of the chain.
            hedging: The settings in force.
            route: What the calls of this route share.
        """
        share = hedging.share
        delay = hedging.fixed if share is None else route.latencies.quantile(share)
        delay = math.inf if delay is None else max(delay, MIN_DELAY)
        # uvloop's clock advances in steps of a millisecond. A hedge that starts too early costs more than one too late.
        self.ends_at = timer.loop.time() + delay + RESOLUTION
        self._timer = timer
        self._overtake = TaskTimeout(timer, math.inf)  # no time limit: a hedge that wins fires it
        timer.add(self)
        self._delay = self._step = self._waited = delay
        tokens = route.tokens
        self._number = tokens.begun = tokens.begun + 1
        self._request = request
        self._call_next = call_next
        self._hedging = hedging
        self._route = route
        self._headers = request.headers.copy()  # a hedge is sent what the first attempt was given
        self._url = request.url
        self._context = copy_context()  # and runs in the context of the call

    # -- the first attempt ---------------------------------------------------------------------------------------------

    def first_answered(self, response: Response) -> bool:
        """The first attempt got a response; returns whether it wins the race."""
        self._end_first()
        fault = self._judge(self._request, response)
        if fault is None:
            for _ in self.hedges:
                self._route.tokens.judge(won=False)
            return True
        self._failed(self._request, response, fault)
        return False

    def first_failed(self, error: APIError) -> None:
        """The first attempt failed."""
        self._end_first()
        self._failed(self._request, error, self._judge(self._request, error))

    def first_was_overtaken(self) -> bool:
        """The first attempt was cancelled; returns whether that was a hedge that won, and nothing else."""
        self._end_first()
        self._route.ended(self._request, complete=False)
        return self._overtake.uncancel()

    def _end_first(self) -> None:
        self._become_eventful()
        self._first_is_running = False

    def _become_eventful(self) -> None:
        if not self.eventful:
            self.eventful = True
            self.hedges, self._failures = {}, []

    # -- the hedges ----------------------------------------------------------------------------------------------------

    def fire(self) -> None:
        """The delay is over."""
        if not self._closed:
            self._become_eventful()
            self._wait_iterations(LOOP_ITERATIONS)

    def abort(self) -> None:
        """Do nothing when the client is closed: the attempts of the race end by themselves."""

    def _wait_iterations(self, count: int) -> None:
        """Let the loop read its sockets first: it may be this process that is late, not the server."""
        if self._closed or self._winner is not None:
            return
        if count:
            self._handle = self._timer.loop.call_soon(self._wait_iterations, count - 1, context=self._context)
        else:
            self._consider_hedge()

    def _consider_hedge(self) -> None:
        """Start a hedge if it is worthwhile; else consider it again when something may have changed."""
        first = self._request
        # The delay counts from the latest attempt: one that replaced a failed attempt may take as long as any other.
        latest = first.attempt.started if self._newest_began is None else self._newest_began
        early = self._delay - (first.context.elapsed - latest)
        if early > 0:  # or the loop's clock stood still when the delay began
            self._consider_again(early + RESOLUTION)
            return
        attempt = getattr(self._newest or first, "attempt", None)
        queued = attempt is not None and attempt.queued  # it waits on our side, and a hedge would wait behind it
        route, waited = self._route, self._waited
        if not queued and not self._late:
            self._late = True
            route.late(self._number, self._delay, self._hedging)
        reason = f"no answer after {waited:.3g} s"
        if queued or not route.is_worthwhile(waited) or not self._start(reason, HedgeCause.LATE, RETRY_COST):
            self._step *= 2
        if self._started < self._hedging.max_hedges:
            self._waited += self._step
            self._consider_again(self._step)

    def _consider_again(self, after: float) -> None:
        self._handle = self._timer.loop.call_later(after, self._wait_iterations, LOOP_ITERATIONS, context=self._context)

    def _start(self, reason: str, cause: HedgeCause, cost: float) -> bool:
        """Start one more attempt, if the race is still open and the budgets allow it; returns whether it started."""
        if self._closed or self._winner is not None or self._started >= self._hedging.max_hedges:
            return False
        loop = self._timer.loop
        if not self._route.try_spend(self._request, loop.time(), cost):
            return False
        self._started += 1
        first, context = self._request, self._request.context
        self._newest_began = context.elapsed
        context.emit(HedgeStarted, self._newest_began - first.attempt.started, reason, cause)
        hedge = self._newest = Request(first.method, self._url, self._headers.copy(), first.body, context)
        # The task gets the context of the call: every path that leads here runs in it.
        task = loop.create_task(_as_coroutine(hedge, self._call_next))
        self.hedges[task] = hedge, cost
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
        elif outcome is not None:  # a bug, for example in a middleware: it ends no healthy attempt either
            self._failures.append((request, outcome))
        else:
            self._route.ended(request, complete=False)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- results -------------------------------------------------------------------------------------------------------

    def _judge(self, request: Request, outcome: Response | APIError) -> Fault | None:
        """What is wrong with an outcome, by the rules of the retry; ``None``: it answers the call."""
        fault = None
        if not isinstance(outcome, Response) or outcome.status >= 400:
            retry = request.context.settings.retry
            fault = fault_of(outcome, _NO_STATUSES if retry is None else retry.statuses)
        if fault is None:
            self._route.ended(request, complete=True)
            if not self._closed and self._winner is None:
                self._route.tokens.deposit(self._hedging.max_extra_load)
        elif not fault.rejected:
            self._route.ended(request, complete=False)
        return fault

    def _won(self, request: Request, response: Response) -> None:
        if self._winner is None and not self._closed:
            self._winner = request, response
            if self._first_is_running:
                self._route.tokens.judge(won=True)
                self._overtake.fire()

    def _failed(self, request: Request, outcome: Response | APIError, fault: Fault | None) -> None:
        """Keep a failure, and start the next attempt at once if that may help."""
        if isinstance(outcome, CallRejectedError):
            self._failures.insert(0, (request, outcome))  # the last *real* failure says more, and stands last
        else:
            self._failures.append((request, outcome))
        if (
            fault is not None
            and calls_for_next(outcome, fault)
            and self._start(fault.summary, HedgeCause.FAILED, cost_of_next(fault))
        ):
            self._begin_delay_again()

    def _begin_delay_again(self) -> None:
        """Let the delay count from now on, because an attempt has replaced a failed one."""
        first = self._request
        self._step = self._waited = self._delay
        if self._first_is_running:
            self._waited += first.context.elapsed - first.attempt.started
        # Before the first delay is over there is no handle, and its end finds that it is early.
        if self._handle is not None and self._started < self._hedging.max_hedges:
            self._handle.cancel()
            self._consider_again(self._delay)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def wait_for_winner(self) -> Response:
        """Wait for a response from the hedges still running, once the first attempt has ended without one.

        Raises:
            Exception: None of them answered; the last real failure.
        """
        while self._winner is None and self.hedges:
            self._waiter = self._timer.loop.create_future()
            await self._waiter
        if self._winner is None:
            return self._last_failure()
        winner, response = self._winner
        first = self._request
        loser, first.attempt = first.attempt, winner.attempt
        self._note_lost(loser)
        self._adopt_url(winner)
        return response

    def _last_failure(self) -> Response:
        request, outcome = self._failures[-1]
        self._adopt_url(request)
        try:
            if isinstance(outcome, Response):
                return outcome
            raise outcome
        finally:
            del outcome  # an error whose frame refers to it is freed only by the collector

    def _adopt_url(self, request: Request) -> None:
        """Let the call's request name the URL that was asked last."""
        if request.url is not self._request.url:
            self._request.url = request.url

    def close(self) -> None:
        """Start nothing more. Belongs in a ``finally``."""
        self._closed = True
        self._timer.remove(self)
        self._overtake.close()

    async def cancel_losers(self) -> None:
        """Cancel the hedges still running, and wait for their ends, however often that wait is interrupted."""
        if self._handle is not None:
            self._handle.cancel()
        self._failures.clear()
        losers = [request for request, _ in self.hedges.values()]
        for task in self.hedges:
            task.cancel()
        interrupted: asyncio.CancelledError | None = None
        while self.hedges:
            try:
                await asyncio.wait(self.hedges)
            except asyncio.CancelledError as cancellation:  # the caller's: raised below, once all have ended
                interrupted = cancellation
        for request in losers:
            self._note_lost(getattr(request, "attempt", None))
        if interrupted is not None:
            raise interrupted

    def _note_lost(self, attempt: Attempt | None) -> None:
        """Note in a cancelled attempt which one won. A hedge cancelled before it began has no attempt."""
        winner = self._request.attempt
        if attempt is not None and attempt.is_running and winner.status is not None:
            attempt.kind = ErrorKind.CANCELLED
            attempt.error = f"lost to attempt {winner.number}"
            self._request.context.emit(AttemptFinished, attempt.record())


async def _as_coroutine(request: Request, call_next: Handler) -> Response:
    """A task needs a coroutine, and a middleware may return any awaitable."""
    return await call_next(request)
