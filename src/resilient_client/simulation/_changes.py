"""Changes of an upstream during a run: outages, stalls, another capacity, errors, slowness.

These models only describe a change; ``server`` schedules it and ``replica`` applies it. Each change has a beginning
and, unless it lasts until the end of the run, an end. Where changes overlap, all of them apply: factors multiply, and
the latest outage, error rate or capacity in the list wins.
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
    """How many seconds it lasts. ``None``: until the end of the run."""
    replica: Annotated[int, Field(ge=0)] | None = None
    """The only replica that it affects, counted from 0. ``None``: all replicas."""

    @property
    def ends(self) -> float:
        """When it ends, in seconds of the run; infinity if it does not end."""
        return math.inf if self.lasting is None else self.at + self.lasting


class Outage(_Change):
    """The upstream serves no request. Requests in progress when it begins are lost, unless ``how`` is ``"error"``."""

    kind: Literal["outage"] = "outage"
    how: Literal["refuse", "reset", "hang", "unreachable", "error"] = "refuse"
    """``refuse``: connections are refused (the process is gone). ``reset``: requests are accepted, and the connection
    is reset. ``hang``: requests are accepted and never answered. ``unreachable``: connections are not established
    (the network is gone). ``error``: every request is answered at once, with ``status``."""
    status: Status = 503
    """The status of the answers with ``how="error"``."""


class Stall(_Change):
    """The upstream freezes: it accepts requests, and all work pauses until the end (a long GC, a lock, a failover)."""

    kind: Literal["stall"] = "stall"


class Capacity(_Change):
    """Another number of servers, lower or higher."""

    kind: Literal["capacity"] = "capacity"
    servers: Annotated[int, Field(ge=0)]
    """Requests that each replica serves at once, instead of ``Upstream.servers``."""


class Slowdown(_Change):
    """Longer service times. Requests that are being served when it begins are not affected."""

    kind: Literal["slowdown"] = "slowdown"
    factor: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """The factor by which service times are multiplied."""


class Errors(_Change):
    """A share of the requests fails, after the usual service time."""

    kind: Literal["errors"] = "errors"
    rate: Ratio
    """The share, 0 to 1, instead of ``Upstream.error_rate``."""


Change: TypeAlias = Annotated[Outage | Stall | Capacity | Slowdown | Errors, Field(discriminator="kind")]
