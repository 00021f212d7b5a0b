"""Retry: the only repeater.

Per call, around the attempts. The first attempt runs without any of tenacity, and so does the decision after it:
``_policies.retry.decision`` says whether another attempt follows, and after which delay. Only when one follows does
tenacity take over: it counts, sleeps and repeats, and asks the same policy after each attempt. Each such call gets a
fresh tenacity object, because tasks that share one mix up its state. A failure is a value here and only ``APIError`` is
ever caught, so a cancellation passes straight through.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from tenacity import AsyncRetrying, RetryCallState

from resilient_client._core.deadline import RESOLUTION, TaskTimeout
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import APIError, CallRejectedError, ConfigurationError
from resilient_client._core.events import RetryRefused, RetryScheduled
from resilient_client._core.kinds import ErrorKind
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._core.validation import parse_duration
from resilient_client._policies.balancing.balancer import Balancer
from resilient_client._policies.classify import Fault, fault_of
from resilient_client._policies.retry.backoff import backoff_delay, throttled_delay
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
            budgets: The retry budgets, one per upstream; ``None``: no budget bounds the retries.
            wall_clock: Gives the time of day in seconds, for dates in ``Retry-After``.
            rejects_for: Seconds, from the given loop time, in which attempts to the endpoint are sure to be rejected
                here; ``None``: nothing rejects them.
            balancer: Knows the endpoints, where an attempt may go to any of several. It answers in place of
                ``rejects_for``.
        """
        self._balancer = balancer
        self._rejects_for = rejects_for
        self._budgets = budgets
        self._wall_clock = wall_clock

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Make the first attempt, and more if it fails in a way in which another may succeed."""
        context = request.context
        retry = context.settings.retry
        if retry is None:
            return await call_next(request)
        tokens = None
        if self._budgets is not None:
            tokens = self._budgets.for_upstream(context.upstream, context.started)
        outcome: Response | APIError
        # perf: the first attempt gets the request itself, -1.4 % instructions per call; later ones get copies.
        request.kept_headers, request.kept_url = request.headers.copy(), request.url
        try:
            outcome = await call_next(request)
        except CallRejectedError:  # by a limit or a circuit on our side: asking again at once would change nothing
            request.headers = request.kept_headers
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
                request.headers = request.kept_headers
                outcome = await _RetriedCall(self, request, retry, tokens, call_next, outcome).run(fault)
            if isinstance(outcome, APIError):
                raise outcome
            if tokens is not None and outcome.status < 500 and outcome.status not in retry.statuses:
                tokens.deposit(context.client.loop_time())
            return outcome
        finally:
            del outcome  # an error whose frame refers to it is freed only by the collector

    def state_after(self, request: Request, outcome: Response | APIError, step: int) -> RetryState:
        """What the policy needs to know after a failed attempt."""
        context = request.context
        now = context.client.loop_time()
        requested_delay = None
        if isinstance(outcome, Response):
            requested_delay = retry_after(outcome.headers, wall_now=self._wall_clock())
        target, rejects_for, failed_alone = self._next_target(request, now)
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

    def _next_target(self, request: Request, now: float) -> tuple[Endpoint | str, float, bool]:
        """Where the next attempt would go, how long that is rejected, and whether the last one failed alone."""
        balancer, history = self._balancer, request.context.history
        if balancer is not None:
            failed_alone = bool(history) and balancer.failed_alone(history[-1].endpoint, now, history[-1].elapsed)
            return "every endpoint", balancer.rejects_for(now), failed_alone
        rejects_for = 0.0 if self._rejects_for is None else self._rejects_for(request.endpoint, now)
        return request.endpoint, rejects_for, False


class _RetriedCall:
    """A call whose first attempt has failed. Lives until the call has its outcome."""

    _is_first_run = True
    _client_closed = False

    def __init__(
        self,
        middleware: RetryMiddleware,
        request: Request,
        retry: Retry,
        tokens: RetryTokens | None,
        call_next: Handler,
        outcome: Response | APIError,
    ) -> None:
        self._middleware = middleware
        self._request = request
        self._retry = retry
        self._tokens = tokens
        self._call_next = call_next
        self._latest = outcome
        self._last_real = outcome  # the last failure of an attempt that was sent says more than a rejection after it
        self._last_url = request.url
        self._delay = 0.0
        self._paid = 0.0  # tokens for an attempt that has not started, or was rejected here
        if request.url is not request.kept_url:
            request.url = request.kept_url  # a redirect belongs to its attempt

    async def run(self, fault: Fault) -> Response | APIError:
        """The outcome of the call: that of the last attempt that was sent.

        Args:
            fault: What is wrong with the first outcome.
        """
        try:
            if self._repeats(fault, None):
                await AsyncRetrying(retry=self._goes_on, wait=self._upcoming_delay, sleep=self._pause)(self._attempt)
            return self._last_real
        finally:
            if self._paid and self._tokens is not None:
                self._tokens.refund(self._paid)  # the call ended in the pause, or in a rejection: nothing was sent
            if self._last_url is not self._request.url:
                self._request.url = self._last_url  # the call's request names the URL that was asked last
            del self._latest, self._last_real  # the frames of the attempts refer to this object

    # -- what tenacity asks ------------------------------------------------------------------------------------------

    async def _attempt(self) -> None:
        """One attempt. Its first run stands for the attempt that was made before tenacity took over.

        Its result stays in this object: a frame of tenacity's would hold an error that refers to the frame.
        """
        if self._is_first_run:
            self._is_first_run = False
            return
        if self._client_closed:
            return
        paid, self._paid = self._paid, 0.0
        request = self._request.copy()
        self._latest = await _outcome(request, self._call_next)
        if isinstance(self._latest, CallRejectedError):
            self._paid = paid
        else:
            self._last_real, self._last_url = self._latest, request.url

    def _goes_on(self, state: RetryCallState) -> bool:
        if state.outcome is not None and state.outcome.failed:
            return False  # a cancellation or a bug, which tenacity catches too: it is raised again, never repeated
        if state.attempt_number == 1:  # decided already, before tenacity took over
            return True
        if self._client_closed:
            return False
        outcome = self._latest
        if isinstance(outcome, CallRejectedError):
            self._request.context.advice = f"not retried further: {outcome.summary}"
            return False
        fault = fault_of(outcome, self._retry.statuses)
        return fault is not None and self._repeats(fault, state)

    async def _pause(self, seconds: float) -> None:
        """Sleep before the next attempt. A client that is closed meanwhile ends the call with its last real failure."""
        context = self._request.context
        pause = TaskTimeout(context.client.timer, context.deadline + 3 * RESOLUTION, context)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if not pause.uncancel():
                raise
            if pause.aborted:
                self._client_closed = True
                context.advice = "not retried: the client was closed"
        finally:
            pause.close()

    def _upcoming_delay(self, _state: RetryCallState) -> float:
        return self._delay

    # -- what the policy is asked --------------------------------------------------------------------------------------

    def _repeats(self, fault: Fault, state: RetryCallState | None) -> bool:
        """Whether another attempt follows; if so, its delay is set and its tokens are paid."""
        context, outcome = self._request.context, self._latest
        retry_state = self._middleware.state_after(self._request, outcome, 1 if state is None else state.attempt_number)
        throttled = fault.kind is ErrorKind.THROTTLED and retry_state.retry_after is None
        decision = decide(
            fault,
            retry_state,
            self._retry,
            backoff_delay=partial(self._backoff, outcome, state, throttled),
            tokens=self._tokens,
            rng=context.client.rng,
        )
        if isinstance(decision, Repeat):
            self._delay, self._paid = decision
            context.emit(RetryScheduled, context.attempts, decision.delay, fault.summary, fault.kind)
            return True
        context.advice, context.not_retried = decision.reason, decision.cause
        if decision.cause is not None:
            context.emit(RetryRefused, context.attempts, decision.reason, decision.cause)
        return False

    def _backoff(self, outcome: Response | APIError, state: RetryCallState | None, throttled: bool) -> float:
        """Seconds of backoff: by the settings, or by a callable of the user's such as a tenacity wait."""
        backoff = self._retry.backoff
        if isinstance(backoff, Backoff):
            step, rng = 1 if state is None else state.attempt_number, self._request.context.client.rng
            drawn = backoff_delay(backoff, step, self._delay, rng)
            return max(drawn, throttled_delay(self._retry, backoff, step, rng)) if throttled else drawn
        state = RetryCallState(AsyncRetrying(), None, (), {}) if state is None else state
        state.set_result(outcome)
        seconds: object = backoff(state)
        delay = None if isinstance(seconds, str) else parse_duration(seconds)  # a tenacity wait gives no text
        if delay is None or delay < 0:
            raise ConfigurationError(f"the backoff of Retry gave {seconds!r}; it must give seconds, 0 or more")
        return delay


async def _outcome(request: Request, call_next: Handler) -> Response | APIError:
    """One attempt; a failure is a value here, so that no frame that it refers to holds it."""
    try:
        return await call_next(request)
    except APIError as error:
        return error
