"""The part of a run that is drawn: one upstream and its callers, second by second. Pure functions.

Of several upstreams the first one with an incident is drawn, or the first one if none has any.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from resilient_client._settings.config import ClientConfig
from resilient_client.simulation import Herd, Poisson, Run, Scenario, Steady

T = TypeVar("T")


class Series(NamedTuple):
    """A run, second by second. All series have one value per second of the scenario.

    Attributes:
        offered: Requests that the upstream would get if every call were sent once.
        attempts: Requests sent to it.
        goodput: Successful calls, in the unit of ``offered``: a call counts once per request that it needs.
        open: The share of its callers' circuits that are open, 0 to 1, or ``None`` if there are no circuits.
        half_open: The share of the circuits that are half-open, 0 to 1.
    """

    offered: tuple[float, ...]
    attempts: tuple[float, ...]
    goodput: tuple[float, ...]
    open: tuple[float, ...] | None
    half_open: tuple[float, ...] | None


class Incident(NamedTuple):
    """A period in which the upstream does not work as usual, or its callers call more or less than usual."""

    name: str
    begins: float
    ends: float


def focus_upstream(scenario: Scenario) -> str:
    """Return the name of the upstream that is drawn."""
    affected = (upstream.name for upstream in scenario.upstreams if upstream.changes)
    return next(affected, scenario.upstreams[0].name)


def series_of(run: Run, upstream: str) -> Series:
    """Return the series of ``upstream`` in ``run``."""
    scenario = run.scenario
    length = math.ceil(scenario.duration)
    demand = scenario.demand(upstream)
    groups = [(run.calls[group], each) for group, each in demand.items()]
    opened = half = None
    if count := _circuits(scenario, upstream):
        states = _resize(run.circuits(upstream), length, (0, 0))
        opened = tuple(min(1.0, number / count) for number, _ in states)
        half = tuple(min(1.0, number / count) for _, number in states)
    return Series(
        _sum(((calls.offered, each) for calls, each in groups), length),
        tuple(map(float, _resize(run.upstreams[upstream].load, length, 0))),
        _sum(((calls.goodput, each) for calls, each in groups), length),
        opened,
        half,
    )


def incidents_of(scenario: Scenario, upstream: str) -> list[Incident]:
    """Return the incidents of the upstream and of its callers' rates, in order of time."""
    end = scenario.duration
    found = [
        Incident(change.kind, change.at, min(end, change.ends))
        for each in scenario.upstreams
        if each.name == upstream
        for change in each.changes
    ]
    for group in scenario.callers:
        if isinstance(group.arrivals, Poisson | Steady):
            usual = group.arrivals.rate
            found += [
                Incident("spike" if change.rate > usual else "lull", change.at, min(end, change.ends))
                for change in group.arrivals.changes
            ]
        elif isinstance(group.arrivals, Herd):
            found.append(Incident("herd", group.arrivals.at, group.arrivals.at + 1))
    return sorted(
        (incident for incident in found if incident.begins < end), key=lambda incident: (incident.begins, incident.ends)
    )


def _circuits(scenario: Scenario, upstream: str) -> int:
    """Return how many circuits there are for the upstream, over all its callers."""
    groups = [(group.config, group.clients) for group in scenario.callers if group.calls == upstream]
    groups += [(each.config, each.replicas) for each in scenario.upstreams if upstream in each.calls]
    return sum(count for config, count in groups if _has_circuit(config))


def _has_circuit(config: ClientConfig) -> bool:
    return config.circuit_breaker is not None and config.circuit_breaker.mode != "disabled"


def _sum(counts: Iterable[tuple[Sequence[int], int]], length: int) -> tuple[float, ...]:
    total = [0.0] * length
    for numbers, each in counts:
        for second, number in enumerate(numbers[:length]):
            total[second] += number * each
    return tuple(total)


def _resize(numbers: Sequence[T], length: int, filler: T) -> list[T]:
    return [*numbers[:length], *([filler] * (length - len(numbers)))]
