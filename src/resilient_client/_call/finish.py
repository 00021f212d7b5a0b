"""Where a call ends: a reply becomes an answer or an error, and errors learn everything about their call."""

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
    status_error_class,
)
from resilient_client._core.events import CallFinished
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.request import Request, RequestInfo
from resilient_client._core.response import Response
from resilient_client._policies.classify import kind_of_status
from resilient_client._policies.http.redaction import redact_headers, redact_url
from resilient_client._policies.retry.retry_after import retry_after

T = TypeVar("T")


def complete(request: Request, response: Response, raises: bool) -> Response:
    """Tell the reply about its call.

    Raises:
        APIStatusError: Its status is an error and ``raises`` is true.
    """
    context = request.context
    response.attempts = context.attempts
    response.elapsed = context.client.clock() - context.started_clock
    response.history = tuple(context.records)
    if raises and response.status >= 400:
        raise _status_error(request, response)
    return response


def decode(request: Request, response: Response, model: TypeForm[T]) -> T:
    """The value in the reply.

    Raises:
        APIResponseValidationError: The body does not fit the model.
    """
    try:
        return response.parse(model)
    except APIResponseValidationError as error:
        error.label = request.label  # a reply does not know what it answers
        raise


def announce(request: Request, response: Response) -> None:
    """Tell the listeners of a call that gave its value."""
    _finished(request, response.status, kind_of_status(response.status), response.elapsed)


def conclude(request: Request, response: Response, error: Exception | None) -> None:
    """The end of a streamed call: well, or with an error in its body."""
    response.elapsed = request.context.client.clock() - request.context.started_clock
    if error is None:
        announce(request, response)
    else:
        fail(request, error if isinstance(error, APIError) else unexpected(error))


def fail(request: Request, error: APIError) -> APIError:
    """Tell the error about its call, announce the end, and give the error back to be raised."""
    context = request.context
    _inform(error, request)
    if context.advice:
        error.advice = (context.advice,)
    _finished(request, getattr(error, "status", None), error.kind, error.elapsed)
    return error


def leave(request: Request, cancellation: BaseException) -> None:
    """Leave word of how far a cancelled call had come. No outcome and no event: its caller has gone, knowingly."""
    records = request.context.records
    word = CallCancelledError(stage=records[-1].stage if records else None, maybe_processed=False)
    if records and records[-1].status is None and records[-1].kind is None:
        records[-1].kind, records[-1].error = ErrorKind.CANCELLED, "cancelled"
    _inform(word, request)
    annotate_cancellation(cancellation, word)


def _inform(error: APIError, request: Request) -> None:
    context = request.context
    error.request = info_of(request)
    error.attempts = context.attempts
    error.elapsed = context.client.clock() - context.started_clock
    error.history = tuple(context.records)
    if any(record.sent for record in context.records):
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
    """An exception nobody foresaw, as an outcome may hold it.

    Its text may hold anything, so only its type shows; but our own are safe to show.
    """
    ours = isinstance(error, ResilientClientError)
    told = str(error) if ours else f"{type(error).__name__}, which nobody foresaw; see __cause__"
    wrapped = APIError(told, kind=ErrorKind.UNEXPECTED, stage=Stage.LOCAL)
    wrapped.__cause__ = error
    return wrapped


def misused(call: Call[object], error: ConfigurationError) -> APIError:
    """A call that its client could not even begin: it is closed, say, or bound to another event loop."""
    wrapped = InvalidRequestError(f"{call.method} {route_of(call.path)}: {error}")
    wrapped.__cause__ = error
    return wrapped


def _status_error(request: Request, response: Response) -> APIStatusError:
    status = response.status
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    requested_delay = retry_after(response.headers, wall_now=time.time())
    retry = request.context.retry
    return status_error_class(status)(
        f"the server answered {status}{phrase}"
        + ("" if requested_delay is None else f" and asks to wait {requested_delay:g} s"),
        label=request.label,
        response=response,
        kind=kind_of_status(status) or ErrorKind.UNEXPECTED,
        retryable=retry is not None and status in retry.statuses,
        retry_after=requested_delay,
    )


def _finished(request: Request, status: int | None, kind: ErrorKind | None, elapsed: float) -> None:
    context = request.context
    context.emit(CallFinished, status=status, kind=kind, attempts=context.attempts, elapsed=elapsed)
