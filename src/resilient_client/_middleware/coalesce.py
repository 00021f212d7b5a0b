"""Coalescing: one flight for all equal calls that run at the same time.

Per call, around the retries and inside the caller's middlewares; only in the chain of calls that coalesce. The flight
is a task of its own, with a context of its own, so no caller's cancellation, deadline or context variable reaches it.
Each caller waits under its own deadline and gets its own copy of the response or the error. No response is kept: a call
that comes after the flight has finished starts the next one.
"""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Hashable
from typing import TypeVar

from resilient_client._core.attempt import Attempt
from resilient_client._core.context import CallContext
from resilient_client._core.deadline import RESOLUTION, TaskTimeout
from resilient_client._core.errors import CallCancelledError, DeadlineExceededError
from resilient_client._core.events import CallCoalesced
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._core.single_flight import Flight
from resilient_client._policies.http.coalescing_key import flight_key
from resilient_client._settings.timeout import TimeLimits

T = TypeVar("T", Response, Attempt)


class CoalesceMiddleware:
    """Lets a call join the flight of an equal one; see ``_policies.http.coalescing_key``."""

    __slots__ = ("_flights",)

    def __init__(self) -> None:
        self._flights: dict[Hashable, _SharedFlight] = {}

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Wait for the flight under way, or for a new one."""
        shared = self._join(request, call_next)
        return await (call_next(request) if shared is None else shared.serve(request))

    def _join(self, request: Request, call_next: Handler) -> _SharedFlight | None:
        """The flight under way, or a new one. ``None``: this call shares none.

        The key holds the headers, so it must not be in a frame that waits.
        """
        context = request.context
        now = context.client.loop_time()
        key = flight_key(request)
        if key is None or context.deadline - now < RESOLUTION:
            return None
        shared = self._flights.get(key)
        if shared is not None and shared.joinable(now):
            shared.prolong(context)
            context.emit(CallCoalesced, shared.flight.waiters + 1, shared.call_id)
        else:
            shared = self._flights[key] = _SharedFlight(request, call_next)
            shared.flight.task.add_done_callback(lambda _: self._finished(key, shared))
        return shared

    def _finished(self, key: Hashable, shared: _SharedFlight) -> None:
        if self._flights.get(key) is shared:  # a later flight may have taken its place
            del self._flights[key]


class _SharedFlight:
    """A flight, and the context it has in place of its callers'."""

    __slots__ = ("_context", "_request", "flight")

    def __init__(self, request: Request, call_next: Handler) -> None:
        first = request.context
        limits = _clipped(first.settings.limits, _or_infinity(first.settings.limits.total))
        context = self._context = CallContext(
            first.call, first.client, first.settings.with_limits(limits), first.client.loop_time(), first.deadline
        )
        context.upstream, context.idempotency_key = first.upstream, first.idempotency_key
        context.call_id = first.call_id
        headers = request.headers.copy()
        own = self._request = Request(request.method, request.url, headers, None, context, None, request.endpoint)

        async def fly() -> Response:
            return await call_next(own)

        self.flight = Flight(fly())

    @property
    def call_id(self) -> str:
        """The id of the call that began the flight."""
        return self._context.call_id

    def joinable(self, now: float) -> bool:
        """Whether a call that comes now may still share its outcome."""
        return self.flight.joinable and self._context.deadline - now >= RESOLUTION

    def prolong(self, caller: CallContext) -> None:
        """Give the flight as much time as this caller has, if that is more; running attempts too."""
        flight, limits = self._context, self._context.settings.limits
        flight.deadline = max(flight.deadline, caller.deadline)
        totals = _or_infinity(limits.total), _or_infinity(caller.settings.limits.total)
        limits = _clipped(limits, max(*totals, flight.deadline - flight.started))
        flight.settings = flight.settings.with_limits(limits)
        for attempt in flight.history:
            if attempt.timeout is not None:
                began = flight.started + attempt.started
                attempt.timeout.postpone(min(flight.deadline, began + _or_infinity(limits.attempt)))

    async def serve(self, request: Request) -> Response:
        """Wait for the outcome, under the deadline of this caller, and return or raise a copy of it."""
        context = request.context
        # A moment later than the flight's own timeout, whose error knows the stage and blames the right side.
        timeout = TaskTimeout(context.client.timer, context.deadline + 2 * RESOLUTION, context)
        timeout.abortable = False  # when the client is closed, the flight ends, and its error says more
        late = False
        try:
            await self.flight.wait()
        except asyncio.CancelledError:
            if not timeout.uncancel():
                raise
            late = not self.flight.task.done() or self.flight.task.cancelled()
        finally:
            timeout.close()
            self._copy_progress_to(request)
        task = self.flight.task
        if late:
            raise _left_early(request)
        if task.cancelled():
            raise CallCancelledError("the flight that this call shared was cancelled from within", label=request.label)
        error = task.exception()
        if error is None:
            return _shallow_copy(task.result())
        if isinstance(error, DeadlineExceededError):
            # Raised anew, with the start and the timeout of this very call.
            raise _deadline_exceeded(request, error.stage, f"stuck in stage {error.stage}")
        raise _copy_of_error(error)

    def _copy_progress_to(self, request: Request) -> None:
        """Copy the attempts of the flight so far into the caller's context, and the URL asked last into its request."""
        caller, flight = request.context, self._context
        request.place(self._request.url, self._request.endpoint)
        shift = flight.started_clock - caller.started_clock
        for attempt in flight.history:
            copied = _shallow_copy(attempt)
            copied.started += shift
            if copied.is_running and not self.flight.task.done():
                # The caller leaves now, and nobody knows yet what becomes of it: the server may have acted.
                copied.sent, copied.stage = True, Stage.SEND
                copied.elapsed = caller.elapsed - copied.started
            caller.history.append(copied)
        caller.advice = flight.advice
        caller.not_retried = flight.not_retried


