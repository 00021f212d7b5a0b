"""The description of a scenario: upstreams, callers, load, duration, and faults. ``run`` runs it."""

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
    """A group of equal clients that call one upstream: the processes of a service, a fleet of phones, a batch job."""

    name: Name
    """The name of the group."""
    calls: Name
    """The upstream that it calls."""
    clients: Annotated[int, Field(ge=1)] = 1
    """The number of clients. Each is an ``APIClient`` with its own circuits, budget, connections and randomness."""
    arrivals: Arrivals = Poisson(rate=1.0)
    """When calls start: ``Poisson``, ``Steady``, ``Herd``, ``ClosedLoop``, a number (calls per second of each client),
    or a custom function."""
    config: ClientConfig = Field(default_factory=ClientConfig)
    """The settings of the clients."""
    client: Callable[..., APIClient] = APIClient
    """Makes a client. It is called with the arguments of ``APIClient``, and may add middlewares or auth."""
    method: str = "GET"
    """The method of every call."""
    path: str = "/"
    """The path of every call."""
    idempotent: bool | None = None
    """Whether calls may be repeated safely. ``None``: the method decides."""


class Network(Settings):
    """The network between clients and upstreams. Connections follow the clients' ``ConnectionSettings``."""

    round_trip: Distribution = Constant(seconds=0.001)
    """Seconds of a round trip. A request takes one, all of it before it arrives; a new connection takes one more."""


class Scenario(Settings):
    """A whole system, and what happens to it during a run."""

    name: str = "scenario"
    """The name of the scenario."""
    upstreams: Annotated[tuple[Upstream, ...], Field(min_length=1)]
    """The upstreams."""
    callers: Annotated[tuple[Callers, ...], Field(min_length=1)]
    """The groups of callers."""
    duration: PositiveSeconds
    """Seconds during which calls start. Calls in progress at the end are continued until they end."""
    network: Network = Field(default_factory=Network)
    """The network."""
    seed: int = 1
    """The seed of all random generators, unless ``simulate`` is given another one."""

    def with_config(self, over: ClientConfig) -> Self:
        """Return the same scenario in which ``over`` overrides the settings of every client, field by field."""
        return self.model_copy(
            update={
                "upstreams": tuple(_configured(upstream, over) for upstream in self.upstreams),
                "callers": tuple(_configured(group, over) for group in self.callers),
            }
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all groups of callers, and of all upstreams."""
        return (*(group.name for group in self.callers), *(upstream.name for upstream in self.upstreams))

    @property
    def incident(self) -> tuple[float, float] | None:
        """The time from the beginning of the first change to the end of the last one, among the changes that end.

        Changes of upstreams and of rates count, and the calls of a ``Herd``. ``None``: there is no such change.
        """
        changes = [(change.at, change.ends) for upstream in self.upstreams for change in upstream.changes]
        for group in self.callers:
            if isinstance(group.arrivals, Poisson | Steady):
                changes += [(change.at, change.ends) for change in group.arrivals.changes]
            elif isinstance(group.arrivals, Herd):
                changes.append((group.arrivals.at, group.arrivals.at))
        ending = [(at, ends) for at, ends in changes if ends < math.inf]
        return (min(at for at, _ in ending), max(ends for _, ends in ending)) if ending else None

    def demand(self, upstream: str) -> dict[str, int]:
        """Requests to ``upstream`` that one call of each group of callers leads to, without any repeats."""
        return {group.name: self._requests_to(upstream, group.calls) for group in self.callers}

    def _requests_to(self, upstream: str, called: str) -> int:
        """Count the paths from one upstream to another; they are finite, as no upstream calls itself."""
        if called == upstream:
            return 1
        return sum(self._requests_to(upstream, further) for further in self._upstream(called).calls)

    def _upstream(self, name: str) -> Upstream:
        return next(upstream for upstream in self.upstreams if upstream.name == name)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [upstream.name for upstream in self.upstreams]
        duplicates = sorted({name for name in self.names if self.names.count(name) > 1})
        if duplicates:
            raise ValueError(
                f"the name {duplicates[0]!r} is used twice; give each upstream and group of callers its own name"
            )
        calls = {upstream.name: upstream.calls for upstream in self.upstreams}
        calls |= {group.name: (group.calls,) for group in self.callers}
        for caller, called in calls.items():
            if unknown := sorted(set(called) - set(names)):
                raise ValueError(
                    f"{caller!r} calls {unknown[0]!r}, which is not an upstream; there are: {', '.join(names)}"
                )
        for name in names:
            if _calls_itself(name, calls, (name,)):
                raise ValueError(f"{name!r} calls itself, directly or through others; remove the cycle")
        return self


def _configured(part: P, over: ClientConfig) -> P:
    return part.model_copy(update={"config": part.config.merge(over)})


def _calls_itself(name: str, calls: Mapping[str, tuple[str, ...]], path: tuple[str, ...]) -> bool:
    return any(called in path or _calls_itself(called, calls, (*path, called)) for called in calls[name])
