"""Retry: the only repeater. The first attempt runs bare; tenacity is engaged from the first failure on.

Per call, around the attempts. Whether and when is decided by ``policies.retry``; tenacity runs the loop and the
sleeps. Its object is made afresh for each call that failed once: shared between tasks, it would mix them up. All
callbacks given to it are synchronous, and only ``Exception`` is ever caught, so a cancellation goes straight through.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tenacity import AsyncRetrying, RetryCallState
from yarl import URL

from resilient_client.core.endpoint import Endpoint
from resilient_client.core.errors import APIError, CallRejectedError, ConfigurationError
from resilient_client.core.events import RetryRefused, RetryScheduled
from resilient_client.core.protocols import Handler
from resilient_client.core.request import Request
from resilient_client.core.response import Response
from resilient_client.policies.backoff import pause
from resilient_client.policies.balancer import Balancer
from resilient_client.policies.classify import Fault, fault_of
from resilient_client.policies.retry import Again, Enough, Situation, decide
from resilient_client.policies.retry_after import retry_after
from resilient_client.policies.retry_budget import RetryBudgets, RetryTokens
from resilient_client.settings.retry import Backoff, Retry


class RetryMiddleware:
    """Repeats failed attempts as the call's settings say, within the budget of its upstream."""

    __slots__ = ("_balancer", "_barred_for", "_budgets", "_wall_clock")

    def __init__(
        self,
        budgets: RetryBudgets[Endpoint] | None,
        wall_clock: Callable[[], float] = time.time,
        barred_for: Callable[[Endpoint, float], float] | None = None,
        balancer: Balancer | None = None,
    ) -> None:
        """Serve any number of calls.

        Args:
            budgets: The retry budgets, one an upstream; ``None``: retries are not bounded by one.
            wall_clock: Gives the time of day in seconds, for dates in ``Retry-After``.
            barred_for: Seconds, from the given loop time, in which attempts to the endpoint are sure to be refused
                here; ``None``: nobody refuses.
            balancer: Knows the endpoints, where any of several may get an attempt; it answers in place of
                ``barred_for``.
        """
        self._balancer = balancer
        self._barred_for = barred_for
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
        except APIError as error:
            outcome = error
        else:
            if outcome.status < 400:
                if tokens is not None and not tokens.full:
                    tokens.deposit(context.client.loop_time())
                return outcome
        try:
            if fault_of(outcome, retry.statuses) is not None:
                request.headers = untouched
                sent_to = request.url
                if sent_to is not url:
                    request.url = url
                repeats = _Repeats(self, request, call_next, retry, tokens, outcome, sent_to)
                outcome = await repeats.run()
                if repeats.sent_to is not request.url:
                    request.url = repeats.sent_to  # what is said of the call names whom it asked last
            if isinstance(outcome, APIError):
                raise outcome
            if tokens is not None and outcome.status < 500 and outcome.status not in retry.statuses:
                tokens.deposit(context.client.loop_time())
            return outcome
        finally:
            del outcome  # an error that knows a frame that knows the error is only freed by the collector


async def _attempt(request: Request, call_next: Handler) -> Response | APIError:
    """One attempt; a failure is a value here."""
    try:
        return await call_next(request)
    except APIError as error:
        return error


