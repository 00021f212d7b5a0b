"""All settings of a client in one object, for those who load them from somewhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar, Literal, cast

from pydantic import Field, InstanceOf, field_validator

from resilient_client._core.types import Priority
from resilient_client._core.validation import TOKEN
from resilient_client._settings.base import Settings
from resilient_client._settings.bulkhead import AdaptiveConcurrency, Bulkhead
from resilient_client._settings.circuit_breaker import CircuitBreaker
from resilient_client._settings.connection import ConnectionSettings
from resilient_client._settings.fallback import Fallback
from resilient_client._settings.hedging import Hedging
from resilient_client._settings.load_balancing import LoadBalancing
from resilient_client._settings.rate_limit import RateLimit
from resilient_client._settings.retry import Retry, RetryBudget
from resilient_client._settings.timeout import Timeout

FollowRedirects = Literal["same-origin", "any"] | None


class ClientConfig(Settings):
    """Every pattern's settings; ``None`` switches a pattern off. Keywords given to the client lie over these."""

    _speaks_as = ""  # its fields are keywords of the client
    _hints: ClassVar[dict[str, str]] = {
        "timeout": "seconds, text such as '500ms', Timeout(total=..., attempt=...), or None for no limit",
        "retry": "Retry(max_attempts=3), or None for no retries",
        "retry_budget": "RetryBudget(...), or None for no bound on retries",
        "circuit_breaker": "CircuitBreaker(...), or None for none",
        "hedging": "Hedging(...), or None for no hedges",
        "rate_limit": "RateLimit(rate=...), or None for none",
        "bulkhead": "Bulkhead(max_concurrent=...), AdaptiveConcurrency(), or None for none",
        "priority": "'user', 'batch' or 'probe'",
        "fallback": "Fallback(value), Fallback(function of the error), Fallback(Call.get(...)), or None for none",
        "coalesce": "True or False",
        "load_balancing": "LoadBalancing(strategy=...)",
        "connection": "ConnectionSettings(...)",
        "follow_redirects": "'same-origin', 'any', or None to follow none",
        "raise_for_status": "True or False",
    }

    timeout: Timeout | None = Field(default_factory=Timeout)
    """How long things may take."""
    retry: Retry | None = Field(default_factory=Retry)
    """When an attempt is repeated; ``None``: exactly one wire request a call."""
    retry_budget: RetryBudget | None = Field(default_factory=RetryBudget)
    """What bounds retries in an outage."""
    circuit_breaker: CircuitBreaker | None = Field(default_factory=CircuitBreaker)
    """When a failing endpoint is left alone."""
    hedging: Hedging | None = None
    """When a second attempt is started beside a slow one; ``None``: never."""
    rate_limit: RateLimit | None = None
    """How many attempts may be sent to one endpoint in a stretch of time."""
    bulkhead: Bulkhead | AdaptiveConcurrency | None = None
    """How many attempts to one endpoint may be under way at once: a fixed number, or one that is learnt."""
    priority: Priority = "user"
    """Who goes first where calls wait for a permit of the bulkhead: ``user``, then ``batch``, then ``probe``."""
    fallback: InstanceOf[Fallback] | None = None
    """What calls give in place of an error; ``None``: nothing, the error is raised."""
    coalesce: bool = False
    """Whether GET and HEAD calls that are alike, at the same time, share one flight."""
    load_balancing: LoadBalancing = Field(default_factory=LoadBalancing)
    """Which of several endpoints an attempt goes to; means nothing for a client of one."""
    connection: ConnectionSettings = Field(default_factory=ConnectionSettings)
    """How connections are made and kept."""
    follow_redirects: FollowRedirects = "same-origin"
    """``"same-origin"``, ``"any"`` (no credentials and no body cross an origin), or ``None``: not at all."""
    raise_for_status: bool = True
    """Whether a 4xx or 5xx reply raises; if not, it is returned."""
    idempotency_header: str = "Idempotency-Key"
    """The header that carries an idempotency key."""

    @field_validator("idempotency_header")
    @classmethod
    def _header_name(cls, value: str) -> str:
        if not TOKEN.fullmatch(value):
            raise ValueError(f"{value!r} is no header name; give one such as 'Idempotency-Key'")
        return value

    @field_validator("bulkhead", mode="before")
    @classmethod
    def _fixed_or_learnt(cls, value: object) -> object:
        if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
            return (Bulkhead if "max_concurrent" in value else AdaptiveConcurrency)(**value)
        return value

    @field_validator("timeout", mode="before")
    @classmethod
    def _total_seconds(cls, value: object) -> object:
        if isinstance(value, (int, float, str, timedelta)) and not isinstance(value, bool):
            return Timeout(total=cast("float", value))
        return value
