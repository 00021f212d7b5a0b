"""Every error a caller can meet.

::

    ResilientClientError
    ├── ConfigurationError                a setting is wrong: field, value, allowed range, remedy
    │   ├── ClientClosedError             the client was closed
    │   ├── WrongLoopError                the client belongs to another event loop
    │   └── MissingExtraError             an optional dependency is not installed
    └── APIError                          one call failed
        ├── APIConnectionError            no usable reply
        │   └── APITimeoutError           one attempt took too long (also a TimeoutError)
        │       └── DeadlineExceededError the whole call did
        ├── APIStatusError                the server answered, with an error status
        │   ├── BadRequestError 400       AuthenticationError 401     PermissionDeniedError 403
        │   ├── NotFoundError 404         ConflictError 409           UnprocessableEntityError 422
        │   └── RateLimitError 429        InternalServerError >= 500
        ├── APIResponseValidationError    the body did not fit the model
        ├── ResponseTooLargeError         the head or the body exceeds a limit
        ├── RedirectError                 a redirect the policy forbids
        ├── InvalidRequestError           the call itself is wrong; nothing was sent (also a ValueError)
        ├── CallCancelledError            cancelled, but not by the caller: dropped by a fan-out, or from within
        └── CallRejectedError             refused here; nothing was sent
            ├── CircuitOpenError          the upstream is known to be failing
            ├── BulkheadFullError         too many calls of this client are in flight to it
            └── LocalRateLimitError       too many calls of this client in too short a time

Errors are ordinary exceptions: a new object each time, picklable, safe under ``add_note`` and ``raise ... from``. The
pickle of an error holds its ``response`` without cookies and without the query of URLs, but with its body.
``str(error)`` is one human-readable line without secrets and without the query string. Programs should read its parts
instead: ``label``, ``summary``, ``effect``, ``attempts``, ``elapsed`` and ``advice``.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.text import one_line

if TYPE_CHECKING:
    from resilient_client._core.causes import RefusalCause
    from resilient_client._core.record import AttemptRecord
    from resilient_client._core.request import RequestInfo
    from resilient_client._core.response import Response


class ResilientClientError(Exception):
    """The base class of all errors that this library raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        state = self.__dict__
        if (response := state.get("response")) is not None:
            state = state | {"response": response.without_secrets()}  # a pickle goes to a queue, a store or a log
        return _restore, (type(self), self.args, state)

    def __copy__(self) -> Self:
        return _restore(type(self), self.args, self.__dict__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return _restore(type(self), self.args, copy.deepcopy(self.__dict__, memo))


_E = TypeVar("_E", bound=ResilientClientError)


def _restore(cls: type[_E], args: tuple[object, ...], state: dict[str, Any]) -> _E:
    """Rebuild a pickled error without its constructor, which may require more arguments than ``args``."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(ResilientClientError, ValueError):
    """A setting is wrong. The message names the field, its value, the allowed values and the remedy."""


class ClientClosedError(ConfigurationError):
    """The client was closed. Create a new one, or keep it open as long as calls are made."""


class WrongLoopError(ConfigurationError):
    """The client belongs to another event loop, which is still open or was closed with calls in flight."""


class MissingExtraError(ConfigurationError):
    """An optional dependency is missing. The message contains the install command."""


class APIError(ResilientClientError):
    """One call failed. The attributes hold what happened, at which stage, and whether the server may have acted.

    Attributes:
        label: Method, origin and route of the request, or ``""`` for an error raised before there was a request.
        summary: What happened, in words, without the label, the number of attempts and the advice.
        effect: What that means for the server, in words, such as "nothing was sent". ``""`` if that is uncertain.
        advice: Why there was no further attempt, and what would change that. One sentence each.
        not_retried: Why a retryable failure was not retried, as a value, such as ``BUDGET``. ``None`` after the last of
            two attempts or more, and if the failure is not retryable.
        kind: What happened, in one word.
        stage: How far the failing attempt had come.
        maybe_processed: Whether the server may have acted. ``False`` means that it certainly did not.
        retryable: Whether another attempt may succeed. Whether a repeat is *safe* is a separate question, answered by
            ``maybe_processed`` and the method.
        request: The redacted request. ``None`` only if the error came before the request was built.
        attempts: The number of attempts that the call started, or 0 if it was rejected before the first.
        elapsed: Seconds from the start of the call to this error.
        call_id: The id of the call in its events and log records. ``""`` if the error came before the call began.
        history: One record per attempt, in order.
        detail: The text of the original exception, if that was not kept because it carries secrets, else ``""``.
        retry_after: Seconds until another try makes sense, by the server, a limit or a circuit. ``None`` if unknown.
    """

    retry_after: float | None = None
    attempts = 0
    elapsed = 0.0
    call_id = ""
    history: tuple[AttemptRecord, ...] = ()
    advice: tuple[str, ...] = ()
    not_retried: RefusalCause | None = None
    effect = ""
    _kind: ClassVar[ErrorKind] = ErrorKind.UNEXPECTED
    _stage: ClassVar[Stage] = Stage.LOCAL

    def __init__(
        self,
        summary: str = "",
        *,
        label: str = "",
        kind: ErrorKind | None = None,
        stage: Stage | None = None,
        maybe_processed: bool | None = None,
        retryable: bool = False,
        request: RequestInfo | None = None,
        detail: str = "",
    ) -> None:
        summary = one_line(summary)  # it may quote a server
        super().__init__(summary)
        self.summary = summary or type(self).__name__
        self.label = label
        self.kind = self._kind if kind is None else kind
        self.stage = self._stage if stage is None else stage
        self.maybe_processed = self.stage.maybe_processed if maybe_processed is None else maybe_processed
        self.retryable = retryable
        self.request = request
        self.detail = detail

    @property
    def _headline(self) -> str:
        return f"{self.label}: {self.summary}" if self.label else self.summary

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._headline!r})"

    def __str__(self) -> str:
        parts = [self._headline]
        if self.effect:
            parts.append(self.effect)
        if self.attempts > 1:
            parts.append(f"{self.attempts} attempts in {self.elapsed:.3g} s")
        parts.extend(self.advice)
        return "; ".join(parts)


class APIConnectionError(APIError):
    """There was no usable response. ``kind`` and ``stage`` tell why and where.

    Attributes:
        stale_connection: Whether a kept-alive connection turned out to be closed before any byte of a response.
    """

    _kind = ErrorKind.CONNECT
    _stage = Stage.CONNECT
    stale_connection = False


class APITimeoutError(APIConnectionError, TimeoutError):
    """One attempt exceeded its timeout. Also a builtin ``TimeoutError``."""

    _kind = ErrorKind.TIMEOUT
    _stage = Stage.HEADERS


class DeadlineExceededError(APITimeoutError):
    """The whole call, including all attempts and waits, ran out of time.

    Not ``retryable``: there is no time left for another attempt of *this* call. A new call may well succeed later.
    """

    _kind = ErrorKind.DEADLINE


class APIStatusError(APIError):
    """The server answered with an error status (4xx or 5xx).

    Attributes:
        response: The response, with up to 64 KiB of its body (see ``response.truncated``).
        status: The HTTP status of the response.
        retry_after: The seconds that the server asked to wait (RFC 9110 section 10.2.3), or ``None``.
    """

    _stage = Stage.STATUS

    def __init__(
        self,
        summary: str,
        *,
        label: str = "",
        response: Response,
        kind: ErrorKind,
        retryable: bool = False,
        retry_after: float | None = None,
        request: RequestInfo | None = None,
    ) -> None:
        super().__init__(summary, label=label, kind=kind, retryable=retryable, request=request)
        self.response = response
        self.status = response.status
        self.retry_after = retry_after

    @property
    def request_id(self) -> str | None:
        """The id that the server gave this request, to quote to its operator. ``None`` if it sent none."""
        return self.response.request_id

    @property
    def problem(self) -> dict[str, Any] | None:
        """The problem details of the response (RFC 9457), or ``None`` if it does not hold any."""
        return self.response.problem


class BadRequestError(APIStatusError):
    """400: the server could not understand the request."""


class AuthenticationError(APIStatusError):
    """401: the credentials are missing, wrong or expired, and refreshing them did not help."""


class PermissionDeniedError(APIStatusError):
    """403: the credentials are valid, but do not permit this request."""


class NotFoundError(APIStatusError):
    """404: there is no resource at this URL."""


class ConflictError(APIStatusError):
    """409: the request conflicts with the state of the resource."""


class UnprocessableEntityError(APIStatusError):
    """422: the content is well-formed but wrong."""


class RateLimitError(APIStatusError):
    """429: too many requests. ``retry_after`` holds the seconds to wait if the server sent them."""


class InternalServerError(APIStatusError):
    """5xx: the server failed."""


_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


def status_error_class(status: int) -> type[APIStatusError]:
    """Return the error class for ``status``, which is 400 or above."""
    return InternalServerError if status >= 500 else _BY_STATUS.get(status, APIStatusError)


class _ResponseError(APIError):
    """The base of errors about the *content* of a response.

    Attributes:
        response: That response, or ``None`` if its body was not kept.
    """

    def __init__(
        self,
        summary: str,
        *,
        label: str = "",
        response: Response | None = None,
        stage: Stage | None = None,
        request: RequestInfo | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(summary, label=label, stage=stage, request=request, detail=detail)
        self.response = response


class APIResponseValidationError(_ResponseError):
    """The body does not fit ``response_model``. ``detail`` lists where, without the values."""

    _kind = ErrorKind.INVALID_RESPONSE
    _stage = Stage.DECODE


class ResponseTooLargeError(_ResponseError):
    """The body, after decompression, or the head of the reply exceeds a size limit. The rest was not read."""

    _kind = ErrorKind.TOO_LARGE
    _stage = Stage.BODY


class RedirectError(_ResponseError):
    """The redirect policy does not allow the target of a redirect. ``response`` is that redirect.

    Attributes:
        endless: Whether too many redirects followed each other, in a circle or not.
        cross_origin: Whether it leads to another origin and ``follow_redirects="any"`` would allow that.
    """

    _kind = ErrorKind.REDIRECT
    _stage = Stage.STATUS
    endless = False
    cross_origin = False


class InvalidRequestError(APIError, ValueError):
    """The call itself is invalid. Nothing was sent. Also a ``ValueError``."""

    _kind = ErrorKind.INVALID_REQUEST


class CallCancelledError(APIError):
    """Ended by a cancellation that was not the caller's. A caller's own cancellation always propagates.

    The error of the outcome of a call that a fan-out dropped, or that was cancelled from within: something that it
    awaited was cancelled. A call in flight fails with it when its client is closed. A call that shares a flight raises
    it when the flight was cancelled from within. A fan-out raises it itself when its iterable of calls was cancelled
    from within, or, from a step of ``as_completed``, when the task that runs its calls was cancelled from outside.

    Attributes:
        dropped: Whether the fan-out dropped the call, after it had its ``successes`` or met its ``stop_on_failure``.
    """

    _kind = ErrorKind.CANCELLED
    dropped = False


class CallRejectedError(APIError):
    """The client rejected this call itself. Nothing was sent.

    Attributes:
        retry_after: Seconds until another try may be admitted, or ``None`` if that is not known.
    """

    _kind = ErrorKind.REJECTED
    effect = "nothing was sent"

    def __init__(
        self, summary: str, *, label: str = "", retry_after: float | None = None, request: RequestInfo | None = None
    ) -> None:
        super().__init__(summary, label=label, request=request)
        self.retry_after = retry_after


class CircuitOpenError(CallRejectedError):
    """The circuit of the endpoint, or of each endpoint, is open: it was failing, and is given time to recover."""

    _kind = ErrorKind.CIRCUIT_OPEN


class BulkheadFullError(CallRejectedError):
    """The endpoint has as many attempts in flight as its bulkhead allows, and no permit was released in time."""


class LocalRateLimitError(CallRejectedError):
    """The client's rate limit does not admit this attempt in time. ``retry_after`` holds the seconds until it would."""