class _Repeats:
    """What follows the first failure of one call: tenacity's loop around our decisions."""

    __slots__ = (
        "_call_next", "_delay", "_last", "_middleware", "_paid", "_refused", "_request", "_retry", "_tokens",
        "_untouched", "sent_to",
    )  # fmt: skip  # one name a line says no more

    def __init__(
        self,
        middleware: RetryMiddleware,
        request: Request,
        call_next: Handler,
        retry: Retry,
        tokens: RetryTokens | None,
        first: Response | APIError,
        sent_to: URL,
    ) -> None:
        self._middleware = middleware
        self._request = request
        self._call_next = call_next
        self._retry = retry
        self._tokens = tokens
        self._last = first
        self.sent_to = sent_to
        self._refused = ""  # by what name the refused attempt is called in its error
        self._untouched = True
        self._delay = 0.0
        self._paid = 0.0  # tokens spent on an attempt that has not started, or was refused here

    async def run(self) -> Response | APIError:
        """The outcome of the last attempt."""
        retrying = AsyncRetrying(sleep=asyncio.sleep, retry=self._again, wait=lambda _: self._delay, reraise=True)
        try:
            await retrying(self._next)
        finally:
            if (
                self._paid and self._tokens is not None
            ):  # the call ended in the pause, or in a refusal: no attempt, no price
                self._tokens.give_back(self._paid)
        return self._last

    async def _next(self) -> Response | APIError:
        if self._untouched:
            self._untouched = False
            return self._last  # tenacity's first attempt is the one that has failed already
        price, self._paid = self._paid, 0.0
        attempt = self._request.copy()
        outcome = await _attempt(attempt, self._call_next)
        if isinstance(outcome, CallRejectedError):
            self._paid = price
            self._refused = attempt.label
        else:
            self._last, self.sent_to = outcome, attempt.url  # the last *real* failure tells more
        return outcome

    def _again(self, state: RetryCallState) -> bool:
        """Tenacity's question after each attempt, answered by the policy."""
        if state.outcome is None or state.outcome.failed:
            return False  # a cancellation or a foreign exception: goes straight through
        outcome = state.outcome.result()
        fault = fault_of(outcome, self._retry.statuses)
        if fault is None:
            return False
        if isinstance(outcome, CallRejectedError) and outcome is not self._last:
            self._request.context.advice = f"not retried further: {self._bare(outcome)}"
            return False
        decision = decide(
            fault,
            self._situation(outcome, state.attempt_number),
            self._retry,
            pause=lambda: self._pause(state),
            tokens=self._tokens,
            rng=self._request.context.client.rng,
        )
        self._announce(fault, decision)
        if isinstance(decision, Again):
            self._delay, self._paid = decision
            return True
        self._request.context.advice = decision.reason
        return False

    def _bare(self, refusal: CallRejectedError) -> str:
        """Why an attempt was refused, fit to stand in the error of one that was sent."""
        return str(refusal.args[0]).removeprefix(f"{self._refused}: ").removesuffix("; nothing was sent")

    def _situation(self, outcome: Response | APIError, step: int) -> Situation:
        request = self._request
        context = request.context
        middleware, now = self._middleware, context.client.loop_time()
        wish = None
        if isinstance(outcome, Response):
            wish = retry_after(outcome.headers, wall_now=middleware._wall_clock())
        target, barred_for, singled_out = self._target(now)
        return Situation(
            step=step,
            now=now,
            deadline=context.deadline,
            method=request.method,
            idempotent=context.idempotent,
            sendable=request.body is None or request.body.sendable,
            retry_after=wish,
            target=target,
            barred_for=barred_for,
            singled_out=singled_out,
        )

    def _target(self, now: float) -> tuple[Endpoint | str, float, bool]:
        """Whom the next attempt would go to, how long that is barred, and whether the last one failed alone."""
        request, middleware = self._request, self._middleware
        balancer, records = middleware._balancer, request.context.records
        if balancer is not None:
            alone = bool(records) and balancer.singled_out(records[-1].endpoint, now, records[-1].elapsed)
            return "every endpoint", balancer.barred_for(now), alone
        barred_for = 0.0 if middleware._barred_for is None else middleware._barred_for(request.endpoint, now)
        return request.endpoint, barred_for, False

    def _pause(self, state: RetryCallState) -> float:
        backoff = self._retry.backoff
        if isinstance(backoff, Backoff):
            return pause(backoff, state.attempt_number, self._delay, self._request.context.client.rng)
        seconds = backoff(state)
        if not isinstance(seconds, (int, float)) or not seconds >= 0:
            raise ConfigurationError(f"the backoff of Retry gave {seconds!r}; it must give seconds, 0 or more")
        return float(seconds)

    def _announce(self, fault: Fault, decision: Again | Enough) -> None:
        context = self._request.context
        if isinstance(decision, Again):
            context.emit(RetryScheduled, number=context.attempts, delay=decision.delay, reason=fault.summary)
        elif decision.reason:
            context.emit(RetryRefused, number=context.attempts, reason=decision.reason)
