"""Retry: the only repeater. The first attempt runs bare, and so does all that is decided of it.

Per call, around the attempts. Whether and when is decided by ``_policies.retry.decision``; only where it says that
another attempt follows is tenacity engaged, which counts, pauses and repeats. Its object is made afresh for each
such call: shared between tasks, it would mix them up. What it asks of us is answered without awaiting, and only
``APIError`` is ever caught, so a cancellation goes straight through.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from tenacity import AsyncRetrying, DoAttempt, DoSleep, RetryCallState
from yarl import URL

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import APIError, CallRejectedError, ConfigurationError
from resilient_client._core.events import RetryRefused, RetryScheduled
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.balancing.balancer import Balancer
from resilient_client._policies.classify import Fault, fault_of
from resilient_client._policies.retry.backoff import backoff_delay
from resilient_client._policies.retry.budget import RetryBudgets, RetryTokens
from resilient_client._policies.retry.decision import Repeat, RetryState, decide
from resilient_client._policies.retry.retry_after import retry_after
from resilient_client._settings.retry import Backoff, Retry


class RetryMiddleware:
    """Repeats failed attempts as the call's settings say, within the budget of its upstream."""

    __slots__ = ("_balancer", "_budgets", "_rejects_for", "_wall_clock")

    def __init__(
        self,
        budgets: RetryBudgets[Endpoint] | None,
        wall_clock: Callable[[], float] = time.time,
        rejects_for: Callable[[Endpoint, float], float] | None = None,
        balancer: Balancer | None = None,
    ) -> None:
        """Serve any number of calls.

        Args:
            budgets: The retry budgets, one an upstream; ``None``: retries are not bounded by one.
            wall_clock: Gives the time of day in seconds, for dates in ``Retry-After``.
            rejects_for: Seconds, from the given loop time, in which attempts to the endpoint are sure to be refused
                here; ``None``: nobody refuses.
            balancer: Knows the endpoints, where any of several may get an attempt; it answers in place of
                ``rejects_for``.
        """
        self._balancer = balancer
        self._rejects_for = rejects_for
        self._budgets = budgets
        self._wall_clock = wall_clock

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Make the first attempt, and more if it fails in a way that another may heal."""
        context = request.context
        retry = context.retry
        if retry is None:
            return await call_next(request)
        tokens = None
        if self._budgets is not None:
            tokens = self._budgets.for_upstream(context.upstream, context.started)
        outcome: Response | APIError
        untouched = request.headers.copy()  # the first attempt gets the request itself: a copy is for the second
        url = request.url
        try:
            outcome = await call_next(request)
        except CallRejectedError:  # by a limit or a circuit of ours: to ask again at once would change nothing
            request.headers = untouched
            raise
        except APIError as error:
            outcome = error
        else:
            if outcome.status < 400:
                if tokens is not None and not tokens.full:
                    tokens.deposit(context.client.loop_time())
                return outcome
        try:
            fault = fault_of(outcome, retry.statuses)
            if fault is not None:
                request.headers = untouched
                outcome = await _followed(_Case(self, request, retry, tokens), call_next, fault, outcome, url)
            if isinstance(outcome, APIError):
                raise outcome
            if tokens is not None and outcome.status < 500 and outcome.status not in retry.statuses:
                tokens.deposit(context.client.loop_time())
            return outcome
        finally:
            del outcome  # an error that knows a frame that knows the error is only freed by the collector


async def _followed(
    case: _Case, call_next: Handler, fault: Fault, outcome: Response | APIError, url: URL
) -> Response | APIError:
    """The outcome of a call whose first attempt has failed: that very one, or that of the last attempt after it."""
    request = case.request
    sent_to = request.url
    if sent_to is not url:
        request.url = url  # a redirect belongs to its attempt
    try:
        if case.goes_on(fault, outcome):
            outcome, sent_to = await _Repeats(case, call_next, outcome, sent_to).run()
        if sent_to is not request.url:
            request.url = sent_to  # what is said of the call names whom it asked last
        return outcome
    finally:
        del outcome  # as above


class _Case:
    """A call that has failed: it is put before the policy after each failure, and remembers the answer.

    Attributes:
        request: What each further attempt gets a copy of.
        statuses: The reply statuses that are failures.
        delay: Seconds to pause before the next attempt, or before the last one.
        paid: Tokens spent on an attempt that has not started, or was refused here.
    """

    __slots__ = ("_middleware", "_retry", "_tokens", "delay", "paid", "request", "statuses")

    def __init__(self, middleware: RetryMiddleware, request: Request, retry: Retry, tokens: RetryTokens | None) -> None:
        self._middleware = middleware
        self._retry = retry
        self._tokens = tokens
        self.request = request
        self.statuses = retry.statuses
        self.delay = 0.0
        self.paid = 0.0

    def goes_on(self, fault: Fault, outcome: Response | APIError, state: RetryCallState | None = None) -> bool:
        """Whether another attempt follows; if so, ``delay`` and ``paid`` are set.

        Args:
            fault: What is wrong with the outcome.
            outcome: Of the attempt just made.
            state: Tenacity's; ``None`` after the first attempt.
        """
        context = self.request.context
        decision = decide(
            fault,
            self._retry_state(outcome, 1 if state is None else state.attempt_number),
            self._retry,
            backoff_delay=partial(self._pause, outcome, state),
            tokens=self._tokens,
            rng=context.client.rng,
        )
        if isinstance(decision, Repeat):
            self.delay, self.paid = decision
            context.emit(RetryScheduled, number=context.attempts, delay=decision.delay, reason=fault.summary)
            return True
        context.advice = decision.reason
        if decision.reason:
            context.emit(RetryRefused, number=context.attempts, reason=decision.reason)
        return False

    def settle(self) -> None:
        """Give back what was paid, if the call ended in the pause, or in a refusal: no attempt, no price."""
        if self.paid and self._tokens is not None:
            self._tokens.refund(self.paid)

    def _retry_state(self, outcome: Response | APIError, step: int) -> RetryState:
        request = self.request
        context = request.context
        middleware, now = self._middleware, context.client.loop_time()
        requested_delay = None
        if isinstance(outcome, Response):
            requested_delay = retry_after(outcome.headers, wall_now=middleware._wall_clock())
        target, rejects_for, failed_alone = self._target(now)
        return RetryState(
            step=step,
            now=now,
            deadline=context.deadline,
            method=request.method,
            idempotent=context.idempotent,
            sendable=request.body is None or request.body.sendable,
            retry_after=requested_delay,
            target=target,
            rejects_for=rejects_for,
            failed_alone=failed_alone,
        )

    def _target(self, now: float) -> tuple[Endpoint | str, float, bool]:
        """Whom the next attempt would go to, how long that is barred, and whether the last one failed alone."""
        request, middleware = self.request, self._middleware
        balancer, records = middleware._balancer, request.context.records
        if balancer is not None:
            alone = bool(records) and balancer.failed_alone(records[-1].endpoint, now, records[-1].elapsed)
            return "every endpoint", balancer.rejects_for(now), alone
        rejects_for = 0.0 if middleware._rejects_for is None else middleware._rejects_for(request.endpoint, now)
        return request.endpoint, rejects_for, False

    def _pause(self, outcome: Response | APIError, state: RetryCallState | None) -> float:
        backoff = self._retry.backoff
        if isinstance(backoff, Backoff):
            step = 1 if state is None else state.attempt_number
            return backoff_delay(backoff, step, self.delay, self.request.context.client.rng)
        state = _first_state() if state is None else state
        state.set_result(outcome)
        seconds = backoff(state)
        if not isinstance(seconds, (int, float)) or not seconds >= 0:
            raise ConfigurationError(f"the backoff of Retry gave {seconds!r}; it must give seconds, 0 or more")
        return float(seconds)


def _first_state() -> RetryCallState:
    """What a tenacity wait is shown after the first attempt, when there is nothing of tenacity yet."""
    return RetryCallState(AsyncRetrying(), None, (), {})


class _Repeats(AsyncRetrying):
    """What follows the first failure of one call: tenacity's loop, told by the policy what comes next."""

    def __init__(self, case: _Case, call_next: Handler, first: Response | APIError, sent_to: URL) -> None:
        super().__init__(sleep=asyncio.sleep, reraise=True)
        self._case = case
        self._call_next = call_next
        self._latest = first
        self._last = first  # the last *real* failure tells more than a refusal after it
        self._sent_to = sent_to
        self._refused = ""  # by what name the refused attempt is called in its error

    async def run(self) -> tuple[Response | APIError, URL]:
        """The outcome of the last attempt, and where that went."""
        try:
            await self(self._next)
            return self._last, self._sent_to
        finally:
            self._case.settle()
            del self._latest, self._last  # as above: the frames of the attempts know this object

    async def iter(self, retry_state: RetryCallState) -> DoAttempt | DoSleep | None:
        """What comes next: tenacity asks before and after each attempt.

        It stands in for tenacity's own, which asks for ``retry``, ``wait`` and ``stop`` one by one: here all three have
        one answer, and asking takes five times as long as all the rest of a repeat.
        """
        if retry_state.attempt_number > 1:
            if retry_state.outcome is None:
                return DoAttempt()
            retry_state.outcome.result()  # a cancellation or a foreign exception: goes straight through
            if not self._goes_on(retry_state):
                return None
        # else the first attempt has failed already, and it is decided what follows
        delay = self._case.delay
        retry_state.upcoming_sleep = delay
        retry_state.idle_for += delay
        return DoSleep(delay)

    def _goes_on(self, state: RetryCallState) -> bool:
        case, outcome = self._case, self._latest
        if isinstance(outcome, CallRejectedError):
            case.request.context.advice = f"not retried further: {self._bare(outcome)}"
            return False
        fault = fault_of(outcome, case.statuses)
        return fault is not None and case.goes_on(fault, outcome, state)

    async def _next(self) -> None:
        """One attempt; tenacity hears only that it was made, for its frame would hold an error that knows the frame."""
        case = self._case
        price, case.paid = case.paid, 0.0
        attempt = case.request.copy()
        self._latest = await _attempt(attempt, self._call_next)
        if isinstance(self._latest, CallRejectedError):
            case.paid = price
            self._refused = attempt.label
        else:
            self._last, self._sent_to = self._latest, attempt.url

    def _bare(self, refusal: CallRejectedError) -> str:
        """Why an attempt was refused, fit to stand in the error of one that was sent."""
        return str(refusal.args[0]).removeprefix(f"{self._refused}: ").removesuffix("; nothing was sent")


async def _attempt(request: Request, call_next: Handler) -> Response | APIError:
    """One attempt; a failure is a value here, so that no frame it knows holds it."""
    try:
        return await call_next(request)
    except APIError as error:
        return error
