"""One flight for all who ask the same at the same time.

Per call, around the retries and inside the caller's middlewares; only in the chain of calls that coalesce. The flight
is a task of its own, with a context of its own: no caller's cancellation, deadline or context variable reaches it.
Each caller waits under its own deadline, and gets a reply or an error of its own. It keeps no answer: whoever comes
when the flight has landed starts the next.
"""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Hashable
from typing import TypeVar

from resilient_client._core.deadline import RESOLUTION, TaskTimeout
from resilient_client._core.errors import CallCancelledError, DeadlineExceededError
from resilient_client._core.events import CallCoalesced
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.protocols import Handler
from resilient_client._core.record import AttemptRecord
from resilient_client._core.request import CallContext, Request
from resilient_client._core.response import Response
from resilient_client._core.single_flight import Flight
from resilient_client._policies.http.coalescing_key import flight_key
from resilient_client._settings.timeout import TimeLimits

T = TypeVar("T", Response, AttemptRecord)


class CoalesceMiddleware:
    """Lets a call join the flight of one that is alike, see ``_policies.http.coalescing_key``."""

    __slots__ = ("_flights",)

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Shared] = {}

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Wait for the flight under way, or for a new one."""
        context = request.context
        now = context.client.loop_time()
        key = flight_key(request)
        if key is None or context.deadline - now < RESOLUTION:
            return await call_next(request)
        shared = self._flights.get(key)
        if shared is not None and shared.joinable(now):
            shared.prolong(context)
            context.emit(CallCoalesced, waiters=shared.flight.waiters + 1)
        else:
            shared = self._flights[key] = _Shared(request, call_next)
            shared.flight.task.add_done_callback(lambda _: self._finished(key, shared))
        return await shared.serve(request)

    def _finished(self, key: Hashable, shared: _Shared) -> None:
        if self._flights.get(key) is shared:
            del self._flights[key]


class _Shared:
    """A flight, and the context it has in place of its callers'."""

    __slots__ = ("_context", "_request", "flight")

    def __init__(self, request: Request, call_next: Handler) -> None:
        first = request.context
        context = self._context = CallContext(
            first.call,
            first.client,
            _of_flight(first.limits, _or_inf(first.limits.total)),
            first.retry,
            first.upstream,
            first.client.loop_time(),
            first.deadline,
            first.idempotency_key,
        )
        context.priority, context.hedging = first.priority, first.hedging
        flight_request = self._request = Request(
            request.method, request.url, request.headers.copy(), None, context, None, request.endpoint
        )

        async def fly() -> Response:
            return await call_next(flight_request)

        self.flight = Flight(fly())

    def joinable(self, now: float) -> bool:
        """Whether a call that comes now may still have its outcome."""
        return self.flight.joinable and self._context.deadline - now >= RESOLUTION

    def prolong(self, context: CallContext) -> None:
        """Give the flight as much time as this caller has, if that is more; attempts under way, too."""
        mine = self._context
        mine.deadline = max(mine.deadline, context.deadline)
        total = max(_or_inf(mine.limits.total), _or_inf(context.limits.total), mine.deadline - mine.started)
        mine.limits = _of_flight(mine.limits, total)
        for record in mine.records:
            if record.timeout is not None:
                began = mine.started + record.started
                record.timeout.postpone(min(mine.deadline, began + _or_inf(mine.limits.attempt)))

    async def serve(self, request: Request) -> Response:
        """Wait for the outcome, under the deadline of this caller, and give it a copy of its own."""
        context = request.context
        # A moment behind that of the flight, whose own error knows more and blames who is to blame.
        timeout = TaskTimeout(context.client.timer, context.deadline + 2 * RESOLUTION)
        late = False
        try:
            await self.flight.wait()
        except asyncio.CancelledError:
            if not timeout.uncancel():
                raise
            late = not self.flight.task.done() or self.flight.task.cancelled()
        finally:
            timeout.close()
            self._tell(request)
        task = self.flight.task
        if late:
            raise _left(request)
        if task.cancelled():
            raise CallCancelledError("the flight that this call shared was cancelled from within", label=request.label)
        error = task.exception()
        if error is None:
            return _copy_of(task.result())
        if isinstance(error, DeadlineExceededError):
            # With the start and the timeout of this very call.
            raise _late(request, error.stage, f"stuck in stage {error.stage}")
        raise _own_error(error)

    def _tell(self, request: Request) -> None:
        """Put what became of the flight so far into the caller's context, and whom it asked last into its request."""
        context, mine = request.context, self._context
        request.place(self._request.url, self._request.endpoint)
        shift = mine.started_clock - context.started_clock
        for known in mine.records:
            record = _copy_of(known)
            record.started += shift
            if _under_way(record) and not self.flight.task.done():
                record.sent, record.stage = True, Stage.SEND  # for all that can be told before its end
                record.elapsed = context.client.clock() - context.started_clock - record.started
            context.records.append(record)
        context.attempts += mine.attempts
        context.advice = mine.advice


def _of_flight(limits: TimeLimits, total: float) -> TimeLimits:
    """Limits clipped to ``total`` anew: that of one caller may have clipped them, and another has more time."""
    if not limits.unclipped:
        return limits
    attempt, connect, idle = limits.unclipped
    return TimeLimits(_or_none(total), _or_none(min(_or_inf(attempt), total)), connect, idle, limits.unclipped)


def _under_way(record: AttemptRecord) -> bool:
    return record.status is None and record.kind is None


def _left(request: Request) -> DeadlineExceededError:
    """The error of a caller whose time was over before that of the flight."""
    last = request.context.records[-1] if request.context.records else None
    stage = None
    if last is not None and _under_way(last):
        stage = last.stage
        last.kind, last.error = ErrorKind.DEADLINE, "the time of the call was over"
    return _late(request, stage or Stage.LOCAL, "and left the flight that it shared")


def _late(request: Request, stage: Stage, how: str) -> DeadlineExceededError:
    given = request.context.deadline - request.context.started
    return DeadlineExceededError(f"the call was not done after {given:.3g} s, {how}", stage=stage, label=request.label)


def _copy_of(thing: T) -> T:
    """A copy with the same parts, none of which anybody changes; quicker than ``copy``, and without its pickling."""
    twin = object.__new__(type(thing))
    twin.__dict__.update(thing.__dict__)
    return twin


def _own_error(error: BaseException) -> BaseException:
    """A copy for one caller: exceptions are changed by everybody who raises or notes them."""
    try:
        flight_request = copy.copy(error)
    except Exception:
        return error  # a foreign one that cannot be made a second time
    if type(flight_request) is not type(error):
        return error
    if notes := getattr(error, "__notes__", None):
        flight_request.__notes__ = list(notes)
    if isinstance(response := getattr(flight_request, "response", None), Response):
        flight_request.response = _copy_of(response)  # type: ignore[attr-defined]  # it has one
    flight_request.__cause__, flight_request.__context__ = error.__cause__, error.__context__
    flight_request.__suppress_context__ = error.__suppress_context__
    return flight_request.with_traceback(error.__traceback__)


def _or_inf(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


def _or_none(seconds: float) -> float | None:
    return None if seconds == math.inf else seconds
