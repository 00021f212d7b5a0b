"""The error classes, with the enums that classify every failure: ``ErrorKind`` (what) and ``Stage`` (where).

::

    ResilientClientError
    ├── ConfigurationError                 a setting is wrong; also a ValueError
    │   ├── ClientClosedError              the client was closed
    │   ├── WrongLoopError                 the client belongs to another event loop that is open, or was closed in use
    │   └── MissingExtraError              an optional dependency is not installed
    └── APIError                           one call failed
        ├── APIConnectionError             no usable reply
        │   └── APITimeoutError            one attempt took too long; also a TimeoutError
        │       └── DeadlineExceededError  the whole call did
        ├── APIStatusError                 the server answered with an error status
        │   ├── BadRequestError            400
        │   ├── AuthenticationError        401
        │   ├── PermissionDeniedError      403
        │   ├── NotFoundError              404
        │   ├── ConflictError              409
        │   ├── UnprocessableEntityError   422
        │   ├── RateLimitError             429
        │   └── InternalServerError        500 and above
        ├── APIResponseValidationError     the body did not fit the model
        ├── ResponseTooLargeError          the head or the body exceeds a limit
        ├── RedirectError                  a redirect the policy forbids
        ├── InvalidRequestError            the call itself is wrong, nothing was sent; also a ValueError
        ├── CallCancelledError             cancelled, but not by the caller: dropped by a fan-out, or from within
        └── CallRejectedError              rejected by the client, nothing was sent
            ├── CircuitOpenError           the upstream is known to be failing
            ├── BulkheadFullError          too many of the client's calls to it are in progress
            └── LocalRateLimitError        too many of the client's calls in too short a time

The names are those of the package itself: ``resilient_client.errors.APIError is resilient_client.APIError``.
"""

from resilient_client._core.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BulkheadFullError,
    CallCancelledError,
    CallRejectedError,
    CircuitOpenError,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    DeadlineExceededError,
    InternalServerError,
    InvalidRequestError,
    LocalRateLimitError,
    MissingExtraError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ResilientClientError,
    ResponseTooLargeError,
    UnprocessableEntityError,
    WrongLoopError,
)
from resilient_client._core.kinds import ErrorKind, Stage

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "BulkheadFullError",
    "CallCancelledError",
    "CallRejectedError",
    "CircuitOpenError",
    "ClientClosedError",
    "ConfigurationError",
    "ConflictError",
    "DeadlineExceededError",
    "ErrorKind",
    "InternalServerError",
    "InvalidRequestError",
    "LocalRateLimitError",
    "MissingExtraError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RedirectError",
    "ResilientClientError",
    "ResponseTooLargeError",
    "Stage",
    "UnprocessableEntityError",
    "WrongLoopError",
]
