"""What happens to an upstream in the course of a run: outages, stalls, less capacity, errors, slowness.

Descriptions only; ``server`` acts on them. Each has a beginning and, unless it lasts for good, an end. Where several
overlap, all of them hold: factors multiply, the latest outage, error rate or capacity wins.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from resilient_client._settings.base import PositiveSeconds, Ratio, Seconds, Settings

Status: TypeAlias = Annotated[int, Field(ge=400, le=599)]


class _Change(Settings):
    """The base of all changes."""

    at: Seconds
    """When it begins, in seconds of the run."""
    lasting: PositiveSeconds | None = None
    """For how many seconds; ``None``: for good."""
    replica: Annotated[int, Field(ge=0)] | None = None
    """The one replica it befalls, counted from 0; ``None``: all of them."""

    @property
    def ends(self) -> float:
        """When it is over; infinity if never."""
        return math.inf if self.lasting is None else self.at + self.lasting


class Outage(_Change):
    """Nobody is served. What was in hand when it begins is lost, unless ``how`` is ``"error"``."""

    kind: Literal["outage"] = "outage"
    how: Literal["refuse", "reset", "hang", "unreachable", "error"] = "refuse"
    """``refuse``: connections are refused (the process is gone). ``reset``: requests are taken, and the connection
    reset. ``hang``: requests are taken and never answered. ``unreachable``: not even connections come about (the
    network is gone). ``error``: every request is answered at once, with ``status``."""
    status: Status = 503
    """The answer of ``how="error"``."""


class Stall(_Change):
    """Frozen: requests are taken, nothing moves, and at the end all of it goes on (a long GC, a lock, a failover)."""

    kind: Literal["stall"] = "stall"


class Capacity(_Change):
    """Fewer servers, or more."""

    kind: Literal["capacity"] = "capacity"
    servers: Annotated[int, Field(ge=0)]
    """Requests served at once by each replica, instead of ``Upstream.servers``."""


class Slowdown(_Change):
    """Everything takes longer; what has begun already is not affected."""

    kind: Literal["slowdown"] = "slowdown"
    factor: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """What service times are multiplied by."""


class Errors(_Change):
    """A share of the requests fails, after the usual time."""

    kind: Literal["errors"] = "errors"
    rate: Ratio
    """The share, 0 to 1, instead of ``Upstream.error_rate``."""


Change: TypeAlias = Annotated[Outage | Stall | Capacity | Slowdown | Errors, Field(discriminator="kind")]
