"""One attempt: counted, timed, recorded.

Per attempt, outermost, so that its time covers everything below it. Moves the call's one alarm to the end of the
attempt and back, and turns its ring into an error that knows the stage.
"""

from __future__ import annotations

import asyncio
import math

from resilient_client.core.attempts import AttemptRecord
from resilient_client.core.deadline import Alarm
from resilient_client.core.errors import APIError, APITimeoutError, CallRejectedError, DeadlineExceededError
from resilient_client.core.events import AttemptFinished, AttemptStarted
from resilient_client.core.kinds import ErrorKind, Stage
from resilient_client.core.protocols import Handler
from resilient_client.core.request import Request
from resilient_client.core.response import Response
from resilient_client.policies.classify import kind_of_status


class AttemptMiddleware:
    """Gives each attempt its number, its time limit and its record in the history."""

    __slots__ = ()

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Make one attempt."""
        context = request.context
        client = context.client
        began = client.clock()
        context.attempts += 1
        record = request.record = AttemptRecord(context.attempts, request.endpoint, began - context.started_clock)
        context.records.append(record)
        if client.events.active:
            context.emit(AttemptStarted, number=record.number, endpoint=record.endpoint)
        alarm, limit = context.alarm, context.limits.attempt
        if alarm is not None and limit is not None:
            ends_at = client.loop_time() + limit
            alarm.until(ends_at if ends_at < context.deadline else context.deadline)  # noqa: FURB136 - min() costs thrice
        try:
            response = await call_next(request)
        except asyncio.CancelledError:
            record.elapsed = client.clock() - began
            if alarm is None or not alarm.rang():
                raise
            alarm.until(context.deadline)
            failure: APIError = _timed_out(request, record, client.loop_time())
        except APIError as error:
            record.elapsed = client.clock() - began
            failure = error
        except Exception as error:  # nobody's foreseen failure, such as a bug in a middleware: seen, and let through
            record.elapsed = client.clock() - began
            record.kind, record.error = ErrorKind.UNEXPECTED, type(error).__name__
            context.emit(AttemptFinished, record=record)
            raise
        else:
            record.elapsed = client.clock() - began
            record.status = response.status
            if response.status >= 400:
                record.kind, record.stage = kind_of_status(response.status), Stage.STATUS
                record.error = f"status {response.status}"
            if client.events.active:
                context.emit(AttemptFinished, record=record)
            return response
        finally:
            if alarm is not None:
                alarm.ends_at = context.deadline
        _note(request, record, failure)
        if isinstance(failure, CallRejectedError):  # nothing was sent: no attempt
            context.attempts -= 1
            context.records.remove(record)
        context.emit(AttemptFinished, record=record)
        raise failure


class RoamingAttemptMiddleware(AttemptMiddleware):
    """For chains in which an attempt may run in another task than its call, because a middleware makes one.

    The alarm of the call cannot cancel such a task, so the attempt gets one of its own.
    """

    __slots__ = ()

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Make one attempt, in whatever task."""
        context = request.context
        of_call = context.alarm
        if of_call is None or of_call.watches(asyncio.current_task()):
            return await super().__call__(request, call_next)
        context.alarm = own = Alarm(context.client.timers, context.deadline)
        try:
            return await super().__call__(request, call_next)
        finally:
            own.close()
            context.alarm = of_call


def _timed_out(request: Request, record: AttemptRecord, now: float) -> APITimeoutError:
    stage = record.stage or Stage.LOCAL
    context = request.context
    if context.deadline - now < 0.002:  # the clock of some loops steps in milliseconds
        total = context.deadline - context.started
        return DeadlineExceededError(
            f"{request.label}: the call was not done after {total:.3g} s, stuck in stage {stage}",
            stage=stage,
            maybe_processed=record.sent,
        )
    limit = context.limits.attempt or math.inf
    waited = "no free connection in the pool" if stage is Stage.POOL else f"no complete reply, stuck in stage {stage}"
    return APITimeoutError(
        f"{request.label}: {waited} after attempt={limit:.3g} s",
        kind=None if stage is not Stage.POOL else ErrorKind.POOL,
        stage=stage,
        maybe_processed=record.sent,
        retryable=True,
    )


def _note(request: Request, record: AttemptRecord, failure: APIError) -> None:
    if record.sent:  # an earlier hop of this attempt may have been acted on
        failure.maybe_processed = True
    record.kind = failure.kind
    record.stage = failure.stage
    text = str(failure.args[0]) if failure.args else type(failure).__name__
    record.error = text.removeprefix(f"{request.label}: ")
