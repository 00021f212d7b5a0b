"""A scenario: who calls whom, how often, for how long, and what goes wrong meanwhile. Describes; ``run`` runs it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Self, TypeVar

from pydantic import Field, model_validator

from resilient_client._client.client import APIClient
from resilient_client._settings.base import PositiveSeconds, Settings
from resilient_client._settings.config import ClientConfig
from resilient_client.simulation._arrivals import Arrivals, Herd, Poisson, Steady
from resilient_client.simulation._distributions import Constant, Distribution
from resilient_client.simulation._upstream import Name, Upstream

P = TypeVar("P", "Upstream", "Callers")


class Callers(Settings):
    """A group of clients that call one upstream: a service with its replicas, a fleet of phones, a batch job."""

    name: Name
    """What the group is called."""
    calls: Name
    """The upstream it calls."""
    clients: Annotated[int, Field(ge=1)] = 1
    """How many there are, each an ``APIClient`` with circuits, budget, connections and chance of its own."""
    arrivals: Arrivals = Poisson(rate=1.0)
    """When they call: ``Poisson``, ``Steady``, ``Herd``, ``ClosedLoop``, calls per second by each client, or a
    function of your own."""
    config: ClientConfig = Field(default_factory=ClientConfig)
    """Their settings."""
    client: Callable[..., APIClient] = APIClient
    """What makes a client, called with the arguments of ``APIClient``; for middlewares and auth of your own."""
    method: str = "GET"
    """The method of every call."""
    path: str = "/"
    """The path of every call."""
    idempotent: bool | None = None
    """Whether a repeat is harmless; ``None``: as the method says."""


class Network(Settings):
    """The wire between any two. Connections are kept and limited as ``ConnectionSettings`` say."""

    round_trip: Distribution = Constant(seconds=0.001)
    """Seconds there and back. A request costs one, spent on the way there; a new connection one more."""


class Scenario(Settings):
    """A whole system, and a stretch of its life."""

    name: str = "scenario"
    """What it is called."""
    upstreams: Annotated[tuple[Upstream, ...], Field(min_length=1)]
    """Who is called."""
    callers: Annotated[tuple[Callers, ...], Field(min_length=1)]
    """Who calls."""
    duration: PositiveSeconds
    """Seconds in which calls begin; those under way at the end are seen to their own end."""
    network: Network = Field(default_factory=Network)
    """The wire."""
    seed: int = 1
    """Where all chance comes from, unless the run is given another."""

    def with_config(self, over: ClientConfig) -> Self:
        """The same scenario with these settings laid over those of every client, field by field."""
        return self.model_copy(
            update={
                "upstreams": tuple(_configured(upstream, over) for upstream in self.upstreams),
                "callers": tuple(_configured(group, over) for group in self.callers),
            }
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of all groups of callers and all upstreams."""
        return (*(group.name for group in self.callers), *(upstream.name for upstream in self.upstreams))

    @property
    def trouble(self) -> tuple[float, float] | None:
        """When the first change begins and the last one ends, of those that end; ``None``: nothing changes."""
        changes = [(change.at, change.ends) for upstream in self.upstreams for change in upstream.changes]
        for group in self.callers:
            if isinstance(group.arrivals, Poisson | Steady):
                changes += [(change.at, change.ends) for change in group.arrivals.changes]
            elif isinstance(group.arrivals, Herd):
                changes.append((group.arrivals.at, group.arrivals.at))
        ending = [(at, ends) for at, ends in changes if ends < math.inf]
        return (min(at for at, _ in ending), max(ends for _, ends in ending)) if ending else None

    def demand(self, upstream: str) -> dict[str, int]:
        """How many requests to ``upstream`` one call of each group of callers stands for, if nobody repeats any."""
        return {group.name: self._visits(group.calls, upstream) for group in self.callers}

    def _visits(self, called: str, upstream: str) -> int:
        if called == upstream:
            return 1
        return sum(self._visits(further, upstream) for further in self._upstream(called).calls)

    def _upstream(self, name: str) -> Upstream:
        return next(upstream for upstream in self.upstreams if upstream.name == name)

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [upstream.name for upstream in self.upstreams]
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} names two things; give each upstream and group of callers its own name")
        calls = {upstream.name: upstream.calls for upstream in self.upstreams}
        calls |= {group.name: (group.calls,) for group in self.callers}
        for caller, called in calls.items():
            if unknown := sorted(set(called) - set(names)):
                raise ValueError(
                    f"{caller!r} calls {unknown[0]!r}, which is no upstream; there are: {', '.join(names)}"
                )
        for name in names:
            if _calls_itself(name, calls, (name,)):
                raise ValueError(f"{name!r} calls itself, directly or through others; break the circle")
        return self


def _configured(part: P, over: ClientConfig) -> P:
    return part.model_copy(update={"config": part.config.merge(over)})


def _calls_itself(name: str, calls: Mapping[str, tuple[str, ...]], path: tuple[str, ...]) -> bool:
    return any(called in path or _calls_itself(called, calls, (*path, called)) for called in calls[name])
