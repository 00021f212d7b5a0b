"""When a failed attempt is followed by another, and after which delay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field, field_validator

from resilient_client._settings.base import PositiveSeconds, Ratio, Seconds, Settings

BackoffKind = Literal[
    "fixed", "linear", "exponential", "full_jitter", "equal_jitter", "additive_jitter", "decorrelated"
]


class Backoff(Settings):
    """The delay before attempt ``n + 1``. ``base(n)`` is ``initial * multiplier ** (n - 1)``, at most ``max_delay``.

    ``fixed``: ``initial``. ``linear``: ``initial * n``. ``exponential``: ``base(n)``. ``full_jitter``: uniform in
    ``[0, base(n)]``. ``equal_jitter``: uniform in ``[base(n) / 2, base(n)]``. ``additive_jitter``: ``base(n)``
    plus uniform in ``[0, initial]``. ``decorrelated``: uniform in ``[initial, 3 * previous delay]``, where
    the delay before the first is ``initial``. All are capped by ``max_delay``. Without jitter, callers that
    failed together come back together: see *Exponential Backoff And Jitter* (Brooker, AWS, 2015).
    """

    _ordered = (("initial", "max_delay"),)

    kind: BackoffKind = "full_jitter"
    """The formula. The default spreads callers best."""
    initial: PositiveSeconds = 0.2
    """The first step, in seconds."""
    multiplier: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 2.0
    """Growth from one attempt to the next."""
    max_delay: PositiveSeconds = 10.0
    """The longest delay, in seconds. It does not bound ``Retry-After``, see ``Retry.max_retry_after``."""


class Retry(Settings):
    """How a failed attempt is repeated. ``retry=None`` on a client or call means exactly one wire request.

    Repeated are idempotent methods (RFC 9110 section 9.2.2), calls with an idempotency key or ``idempotent=True``, and
    for any method the attempts that failed before a byte was sent.
    """

    _hints: ClassVar[dict[str, str]] = {
        "backoff": "Backoff(...), the name of one of its kinds, or a callable such as a tenacity wait",
        "statuses": "a set of statuses from 400 to 599",
    }

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """The largest number of attempts, the first included."""
    backoff: Backoff | Callable[[Any], float] = Backoff()
    """A ``Backoff`` (or its fields as a mapping), or any tenacity wait: a callable that takes a retry state with
    ``attempt_number`` and returns seconds."""
    statuses: frozenset[Annotated[int, Field(ge=400, le=599)]] = frozenset({408, 429, 500, 502, 503, 504})
    """The retryable statuses of replies."""
    max_retry_after: Seconds = 60.0
    """A ``Retry-After`` above this many seconds ends the retrying: the reply is returned at once."""
    throttled_delay: Seconds = 1.0
    """Seconds to wait at least after the first 429 without ``Retry-After``: a server that asks for fewer requests does
    not mean 0.1 s. It grows with ``Backoff.multiplier``, is at most ``Backoff.max_delay``, and is up to doubled by
    jitter. (The AWS SDKs start at 1 s, .NET at 2 s.) A callable as ``backoff`` decides alone."""

    @field_validator("backoff", mode="before")
    @classmethod
    def _read_backoff(cls, value: object) -> object:
        if isinstance(value, str):
            return Backoff(kind=cast("BackoffKind", value))
        return Backoff(**value) if isinstance(value, Mapping) and all(isinstance(k, str) for k in value) else value


class RetryBudget(Settings):
    """The bound on retries (and hedges) in an outage: a bucket of tokens per client and upstream.

    Every answered call deposits ``max_extra_load``. A retry after a timeout takes 5 tokens, any other takes 1. When the
    bucket is empty, the last error is raised. Jittered backoff alone does not prevent a retry storm, but a budget does.
    """

    _ordered = (("initial", "burst"),)

    max_extra_load: Ratio = 0.2
    """The share of extra attempts in the long run: the tokens deposited by each call whose answer is not a failure."""
    initial: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0
    """Tokens at the start, at most ``burst``."""
    burst: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 9.0
    """The tokens a bucket holds. The default allows one retry after a timeout, not two: in a stall, each client of a
    fleet has a full bucket, so the retries of all clients add up."""
    min_per_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    """Tokens that accrue per second without a deposit. Keep it tiny: in a fleet of small processes, they add up and
    defeat the budget."""
