"""The standard chain, written once, top to bottom: the place to read the order.

A link that is listed first is outermost. Retry is the only repeater, so everything below it runs once per attempt: a
fresh token, a circuit that sees every attempt, a redirect that belongs to its attempt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.protocols import Auth, Middleware
from resilient_client._middleware.attempt import AttemptMiddleware
from resilient_client._middleware.auth import AuthMiddleware
from resilient_client._middleware.bulkhead import BulkheadMiddleware
from resilient_client._middleware.checked import CheckedMiddleware
from resilient_client._middleware.circuit_breaker import CircuitBreakerMiddleware
from resilient_client._middleware.coalesce import CoalesceMiddleware
from resilient_client._middleware.compose import describe
from resilient_client._middleware.deadline import DeadlineMiddleware
from resilient_client._middleware.endpoint import EndpointMiddleware
from resilient_client._middleware.hedging import HedgingMiddleware
from resilient_client._middleware.rate_limit import RateLimitMiddleware
from resilient_client._middleware.redirect import RedirectMiddleware
from resilient_client._middleware.retry import RetryMiddleware
from resilient_client._policies.balancing.balancer import Balancer
from resilient_client._policies.circuit.registry import Circuits
from resilient_client._policies.limits.bulkhead import Permits
from resilient_client._policies.registry import Registry
from resilient_client._policies.retry.budget import RetryBudgets
from resilient_client._settings.config import FollowRedirects
from resilient_client._settings.rate_limit import RateLimit


class Link(NamedTuple):
    """One link of the chain.

    Attributes:
        scope: Whether it runs once per call or once per attempt.
        name: As ``explain`` shows it.
        middleware: The middleware itself.
    """

    scope: Literal["per call", "per attempt"]
    name: str
    middleware: Middleware


def standard_chain(
    *,
    middleware: Sequence[Middleware],
    budgets: RetryBudgets[Endpoint] | None,
    rate_limit: RateLimit | None,
    bulkheads: Registry[Endpoint, Permits] | None,
    circuits: Circuits[Endpoint] | None,
    balancer: Balancer | None = None,
    auth: Auth | None,
    attempt_middleware: Sequence[Middleware],
    follow_redirects: FollowRedirects,
    max_redirects: int,
) -> tuple[Link, ...]:
    """The links between the call and the transport, outermost first; ``None`` leaves a link out.

    Whether a call coalesces or hedges is decided per call. A call that does not passes the same links without that one.
    """
    rejects_for = None if circuits is None else circuits.rejects_for
    chain: list[Link | None] = [
        Link("per call", "deadline", DeadlineMiddleware()) if middleware else None,
        *_checked("per call", middleware),
        Link("per call", "coalesce", CoalesceMiddleware()),
        Link("per call", "retry", RetryMiddleware(budgets, rejects_for=rejects_for, balancer=balancer)),
        Link("per call", "hedging", HedgingMiddleware(budgets)),
        _pick_endpoint(balancer) if balancer is not None else None,
        Link("per attempt", "attempt", AttemptMiddleware()),
        Link("per attempt", "rate limit", RateLimitMiddleware(rate_limit)) if rate_limit is not None else None,
        Link("per attempt", "bulkhead", BulkheadMiddleware(bulkheads)) if bulkheads is not None else None,
        Link("per attempt", "circuit breaker", CircuitBreakerMiddleware(circuits)) if circuits is not None else None,
        Link("per attempt", "auth", AuthMiddleware(auth)) if auth is not None else None,
        *_checked("per attempt", attempt_middleware),
        Link("per attempt", "redirect", RedirectMiddleware(follow_redirects, max_redirects))
        if follow_redirects
        else None,
    ]
    return tuple(link for link in chain if link is not None)


def _pick_endpoint(balancer: Balancer) -> Link:
    return Link("per attempt", f"pick endpoint ({balancer.strategy})", EndpointMiddleware(balancer))


def _checked(scope: Literal["per call", "per attempt"], middlewares: Sequence[Middleware]) -> Iterator[Link]:
    """The links of the user's middlewares."""
    for user in middlewares:
        name = describe(user)
        yield Link(scope, name, CheckedMiddleware(user, name))
