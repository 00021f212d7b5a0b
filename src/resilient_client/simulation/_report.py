"""The result of a run: series per second, totals, and the time to recovery, computed from the collected statistics."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from resilient_client._policies.circuit.circuit import CircuitState
from resilient_client.simulation._client_counters import Transition
from resilient_client.simulation._scenario import Scenario
from resilient_client.simulation._stats import CallStats, UpstreamStats

RECOVERED = 0.95
"""A system has recovered when this share of the success rate before the incident is reached again."""
WINDOW = 5
"""Seconds over which the success rate is taken: in a single second it varies too much at random."""


@dataclass(frozen=True, slots=True)
class Totals:
    """The numbers of a whole run. Shares are 0 to 1, times are in seconds; ``nan`` where nothing could be measured."""

    calls: int
    """Calls that callers sent."""
    succeeded: int
    """Calls that got an answer which is not an error."""
    failed: int
    """Calls that failed."""
    rejected: int
    """Calls that the client refused without sending anything; they are included in ``failed``."""
    requests: int
    """Requests to all upstreams, including those whose connection was refused."""
    wasted: int
    """Requests that were completed after their client had left."""
    success: float
    """The share of calls that succeeded."""
    goodput: float
    """Successful calls per second, over the duration of the scenario."""
    amplification: float
    """Requests per request that would have been sent without any repeats and refusals, for the upstream where this is
    highest."""
    peak_load: int
    """The highest number of requests to one upstream in one second."""
    p50: float
    """The median latency of successful calls, in seconds."""
    p99: float
    """The 99th percentile of their latencies."""
    p999: float
    """The 99.9th percentile of their latencies."""
    recovery: float | None
    """Seconds from the end of the incident until calls succeed as before, to the end of the run. ``None``: they never
    do, or the scenario has no incident; see ``Run.recovery``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run, after which all invariants held."""

    scenario: Scenario
    """The scenario that was run."""
    seed: int
    """The seed of all random generators."""
    calls: Mapping[str, CallStats]
    """The calls of each group of callers, and of each upstream that calls others, by name."""
    upstreams: Mapping[str, UpstreamStats]
    """The requests to each upstream, by name."""
    transitions: tuple[Transition, ...]
    """Every change of the state of every circuit, in order."""
    ended: float
    """When the last call had ended, in seconds of the run."""

    @property
    def totals(self) -> Totals:
        """The numbers of the whole run, over all groups of callers."""
        groups = [self.calls[group.name] for group in self.scenario.callers]
        calls, succeeded = _sum(g.offered for g in groups), _sum(g.goodput for g in groups)
        latencies = sorted(latency for group in groups for latency in group.latencies)
        upstreams = self.upstreams.values()
        return Totals(
            calls=calls,
            succeeded=succeeded,
            failed=_sum(g.failed for g in groups),
            rejected=_sum(g.rejected for g in groups),
            requests=_sum(u.load for u in upstreams),
            wasted=_sum(u.wasted for u in upstreams),
            success=succeeded / calls if calls else math.nan,
            goodput=succeeded / self.scenario.duration,
            amplification=max((self.amplification(name) for name in self.upstreams), default=math.nan),
            peak_load=max((max(u.load, default=0) for u in upstreams), default=0),
            p50=quantile(latencies, 0.5),
            p99=quantile(latencies, 0.99),
            p999=quantile(latencies, 0.999),
            recovery=self.recovery(),
        )

    @property
    def kinds(self) -> Counter[str]:
        """The number of failed calls of each kind."""
        return sum((self.calls[group.name].kinds for group in self.scenario.callers), Counter[str]())

    def amplification(self, upstream: str) -> float:
        """Requests to ``upstream`` per request that would have been sent without any repeats and refusals.

        It is below 1 where clients refused to send, or where services in between failed before they called it.
        """
        demand = self.scenario.demand(upstream)
        wanted = sum(sum(self.calls[group].offered) * factor for group, factor in demand.items())
        return sum(self.upstreams[upstream].load) / wanted if wanted else math.nan

    def recovery(self, *, threshold: float = RECOVERED, window: int = WINDOW) -> float | None:
        """Seconds from the end of the incident until calls succeed as before, to the end of the run.

        Calls are judged by the second in which they *start*. Calls succeed as before when the success rate of those
        that start within ``window`` seconds is at least ``threshold`` times the rate before the incident, in this
        window and in every later one.

        Returns:
            Whole seconds. ``None`` if calls never succeed as before, or if the scenario has no incident.
        """
        if self.scenario.incident is None:
            return None
        began, ended = self.scenario.incident
        groups = [self.calls[group.name] for group in self.scenario.callers]
        offered, kept = _add(g.offered for g in groups), _add(g.kept for g in groups)
        before = sum(offered[: int(began)])
        level = threshold * (sum(kept[: int(began)]) / before if before else 1.0)
        last = min(len(offered), int(self.scenario.duration)) - window
        first = math.ceil(ended)
        # Search backwards for the latest bad window: a good one does not count if a bad one follows it.
        for second in range(last, first - 1, -1):
            calls = sum(offered[second : second + window])
            if calls and sum(kept[second : second + window]) < level * calls:
                return None if second == last else float(second + 1 - ended)
        return float(first - ended) if last >= first else None

    def circuits(self, upstream: str) -> list[tuple[int, int]]:
        """The numbers of open and of half-open circuits for ``upstream`` at the end of each second."""
        states: dict[str, CircuitState] = {}
        transitions = [transition for transition in self.transitions if transition.upstream == upstream]
        applied, result = 0, []
        for second in range(1, math.ceil(self.ended) + 1):
            while applied < len(transitions) and transitions[applied].at <= second:
                states[transitions[applied].client] = transitions[applied].state
                applied += 1
            now = list(states.values())
            result.append((now.count(CircuitState.OPEN), now.count(CircuitState.HALF_OPEN)))
        return result


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which this share of an ascending sequence lies; ``nan`` if the sequence is empty."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan


def _sum(series: Iterable[Sequence[int]]) -> int:
    return sum(map(sum, series))


def _add(series: Iterable[Sequence[int]]) -> list[int]:
    """Add up series of different lengths, second by second."""
    total: list[int] = []
    for numbers in series:
        total.extend([0] * (len(numbers) - len(total)))
        for second, number in enumerate(numbers):
            total[second] += number
    return total
