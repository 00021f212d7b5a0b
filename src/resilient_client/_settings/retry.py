"""When a failed attempt is followed by another, and after how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field, field_validator

from resilient_client._settings.base import PositiveSeconds, Ratio, Seconds, Settings

BackoffKind = Literal[
    "fixed", "linear", "exponential", "full_jitter", "equal_jitter", "additive_jitter", "decorrelated"
]


class Backoff(Settings):
    """The pause before attempt ``n + 1``; ``base(n)`` is ``initial * multiplier ** (n - 1)``, at most ``maximum``.

    ``fixed``: ``initial``. ``linear``: ``initial * n``. ``exponential``: ``base(n)``. ``full_jitter``: uniform in
    ``[0, base(n)]``. ``equal_jitter``: uniform in ``[base(n) / 2, base(n)]``. ``additive_jitter``: ``base(n)``
    plus uniform in ``[0, initial]``. ``decorrelated``: uniform in ``[initial, 3 * previous pause]``, where a
    first pause takes ``initial`` for the previous. All are capped by ``maximum``. Without jitter, callers that
    failed together come back together: see *Exponential Backoff And Jitter* (Brooker, AWS, 2015).
    """

    _ordered = (("initial", "maximum"),)

    kind: BackoffKind = "full_jitter"
    """The law; the default spreads callers best."""
    initial: PositiveSeconds = 0.2
    """The first step, in seconds."""
    multiplier: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 2.0
    """Growth from one attempt to the next."""
    maximum: PositiveSeconds = 10.0
    """The longest pause, in seconds. ``Retry-After`` is not bound by it, see ``Retry.retry_after_cap``."""


class Retry(Settings):
    """How a failed attempt is repeated. ``retry=None`` on a client or call means exactly one wire request.

    Repeated are idempotent methods (RFC 9110 section 9.2.2), calls with an idempotency key or
    ``idempotent=True``, and for any method failures that never left this machine.
    """

    _hints: ClassVar[dict[str, str]] = {
        "backoff": "Backoff(...), the name of one of its kinds, or a callable such as a tenacity wait",
        "statuses": "a set of statuses from 400 to 599",
    }

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """How many attempts at the most, the first included."""
    backoff: Backoff | Callable[[Any], float] = Backoff()
    """A ``Backoff`` (or its fields as a mapping), or any tenacity wait: a callable that takes a retry state with
    ``attempt_number`` and returns seconds."""
    statuses: frozenset[Annotated[int, Field(ge=400, le=599)]] = frozenset({408, 429, 500, 502, 503, 504})
    """The reply statuses that another attempt may heal."""
    retry_after_cap: Seconds = 60.0
    """A ``Retry-After`` above this many seconds is not waited for: the reply is given back at once."""

    @field_validator("backoff", mode="before")
    @classmethod
    def _read_backoff(cls, value: object) -> object:
        if isinstance(value, str):
            return Backoff(kind=cast("BackoffKind", value))
        return Backoff(**value) if isinstance(value, Mapping) and all(isinstance(k, str) for k in value) else value


class RetryBudget(Settings):
    """What bounds retries (and hedges) in an outage: a bucket of tokens per client and upstream.

    Every call that got through deposits ``ratio``; a retry after a timeout takes 5 tokens, any other takes 1.
    When the bucket is empty the last real error is raised. Jittered backoff alone does not prevent a retry
    storm; a budget does.
    """

    _ordered = (("initial", "burst"),)

    ratio: Ratio = 0.2
    """Tokens deposited by each call that got an answer which is no failure."""
    initial: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0
    """Tokens at the start, at most ``burst``."""
    burst: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 9.0
    """The most the bucket holds. By default that is one retry after a timeout, not two: in a stall, a fleet of small
    clients, each with a full bucket, sends for every call what one of them is allowed."""
    min_per_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    """Tokens that trickle in by themselves. Keep it tiny: in a fleet of small processes a floor defeats the budget."""
