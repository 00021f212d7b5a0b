"""How a call ends: its response or its error is completed with everything that is known of the call."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TypeVar

from typing_extensions import TypeForm

from resilient_client._core.call import Call, route_of
from resilient_client._core.cancellation import annotate_cancellation
from resilient_client._core.errors import (
    APIError,
    APIResponseValidationError,
    APIStatusError,
    CallCancelledError,
    ConfigurationError,
    InvalidRequestError,
    ResilientClientError,
    ResponseTooLargeError,
    status_error_class,
)
from resilient_client._core.events import CallCancelled, CallFailed, CallFinished
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.models import MAX_JSON_VALUES
from resilient_client._core.request import Request, RequestInfo
from resilient_client._core.response import Response
from resilient_client._core.validation import unreadable
from resilient_client._policies.classify import kind_of_status
from resilient_client._policies.http.redaction import redact_headers, redact_url
from resilient_client._policies.retry.retry_after import retry_after

T = TypeVar("T")


def complete(request: Request, response: Response) -> Response:
    """Attach what is known of the call to its response.

    Raises:
        APIStatusError: Its status is an error, and the call raises for those.
    """
    context = request.context
    response.complete(context.history, context.client.clock() - context.started_clock)
    if (limit := context.settings.max_json_values) != MAX_JSON_VALUES:
        response.max_json_values = limit
    if response.status >= 400 and context.settings.raise_for_status:
        raise _status_error(request, response)
    return response


def decode(request: Request, response: Response, model: TypeForm[T]) -> T:
    """The value in the response.

    Raises:
        APIResponseValidationError: The body does not fit the model.
    """
    try:
        return response.parse(model)
    except (APIResponseValidationError, ResponseTooLargeError) as error:
        error.label = request.label  # a response does not know which request it answers
        raise


def succeeded(request: Request, response: Response) -> None:
    """Emit the end of a call that gave its value."""
    context, status = request.context, response.status
    kind = kind_of_status(status)
    if kind is None:
        context.emit(CallFinished, status, None, context.attempts, response.elapsed)
    else:
        error, reason = f"status {status}", context.advice
        context.emit(CallFailed, status, kind, context.attempts, response.elapsed, Stage.STATUS, error, reason)


def stream_ended(request: Request, response: Response, error: Exception | None) -> None:
    """Finish a streamed call: successfully, or with an error in its body."""
    response.elapsed = request.context.elapsed
    if error is None:
        succeeded(request, response)
    else:
        failed(request, error if isinstance(error, APIError) else unexpected(error))


def failed(request: Request, error: APIError) -> APIError:
    """Attach what is known of the call to its error, emit its end, and return the error to be raised."""
    context = request.context
    _attach_call(error, request)
    if context.advice:
        error.advice = (context.advice,)
    error.not_retried = context.not_retried
    status, reason = getattr(error, "status", None), "; ".join(error.advice)
    context.emit(CallFailed, status, error.kind, context.attempts, error.elapsed, error.stage, error.summary, reason)
    return error


def annotate_cancelled(request: Request, cancellation: BaseException) -> None:
    """Annotate a cancellation with how far the call had come, and emit it. It is not an outcome."""
    last = request.context.history[-1] if request.context.history else None
    note = CallCancelledError(stage=None if last is None else last.stage, maybe_processed=False)
    if last is not None and last.is_running:
        last.kind, last.error = ErrorKind.CANCELLED, "cancelled"
    _attach_call(note, request)
    annotate_cancellation(cancellation, note)
    request.context.emit(CallCancelled, note.attempts, note.elapsed, note.stage, note.maybe_processed)


def _attach_call(error: APIError, request: Request) -> None:
    context = request.context
    error.request = info_of(request)
    error.attempts = context.attempts
    error.elapsed = context.elapsed
    error.call_id = context.call_id
    error.history = tuple(attempt.record() for attempt in context.history)
    if any(attempt.sent for attempt in context.history):
        error.maybe_processed = True


def info_of(request: Request) -> RequestInfo:
    """What was asked, redacted."""
    context = request.context
    return RequestInfo(
        method=context.call.method,
        url=redact_url(request.url),
        route=route_of(context.call.path),
        headers=redact_headers(request.headers),
        endpoint=request.endpoint,
        idempotency_key=context.idempotency_key,
    )


def unexpected(error: Exception) -> APIError:
    """An exception that no part of the library raises on purpose, in the form that an outcome may hold.

    Its text may contain anything, secrets included, so only its type is shown. Our own texts are safe.
    """
    is_own = isinstance(error, ResilientClientError)
    summary = str(error) if is_own else f"{type(error).__name__}, which was not expected; see __cause__"
    wrapped = APIError(summary, kind=ErrorKind.UNEXPECTED, stage=Stage.LOCAL)
    wrapped.__cause__ = error
    return wrapped


def misused(call: Call[object], error: ConfigurationError) -> APIError:
    """The error of a call that could not begin: its client is closed, or belongs to another event loop."""
    wrapped = InvalidRequestError(str(error), label=f"{call.method} {route_of(call.path)}")
    wrapped.__cause__ = error
    return wrapped


def unreadable_call(call: object, failure: Exception) -> InvalidRequestError:
    """The error for anything but a ``Call``, and for a call whose arguments raise when they are read."""
    if isinstance(call, Call):
        return InvalidRequestError(f"{unreadable('an argument of the call', failure)}; nothing was sent")
    return InvalidRequestError(
        f"{type(call).__name__} is not a call; give Call.get(path), or send it at once: api.get(path)"
    )


def _status_error(request: Request, response: Response) -> APIStatusError:
    status = response.status
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    requested_delay = retry_after(response.headers, wall_now=time.time())
    retry = request.context.settings.retry
    return status_error_class(status)(
        f"the server answered {status}{phrase}"
        + ("" if requested_delay is None else f" and asks to wait {requested_delay:g} s"),
        label=request.label,
        response=response,
        kind=kind_of_status(status) or ErrorKind.UNEXPECTED,
        retryable=retry is not None and status in retry.statuses,
        retry_after=requested_delay,
    )
