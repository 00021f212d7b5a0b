"""All settings of a client in one object, for programs that load them from a file or the environment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, cast

from pydantic import Field, InstanceOf, field_validator

from resilient_client._core.models import MAX_JSON_VALUES
from resilient_client._core.types import Priority
from resilient_client._core.validation import TOKEN, shorten
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
    """The settings of all patterns. ``None`` turns a pattern off. Keywords of the client take precedence over them."""

    _label = ""  # its fields are keywords of the client
    _secrets = ConnectionSettings._secrets
    _hints: ClassVar[dict[str, str]] = {
        "timeout": "seconds, text such as '500ms', Timeout(total=..., attempt=..., connect=..., idle=...), "
        "or None for no limit",
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
        "max_redirects": "a whole number from 1 to 100",
        "raise_for_status": "True or False",
        "max_json_values": "a whole number, 1 or more, or None for no limit",
    }

    timeout: Timeout | None = Field(default_factory=Timeout)
    """How long a call and its parts may take."""
    retry: Retry | None = Field(default_factory=Retry)
    """When an attempt is repeated. ``None``: exactly one wire request per call."""
    retry_budget: RetryBudget | None = Field(default_factory=RetryBudget)
    """The bound on retries in an outage. ``None``: no bound."""
    circuit_breaker: CircuitBreaker | None = Field(default_factory=CircuitBreaker)
    """When a failing endpoint gets no more attempts. ``None``: no circuits."""
    hedging: Hedging | None = None
    """When a second attempt is started alongside a slow one. ``None``: never."""
    rate_limit: RateLimit | None = None
    """How many attempts may be sent to one endpoint per unit of time. ``None``: no limit."""
    bulkhead: Bulkhead | AdaptiveConcurrency | None = None
    """How many attempts to one endpoint may be in flight at once, a fixed or a learnt number. ``None``: no limit."""
    priority: Priority = "user"
    """The order in which calls get a permit of the bulkhead: ``user`` first, then ``batch``, then ``probe``."""
    fallback: InstanceOf[Fallback] | None = None
    """What a call returns in place of an error. ``None``: the error is raised."""
    coalesce: bool = False
    """Whether equal GET and HEAD calls at the same time share one flight."""
    load_balancing: LoadBalancing = Field(default_factory=LoadBalancing)
    """Which endpoint an attempt goes to, without effect for a client of one endpoint."""
    connection: ConnectionSettings = Field(default_factory=ConnectionSettings)
    """How connections are made and kept."""
    follow_redirects: FollowRedirects = "same-origin"
    """``"same-origin"``, ``"any"`` (no credentials and no body cross an origin), or ``None``: no redirects."""
    max_redirects: Annotated[int, Field(ge=1, le=100)] = 5
    """How many redirects may follow each other within one attempt, 1 to 100."""
    raise_for_status: bool = True
    """Whether a 4xx or 5xx reply raises. If not, it is returned."""
    max_json_values: Annotated[int, Field(ge=1)] | None = MAX_JSON_VALUES
    """Values in a JSON body that ``json()``, ``parse()`` and ``response_model`` accept, counted by its commas and
    brackets. A million take some 100 MB and half a second, during which nothing else runs. ``None``: no limit."""
    idempotency_header: str = "Idempotency-Key"
    """The header that carries an idempotency key."""

    @field_validator("idempotency_header")
    @classmethod
    def _check_header_name(cls, value: str) -> str:
        if not TOKEN.fullmatch(value):
            raise ValueError(f"{shorten(value)} is not a header name; give one such as 'Idempotency-Key'")
        return value

    @field_validator("bulkhead", mode="before")
    @classmethod
    def _select_bulkhead(cls, value: object) -> object:
        if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
            return (Bulkhead if "max_concurrent" in value else AdaptiveConcurrency)(**value)
        return value

    @field_validator("timeout", mode="before")
    @classmethod
    def _read_total(cls, value: object) -> object:
        if isinstance(value, (int, float, str, timedelta)) and not isinstance(value, bool):
            return Timeout(total=cast("float", value))
        return value
