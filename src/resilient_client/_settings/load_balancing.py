"""Which endpoint an attempt goes to, and which endpoints are ejected for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from resilient_client._core.validation import shorten
from resilient_client._settings.base import PositiveSeconds, Ratio, Seconds, Settings

Strategy = Literal["least_loaded", "round_robin", "ordered"]
"""How the endpoint of an attempt is picked."""

Resolve = Callable[[], Awaitable[Iterable[str]]]
"""An async function that returns the present endpoints, as base URLs."""


class HealthCheck(Settings):
    """A regular request to each endpoint, independent of the calls: without credentials, circuit or retries.

    The first answer decides. After that it takes ``rise`` or ``fall`` answers in a row to change the verdict.
    """

    path: str = "/health"
    """The path of the GET request, from the root of the endpoint. Any status from 200 to 299 is a good answer."""
    interval: PositiveSeconds = 5.0
    """Seconds between two rounds. Jitter adds up to a tenth, so that the clients of a fleet do not check in step."""
    timeout: PositiveSeconds = 1.0
    """Seconds within which the answer must have come."""
    rise: Annotated[int, Field(ge=1)] = 2
    """Good answers in a row that bring an endpoint back."""
    fall: Annotated[int, Field(ge=1)] = 3
    """Bad answers in a row that take it out."""

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str) -> str:
        if not value.startswith("/") or value.startswith("//") or any(c.isspace() or c in "#\\" for c in value):
            raise ValueError(f"{shorten(value)} is not a path; give one such as '/health'")
        return value


class LoadBalancing(Settings):
    """How the endpoint of an attempt is picked among those that serve the same.

    An endpoint whose circuit refuses is never picked while another admits, and the next attempt of a call goes to an
    endpoint that the call has not tried. In addition, an endpoint that fails or is slow is *ejected*: passed over for a
    while.
    """

    _ordered = (("ejection_time", "max_ejection_time"),)
    _hints: ClassVar[dict[str, str]] = {"resolve": "an async function that returns a list of base URLs, or None"}

    strategy: Strategy = "least_loaded"
    """``least_loaded``: the one of two random endpoints whose answer is expected earlier. ``round_robin``: in rotation.
    ``ordered``: always the first healthy one. The others are backups."""
    decay: PositiveSeconds = 10.0
    """Seconds in which an observed latency loses all but about a third of its weight."""
    eject_failures: Annotated[int, Field(ge=1)] | None = 5
    """Failures in a row that eject an endpoint. ``None``: failures do not eject (but they open the circuit)."""
    eject_slow: Annotated[float, Field(gt=1, allow_inf_nan=False)] | None = 10.0
    """An endpoint is ejected when it is this many times as slow as the others, by the medians of the latest replies.
    ``None``: slowness does not eject."""
    ejection_time: PositiveSeconds = 10.0
    """Seconds of a first ejection. It doubles each time the endpoint is ejected again soon after it came back."""
    max_ejection_time: PositiveSeconds = 30.0
    """The longest ejection in seconds, before jitter. An endpoint that was healthy for so long starts over with the
    first."""
    max_ejected_ratio: Ratio = 0.5
    """The share of the endpoints that may be ejected at once: at least one endpoint, but never the last healthy one."""
    panic_below: Ratio = 0.5
    """When a smaller share than this is healthy, no endpoint is passed over: the few would not bear the load of all."""
    slow_start: Seconds = 10.0
    """Seconds in which the share of an endpoint that is new or came back grows from a tenth to the full one."""
    health_check: HealthCheck | None = None
    """The regular check of each endpoint. ``None``: endpoints are judged by the calls only."""
    resolve: Resolve | None = None
    """Called regularly for the present endpoints, for example from a service registry. ``None``: they do not change."""
    resolve_interval: PositiveSeconds = 30.0
    """Seconds between two resolutions, and the most that one may take."""

    @field_validator("health_check", mode="before")
    @classmethod
    def _read_path(cls, value: Any) -> Any:
        return HealthCheck(path=value) if isinstance(value, str) else value