def _clipped(limits: TimeLimits, total: float) -> TimeLimits:
    """Limits clipped to ``total`` again: one caller's total may have clipped them, and another has more time."""
    if not limits.unclipped:
        return limits
    attempt, connect, idle = limits.unclipped
    return TimeLimits(_or_none(total), _or_none(min(_or_infinity(attempt), total)), connect, idle, limits.unclipped)


def _left_early(request: Request) -> DeadlineExceededError:
    """The error of a caller whose time was up before that of the flight."""
    history = request.context.history
    stage = None
    if history and history[-1].is_running:
        stage = history[-1].stage
        history[-1].kind, history[-1].error = ErrorKind.DEADLINE, "the time of the call was over"
    return _deadline_exceeded(request, stage or Stage.LOCAL, "and left the flight that it shared")


def _deadline_exceeded(request: Request, stage: Stage, where: str) -> DeadlineExceededError:
    total = request.context.deadline - request.context.started
    return DeadlineExceededError(
        f"the call was not done after {total:.3g} s, {where}", stage=stage, label=request.label
    )


def _shallow_copy(original: T) -> T:
    """A copy that shares its parts, none of which is changed. ``copy.copy`` would go through pickling."""
    copied = object.__new__(type(original))
    copied.__dict__.update(original.__dict__)
    return copied


def _copy_of_error(error: BaseException) -> BaseException:
    """A copy for one caller: an exception changes whenever it is raised or gets a note."""
    try:
        copied = copy.copy(error)
    except Exception:
        return error  # of a foreign class that cannot be built a second time
    if type(copied) is not type(error):
        return error
    if notes := getattr(error, "__notes__", None):
        copied.__notes__ = list(notes)
    if isinstance(response := getattr(copied, "response", None), Response):
        copied.response = _shallow_copy(response)  # type: ignore[attr-defined]  # it was read from there
    copied.__cause__, copied.__context__ = error.__cause__, error.__context__
    copied.__suppress_context__ = error.__suppress_context__
    return copied.with_traceback(error.__traceback__)


def _or_infinity(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


def _or_none(seconds: float) -> float | None:
    return None if seconds == math.inf else seconds
