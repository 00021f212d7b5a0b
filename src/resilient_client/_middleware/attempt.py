"""One attempt: counted, timed, recorded.

Per attempt, outermost, so that its time covers everything below it. Its alarm rings at the end of the attempt or of
the call, whichever comes first, and its ring becomes an error that knows the stage. Between attempts there are only
pauses, and none is begun that the deadline would cut: so the attempts' alarms alone hold the deadline of the call.
"""

from __future__ import annotations

import asyncio
import math

from resilient_client._core.deadline import RESOLUTION, TaskTimeout
from resilient_client._core.errors import APIError, APITimeoutError, CallRejectedError, DeadlineExceededError
from resilient_client._core.events import AttemptFinished, AttemptStarted
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.protocols import Handler
from resilient_client._core.record import AttemptRecord
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.classify import kind_of_status


class AttemptMiddleware:
    """Gives each attempt its number, its time limit and its record in the history."""

    __slots__ = ()

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Make one attempt."""
        context = request.context
        client = context.client
        now = client.loop_time()
        limit = context.limits.attempt
        ends_at = context.deadline if limit is None or context.deadline - now < limit else now + limit
        if ends_at - now < RESOLUTION:
            raise deadline_exceeded(request)
        began = client.clock()
        context.attempts += 1
        records = context.records
        number = records[-1].number + 1 if records else 1
        record = request.record = AttemptRecord(number, request.endpoint, began - context.started_clock)
        records.append(record)
        if client.events.active:
            context.emit(AttemptStarted, number=record.number, endpoint=record.endpoint)
        timeout = record.timeout = TaskTimeout(client.timer, ends_at)
        try:
            response = await call_next(request)
        except asyncio.CancelledError:
            record.elapsed = client.clock() - began
            if not timeout.uncancel():
                raise
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
            timeout.close()
            record.timeout = None
        _note(request, record, failure)
        if isinstance(failure, CallRejectedError):  # nothing was sent: no attempt
            context.attempts -= 1
            context.records.remove(record)
        context.emit(AttemptFinished, record=record)
        raise failure


def deadline_exceeded(request: Request) -> DeadlineExceededError:
    """The error for a call whose time was over before this attempt."""
    context = request.context
    given = context.deadline - context.started
    over = "had passed before the call began" if given < RESOLUTION else f"of {given:.3g} s passed between two attempts"
    return DeadlineExceededError(f"the deadline {over}; nothing was sent", stage=Stage.LOCAL, label=request.label)


def _timed_out(request: Request, record: AttemptRecord, now: float) -> APITimeoutError:
    stage = record.stage or Stage.LOCAL
    context = request.context
    if context.deadline - now < 0.002:  # the clock of some loops steps in milliseconds
        total = context.deadline - context.started
        return DeadlineExceededError(
            f"the call was not done after {total:.3g} s, stuck in stage {stage}",
            stage=stage,
            maybe_processed=record.sent,
            label=request.label,
        )
    limit = context.limits.attempt or math.inf
    waited = "no free connection in the pool" if stage is Stage.POOL else f"no complete reply, stuck in stage {stage}"
    return APITimeoutError(
        f"{waited} after attempt={limit:.3g} s",
        kind=None if stage is not Stage.POOL else ErrorKind.POOL,
        stage=stage,
        maybe_processed=record.sent,
        retryable=True,
        label=request.label,
    )


def _note(request: Request, record: AttemptRecord, failure: APIError) -> None:
    if record.sent:  # an earlier hop of this attempt may have been acted on
        failure.maybe_processed = True
    record.kind = failure.kind
    record.stage = failure.stage
    record.error = failure.summary
