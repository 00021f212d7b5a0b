"""Resilient HTTP calls for asyncio.

::

    client.get("/users/{id}", path_params={"id": 7}, response_model=User)
       │  Call         frozen: what the caller asked
       ▼
       the edge        fallback( decode( ... ) ), complete errors, make outcomes               client.py, edge.py
       ▼
       per call        deadline · your middleware · coalesce · retry( hedging )               the only repeaters
       ▼
       per attempt     pick endpoint · attempt timer · rate limit · bulkhead · circuit breaker ·
                       auth · your middleware · redirect                       chain.py has the order
       ▼
       transport       exactly one wire request; body read; foreign errors translated, once
       ▼
       Response ──► decode (pydantic) ──► User              or, in gather(): Outcome = Success | Failure

Settings describe, a policy decides, a middleware acts, the transport touches the wire once.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from resilient_client._version import __version__

if TYPE_CHECKING:
    from resilient_client.auth import APIKeyAuth, BasicAuth, BearerAuth, OAuth2ClientCredentials, Token
    from resilient_client.client import APIClient
    from resilient_client.core.attempts import AttemptRecord
    from resilient_client.core.call import Call, CallOptions
    from resilient_client.core.certificate import Certificate
    from resilient_client.core.deadline import deadline
    from resilient_client.core.endpoint import Endpoint
    from resilient_client.core.errors import (
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
    from resilient_client.core.kinds import ErrorKind, Stage
    from resilient_client.core.outcome import Failure, Outcome, Success
    from resilient_client.core.protocols import Auth, Handler, Middleware, Transport
    from resilient_client.core.request import Request, RequestInfo
    from resilient_client.core.response import Response
    from resilient_client.core.timings import Timings
    from resilient_client.endpoints import resolve_dns
    from resilient_client.fanout import GatherResult, as_completed, gather
    from resilient_client.health import HealthReport, Probe, Prober, ProbeResult, probe
    from resilient_client.policies.circuit import Circuit, CircuitState
    from resilient_client.policies.health import HealthState
    from resilient_client.policies.member import EndpointState
    from resilient_client.policies.permits import Permits
    from resilient_client.policies.retry_budget import RetryTokens
    from resilient_client.settings.bulkhead import AdaptiveConcurrency, Bulkhead
    from resilient_client.settings.circuit_breaker import CircuitBreaker
    from resilient_client.settings.config import ClientConfig
    from resilient_client.settings.connection import ConnectionSettings
    from resilient_client.settings.fallback import Fallback
    from resilient_client.settings.hedging import Hedging
    from resilient_client.settings.load_balancing import HealthCheck, LoadBalancing
    from resilient_client.settings.rate_limit import RateLimit
    from resilient_client.settings.retry import Backoff, Retry, RetryBudget
    from resilient_client.settings.timeout import Timeout
    from resilient_client.streaming import StreamResponse

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
    "APIClient": "client",
    "APIConnectionError": "core.errors",
    "APIError": "core.errors",
    "APIKeyAuth": "auth",
    "APIResponseValidationError": "core.errors",
    "APIStatusError": "core.errors",
    "APITimeoutError": "core.errors",
    "AdaptiveConcurrency": "settings.bulkhead",
    "AttemptRecord": "core.attempts",
    "Auth": "core.protocols",
    "AuthenticationError": "core.errors",
    "Backoff": "settings.retry",
    "BadRequestError": "core.errors",
    "BasicAuth": "auth",
    "BearerAuth": "auth",
    "Bulkhead": "settings.bulkhead",
    "BulkheadFullError": "core.errors",
    "Call": "core.call",
    "CallCancelledError": "core.errors",
    "CallOptions": "core.call",
    "CallRejectedError": "core.errors",
    "Certificate": "core.certificate",
    "Circuit": "policies.circuit",
    "CircuitBreaker": "settings.circuit_breaker",
    "CircuitOpenError": "core.errors",
    "CircuitState": "policies.circuit",
    "ClientClosedError": "core.errors",
    "ClientConfig": "settings.config",
    "ConfigurationError": "core.errors",
    "ConflictError": "core.errors",
    "ConnectionSettings": "settings.connection",
    "DeadlineExceededError": "core.errors",
    "Endpoint": "core.endpoint",
    "EndpointState": "policies.member",
    "ErrorKind": "core.kinds",
    "Failure": "core.outcome",
    "Fallback": "settings.fallback",
    "GatherResult": "fanout",
    "Handler": "core.protocols",
    "HealthCheck": "settings.load_balancing",
    "HealthReport": "health",
    "HealthState": "policies.health",
    "Hedging": "settings.hedging",
    "InternalServerError": "core.errors",
    "InvalidRequestError": "core.errors",
    "LoadBalancing": "settings.load_balancing",
    "LocalRateLimitError": "core.errors",
    "Middleware": "core.protocols",
    "MissingExtraError": "core.errors",
    "NotFoundError": "core.errors",
    "OAuth2ClientCredentials": "auth",
    "Outcome": "core.outcome",
    "PermissionDeniedError": "core.errors",
    "Permits": "policies.permits",
    "Probe": "health",
    "ProbeResult": "health",
    "Prober": "health",
    "RateLimit": "settings.rate_limit",
    "RateLimitError": "core.errors",
    "RedirectError": "core.errors",
    "Request": "core.request",
    "RequestInfo": "core.request",
    "ResilientClientError": "core.errors",
    "Response": "core.response",
    "ResponseTooLargeError": "core.errors",
    "Retry": "settings.retry",
    "RetryBudget": "settings.retry",
    "RetryTokens": "policies.retry_budget",
    "Stage": "core.kinds",
    "StreamResponse": "streaming",
    "Success": "core.outcome",
    "Timeout": "settings.timeout",
    "Timings": "core.timings",
    "Token": "auth",
    "Transport": "core.protocols",
    "UnprocessableEntityError": "core.errors",
    "WrongLoopError": "core.errors",
    "as_completed": "fanout",
    "deadline": "core.deadline",
    "gather": "fanout",
    "probe": "health",
    "resolve_dns": "endpoints",
}
"""Where each name is at home. What nobody asks for is not loaded: the pytest plugin lies in this package, too."""

if not TYPE_CHECKING:  # a type checker that saw this would take any misspelt name for a public one

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
