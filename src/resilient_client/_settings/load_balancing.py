"""Which of several endpoints an attempt goes to, and which of them is left out for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from resilient_client._settings.base import PositiveSeconds, Ratio, Seconds, Settings

Strategy = Literal["least_loaded", "round_robin", "ordered"]
"""How one of several endpoints is picked."""

Resolve = Callable[[], Awaitable[Iterable[str]]]
"""An async function that gives the endpoints there are now, as base URLs."""


class HealthCheck(Settings):
    """A request to each endpoint from time to time, beside the calls: without credentials, circuit or retries.

    The first answer decides; from then on it takes several in a row to change what is thought of an endpoint.
    """

    path: str = "/health"
    """What is asked for, with GET, from the root of the endpoint. Any status from 200 to 299 is a good answer."""
    interval: PositiveSeconds = 5.0
    """Seconds between two rounds; chance adds up to a tenth, so that a fleet does not ask in step."""
    timeout: PositiveSeconds = 1.0
    """Seconds within which the answer must be there."""
    rise: Annotated[int, Field(ge=1)] = 2
    """Good answers in a row that bring an endpoint back."""
    fall: Annotated[int, Field(ge=1)] = 3
    """Bad ones in a row that take it out."""

    @field_validator("path")
    @classmethod
    def _from_the_root(cls, value: str) -> str:
        if not value.startswith("/") or value.startswith("//") or any(c.isspace() or c in "#\\" for c in value):
            raise ValueError(f"{value!r} is no path; give one such as '/health'")
        return value


class LoadBalancing(Settings):
    """How an attempt finds its endpoint among several that serve the same.

    An endpoint whose circuit refuses is never chosen while another admits, and the next attempt of a call goes to
    one that the call has not tried. Beyond that, one that fails or is slow is *ejected*: passed over for a while.
    """

    _ordered = (("ejection", "max_ejection"),)
    _hints: ClassVar[dict[str, str]] = {"resolve": "an async function that returns a list of base URLs, or None"}

    strategy: Strategy = "least_loaded"
    """``least_loaded``: of two drawn by chance the one that promises the earlier answer. ``round_robin``: in turn.
    ``ordered``: always the first that is well; the others are backups."""
    decay: PositiveSeconds = 10.0
    """Seconds in which what is known of an endpoint's latency fades to about a third."""
    eject_failures: Annotated[int, Field(ge=1)] | None = 5
    """Failures in a row that eject; ``None``: failures do not (but open the circuit)."""
    eject_slow: Annotated[float, Field(gt=1, allow_inf_nan=False)] | None = 10.0
    """How many times slower than the others ejects, by the medians of the latest replies; ``None``: slowness does
    not."""
    ejection: PositiveSeconds = 10.0
    """Seconds of a first ejection; doubles each time the endpoint comes back unwell."""
    max_ejection: PositiveSeconds = 30.0
    """The longest, in seconds, before jitter; and how long an endpoint must be well for the doubling to start over."""
    max_ejected: Ratio = 0.5
    """The share of the endpoints that may be ejected at once: one in any case, but never the last that is well."""
    panic_below: Ratio = 0.5
    """When a smaller share than this is well, nobody is passed over: the few would not bear the load of all."""
    slow_start: Seconds = 10.0
    """Seconds in which the share of an endpoint that is new or came back grows to a full one, from a tenth."""
    health_check: HealthCheck | None = None
    """Asks each endpoint from time to time; ``None``: only calls tell how it fares."""
    resolve: Resolve | None = None
    """Gives the endpoints anew from time to time, for instance from a service registry; ``None``: they stay."""
    resolve_interval: PositiveSeconds = 30.0
    """Seconds between two resolutions, and the longest one may take."""

    @field_validator("health_check", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return HealthCheck(path=value) if isinstance(value, str) else value
