"""Resilient HTTP calls for asyncio.

::

    client.get("/users/{id}", path_params={"id": 7}, response_model=User)
       │  Call          frozen: method, path and options as given                         _client
       ▼
       start            build the request, resolve its settings, fix the deadline         _call
       ▼
       per call         deadline · your middleware · coalesce · retry( hedging )          _middleware
       ▼
       per attempt      pick endpoint · attempt timer · rate limit · bulkhead ·
                        circuit breaker · auth · your middleware · redirect               _middleware
       ▼
       transport        send one wire request, read the body, translate errors            _transport
       ▼
       finish           raise for an error status, decode (pydantic), or fall back        _call
       ▼
       User             or, from run() and gather(): Outcome = Success | Failure

Settings describe what to do. A policy decides, a middleware acts, and the transport sends one wire request.

Import every name in ``__all__`` from here. ``resilient_client.errors``, ``.events``, ``.typing``, ``.auth``,
``.health``, ``.simulation``, ``.telemetry`` and ``.testing`` are public, too. Modules with an underscore are internal.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from resilient_client._version import __version__

if TYPE_CHECKING:
    from resilient_client._call.stream import StreamResponse
    from resilient_client._client.client import APIClient
    from resilient_client._client.endpoint_set import resolve_dns
    from resilient_client._core.call import Call, CallOptions
    from resilient_client._core.certificate import Certificate
    from resilient_client._core.deadline import deadline
    from resilient_client._core.endpoint import Endpoint
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
    from resilient_client._core.in_flight import CallInFlight
    from resilient_client._core.kinds import ErrorKind, Stage
    from resilient_client._core.outcome import Failure, Outcome, Success
    from resilient_client._core.protocols import Auth, Handler, Middleware, Transport
    from resilient_client._core.record import AttemptRecord
    from resilient_client._core.request import Request, RequestInfo
    from resilient_client._core.response import Response
    from resilient_client._core.timings import Timings
    from resilient_client._fanout import GatherResult, as_completed, gather
    from resilient_client._policies.balancing.endpoint import EndpointState
    from resilient_client._policies.balancing.hysteresis import HealthState
    from resilient_client._policies.circuit.circuit import Circuit, CircuitState
    from resilient_client._policies.limits.bulkhead import Permits
    from resilient_client._policies.retry.budget import RetryTokens
    from resilient_client._settings.bulkhead import AdaptiveConcurrency, Bulkhead
    from resilient_client._settings.circuit_breaker import CircuitBreaker
    from resilient_client._settings.config import ClientConfig
    from resilient_client._settings.connection import ConnectionSettings
    from resilient_client._settings.fallback import Fallback
    from resilient_client._settings.hedging import Hedging
    from resilient_client._settings.load_balancing import HealthCheck, LoadBalancing
    from resilient_client._settings.rate_limit import RateLimit
    from resilient_client._settings.retry import Backoff, Retry, RetryBudget
    from resilient_client._settings.timeout import Timeout
    from resilient_client.auth import APIKeyAuth, BasicAuth, BearerAuth, OAuth2ClientCredentials, Token
    from resilient_client.health import HealthReport, Probe, Prober, ProbeResult, probe

__all__ = [
    "APIClient",
    "APIConnectionError",
    "APIError",
    "APIKeyAuth",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AdaptiveConcurrency",
    "AttemptRecord",
    "Auth",
    "AuthenticationError",
    "Backoff",
    "BadRequestError",
    "BasicAuth",
    "BearerAuth",
    "Bulkhead",
    "BulkheadFullError",
    "Call",
    "CallCancelledError",
    "CallInFlight",
    "CallOptions",
    "CallRejectedError",
    "Certificate",
    "Circuit",
    "CircuitBreaker",
    "CircuitOpenError",
    "CircuitState",
    "ClientClosedError",
    "ClientConfig",
    "ConfigurationError",
    "ConflictError",
    "ConnectionSettings",
    "DeadlineExceededError",
    "Endpoint",
    "EndpointState",
    "ErrorKind",
    "Failure",
    "Fallback",
    "GatherResult",
    "Handler",
    "HealthCheck",
    "HealthReport",
    "HealthState",
    "Hedging",
    "InternalServerError",
    "InvalidRequestError",
    "LoadBalancing",
    "LocalRateLimitError",
    "Middleware",
    "MissingExtraError",
    "NotFoundError",
    "OAuth2ClientCredentials",
    "Outcome",
    "PermissionDeniedError",
    "Permits",
    "Probe",
    "ProbeResult",
    "Prober",
    "RateLimit",
    "RateLimitError",
    "RedirectError",
    "Request",
    "RequestInfo",
    "ResilientClientError",
    "Response",
    "ResponseTooLargeError",
    "Retry",
    "RetryBudget",
    "RetryTokens",
    "Stage",
    "StreamResponse",
    "Success",
    "Timeout",
    "Timings",
    "Token",
    "Transport",
    "UnprocessableEntityError",
    "WrongLoopError",
    "__version__",
    "as_completed",
    "deadline",
    "gather",
    "probe",
    "resolve_dns",
]

_HOMES = {
    "APIClient": "_client.client",
    "APIConnectionError": "_core.errors",
    "APIError": "_core.errors",
    "APIKeyAuth": "auth",
    "APIResponseValidationError": "_core.errors",
    "APIStatusError": "_core.errors",
    "APITimeoutError": "_core.errors",
    "AdaptiveConcurrency": "_settings.bulkhead",
    "AttemptRecord": "_core.record",
    "Auth": "_core.protocols",
    "AuthenticationError": "_core.errors",
    "Backoff": "_settings.retry",
    "BadRequestError": "_core.errors",
    "BasicAuth": "auth",
    "BearerAuth": "auth",
    "Bulkhead": "_settings.bulkhead",
    "BulkheadFullError": "_core.errors",
    "Call": "_core.call",
    "CallCancelledError": "_core.errors",
    "CallInFlight": "_core.in_flight",
    "CallOptions": "_core.call",
    "CallRejectedError": "_core.errors",
    "Certificate": "_core.certificate",
    "Circuit": "_policies.circuit.circuit",
    "CircuitBreaker": "_settings.circuit_breaker",
    "CircuitOpenError": "_core.errors",
    "CircuitState": "_policies.circuit.circuit",
    "ClientClosedError": "_core.errors",
    "ClientConfig": "_settings.config",
    "ConfigurationError": "_core.errors",
    "ConflictError": "_core.errors",
    "ConnectionSettings": "_settings.connection",
    "DeadlineExceededError": "_core.errors",
    "Endpoint": "_core.endpoint",
    "EndpointState": "_policies.balancing.endpoint",
    "ErrorKind": "_core.kinds",
    "Failure": "_core.outcome",
    "Fallback": "_settings.fallback",
    "GatherResult": "_fanout",
    "Handler": "_core.protocols",
    "HealthCheck": "_settings.load_balancing",
    "HealthReport": "health",
    "HealthState": "_policies.balancing.hysteresis",
    "Hedging": "_settings.hedging",
    "InternalServerError": "_core.errors",
    "InvalidRequestError": "_core.errors",
    "LoadBalancing": "_settings.load_balancing",
    "LocalRateLimitError": "_core.errors",
    "Middleware": "_core.protocols",
    "MissingExtraError": "_core.errors",
    "NotFoundError": "_core.errors",
    "OAuth2ClientCredentials": "auth",
    "Outcome": "_core.outcome",
    "PermissionDeniedError": "_core.errors",
    "Permits": "_policies.limits.bulkhead",
    "Probe": "health",
    "ProbeResult": "health",
    "Prober": "health",
    "RateLimit": "_settings.rate_limit",
    "RateLimitError": "_core.errors",
    "RedirectError": "_core.errors",
    "Request": "_core.request",
    "RequestInfo": "_core.request",
    "ResilientClientError": "_core.errors",
    "Response": "_core.response",
    "ResponseTooLargeError": "_core.errors",
    "Retry": "_settings.retry",
    "RetryBudget": "_settings.retry",
    "RetryTokens": "_policies.retry.budget",
    "Stage": "_core.kinds",
    "StreamResponse": "_call.stream",
    "Success": "_core.outcome",
    "Timeout": "_settings.timeout",
    "Timings": "_core.timings",
    "Token": "auth",
    "Transport": "_core.protocols",
    "UnprocessableEntityError": "_core.errors",
    "WrongLoopError": "_core.errors",
    "as_completed": "_fanout",
    "deadline": "_core.deadline",
    "gather": "_fanout",
    "probe": "health",
    "resolve_dns": "_client.endpoint_set",
}
"""The module that defines each name. Names load on first use, which keeps the import of our pytest plugin cheap."""

if not TYPE_CHECKING:  # with a visible __getattr__, a type checker would accept any misspelt name

    def __getattr__(name: str) -> object:
        """Load a public name on its first use (PEP 562)."""
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
