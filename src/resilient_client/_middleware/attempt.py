"""One attempt: counted, timed, recorded.

Per attempt, outermost, so that its time covers everything below it. Its timeout fires at the end of the attempt or of
the call, whichever comes first, and becomes an error that names the stage. Between attempts there are only pauses, and
none is started that the deadline would cut. So the timeouts of the attempts alone enforce the deadline of the call.
"""

from __future__ import annotations

import asyncio
import math

from resilient_client._core.attempt import Attempt
from resilient_client._core.cancellation import client_closed
from resilient_client._core.deadline import LATE, RESOLUTION, TaskTimeout
from resilient_client._core.errors import APIError, APITimeoutError, CallRejectedError, DeadlineExceededError
from resilient_client._core.events import AttemptFinished, AttemptStarted
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.classify import kind_of_status


class AttemptMiddleware:
    """Gives each attempt its number, its time limit and its place in the history."""

    __slots__ = ()

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Make one attempt."""
        context = request.context
        client = context.client
        now = client.loop_time()
        limit = context.settings.limits.attempt
        ends_at = context.deadline if limit is None or context.deadline - now < limit else now + limit
        if ends_at - now < RESOLUTION:
            raise deadline_exceeded(request)
        if context.open_response is not None:
            context.close_open_response()
        began = client.clock()
        history = context.history
        number = history[-1].number + 1 if history else 1
        attempt = request.attempt = Attempt(number, request.endpoint, began - context.started_clock)
        history.append(attempt)
        if client.events.listeners_of[AttemptStarted]:
            context.emit(AttemptStarted, number, attempt.endpoint)
        timeout = attempt.timeout = TaskTimeout(client.timer, ends_at, context)
        try:
            response = await call_next(request)
        except asyncio.CancelledError:
            attempt.elapsed = client.clock() - began
            if not timeout.uncancel():
                raise
            failure: APIError = _timed_out(request, attempt, timeout, client.loop_time())
        except APIError as error:
            attempt.elapsed = client.clock() - began
            failure = error
        except Exception as error:  # a bug, for example in a middleware: recorded, and raised as it is
            attempt.elapsed = client.clock() - began
            attempt.kind, attempt.error = ErrorKind.UNEXPECTED, type(error).__name__
            _emit_finished(request, attempt)
            raise
        else:
            attempt.elapsed = client.clock() - began
            attempt.status = response.status
            if response.status >= 400:
                attempt.kind, attempt.stage = kind_of_status(response.status), Stage.STATUS
                attempt.error = f"status {response.status}"
                attempt.request_id = response.request_id
            if client.events.listeners_of[AttemptFinished]:
                attempt.request_id = response.request_id
                context.emit(AttemptFinished, attempt.record())
            return response
        finally:
            timeout.close()
            attempt.timeout = None
        _note_failure(attempt, failure)
        if isinstance(failure, CallRejectedError):  # nothing was sent, so it does not count as an attempt
            history.remove(attempt)
        _emit_finished(request, attempt)
        try:
            raise failure
        finally:
            del failure  # an error whose frame refers to it is freed only by the collector


def deadline_exceeded(request: Request) -> DeadlineExceededError:
    """The error of a call whose time was up before this attempt."""
    context = request.context
    total = context.deadline - context.started
    when = "had passed before the call began" if total < RESOLUTION else f"of {total:.3g} s passed between two attempts"
    return DeadlineExceededError(f"the deadline {when}; nothing was sent", stage=Stage.LOCAL, label=request.label)


def _timed_out(request: Request, attempt: Attempt, timeout: TaskTimeout, now: float) -> APIError:
    stage, blocked = attempt.stage or Stage.LOCAL, ""
    if timeout.aborted:
        return client_closed(request.label, stage, sent=attempt.sent)
    if timeout.late > LATE:
        attempt.loop_was_late = True
        blocked = f"; the event loop was blocked for {timeout.late:.3g} s or more, so a reply may have waited unread"
    context = request.context
    if context.deadline - now < 0.002:  # uvloop's clock advances in steps of a millisecond
        total = context.deadline - context.started
        return DeadlineExceededError(
            f"the call was not done after {total:.3g} s, stuck in stage {stage}{blocked}",
            stage=stage,
            maybe_processed=attempt.sent,
            label=request.label,
        )
    limit = context.settings.limits.attempt or math.inf
    what = "no free connection in the pool" if stage is Stage.POOL else f"no complete reply, stuck in stage {stage}"
    return APITimeoutError(
        f"{what} after attempt={limit:.3g} s{blocked}",
        kind=None if stage is not Stage.POOL else ErrorKind.POOL,
        stage=stage,
        maybe_processed=attempt.sent,
        retryable=True,
        label=request.label,
    )


def _note_failure(attempt: Attempt, failure: APIError) -> None:
    if attempt.sent:  # an earlier hop of this attempt may have been processed
        failure.maybe_processed = True
    attempt.kind = failure.kind
    attempt.stage = failure.stage
    attempt.error = failure.summary


def _emit_finished(request: Request, attempt: Attempt) -> None:
    if request.context.client.events.listeners_of[AttemptFinished]:
        request.context.emit(AttemptFinished, attempt.record())
