"""What is drawn of a run: one upstream and those who call, second by second. Pure.

A scenario may hold many upstreams; the picture is of one: that which trouble befalls, else the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from resilient_client._settings.config import ClientConfig
from resilient_client.simulation import Herd, Poisson, Run, Scenario, Steady

T = TypeVar("T")


class Series(NamedTuple):
    """A run, second by second; all as long as the scenario.

    Attributes:
        offered: Requests the upstream would get if every call were sent once.
        attempts: Requests on their way to it.
        goodput: Calls of the callers that succeeded, in the unit of ``offered``: counted as often as a call asks it.
        open: The share of its callers' circuits that are open, 0 to 1; ``None``: there are none.
        half_open: The share that is half-open.
    """

    offered: tuple[float, ...]
    attempts: tuple[float, ...]
    goodput: tuple[float, ...]
    open: tuple[float, ...] | None
    half_open: tuple[float, ...] | None


class Incident(NamedTuple):
    """A stretch in which something is wrong, or more is asked."""

    name: str
    begins: float
    ends: float


def focus_upstream(scenario: Scenario) -> str:
    """The upstream that is drawn."""
    troubled = (upstream.name for upstream in scenario.upstreams if upstream.changes)
    return next(troubled, scenario.upstreams[0].name)


def series_of(run: Run, upstream: str) -> Series:
    """What there is to draw."""
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
        _sum(((tally.offered, each) for tally, each in groups), length),
        tuple(map(float, _resize(run.upstreams[upstream].load, length, 0))),
        _sum(((tally.goodput, each) for tally, each in groups), length),
        opened,
        half,
    )


def incidents_of(scenario: Scenario, upstream: str) -> list[Incident]:
    """What befalls the upstream, and when its callers call more or less, in order of time."""
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
    """How many circuits for the upstream there are."""
    groups = [(group.config, group.clients) for group in scenario.callers if group.calls == upstream]
    groups += [(each.config, each.replicas) for each in scenario.upstreams if upstream in each.calls]
    return sum(count for config, count in groups if _has_circuit(config))


def _has_circuit(config: ClientConfig) -> bool:
    return config.circuit_breaker is not None and config.circuit_breaker.mode != "disabled"


def _sum(tallies: Iterable[tuple[Sequence[int], int]], length: int) -> tuple[float, ...]:
    total = [0.0] * length
    for numbers, each in tallies:
        for second, number in enumerate(numbers[:length]):
            total[second] += number * each
    return tuple(total)


def _resize(numbers: Sequence[T], length: int, filler: T) -> list[T]:
    return [*numbers[:length], *([filler] * (length - len(numbers)))]
