"""What a run came to: series by the second, totals, and when things were well again. Only reads what was counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from resilient_client._policies.circuit.circuit import CircuitState
from resilient_client.simulation._account import Transition
from resilient_client.simulation._scenario import Scenario
from resilient_client.simulation._tally import CallTally, UpstreamTally

WELL = 0.95
"""Things are well again when this share of what succeeded before the trouble succeeds again."""
WINDOW = 5
"""Seconds over which that share is taken: chance makes single seconds jump."""


@dataclass(frozen=True, slots=True)
class Totals:
    """A whole run in numbers. Shares are 0 to 1, times are seconds; ``nan`` where there was nothing to measure."""

    calls: int
    """Calls that callers made."""
    succeeded: int
    """Those that got an answer which is no error."""
    failed: int
    """Those that did not."""
    rejected: int
    """Those refused by the client itself, nothing sent: a part of ``failed``."""
    requests: int
    """Requests on their way to any upstream, refused connections included."""
    wasted: int
    """Requests that were done for clients that had left."""
    success: float
    """The share of calls that succeeded."""
    goodput: float
    """Successful calls a second, over the duration of the scenario."""
    amplification: float
    """Requests for each request that would have been made, had nobody repeated or refused any; of the upstream where
    it is highest."""
    peak_load: int
    """The most requests to one upstream in one second."""
    p50: float
    """Seconds within which half of the successful calls had their answer."""
    p99: float
    """Those within which 99 of 100 had it."""
    p999: float
    """Those within which 999 of 1000 had it."""
    recovery: float | None
    """Seconds from the end of the trouble until calls succeeded as before, for good; ``None``: never, or there was
    no trouble; see ``Run.recovery``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that is over; the laws of conservation held."""

    scenario: Scenario
    """What was run."""
    seed: int
    """Where all chance came from."""
    calls: Mapping[str, CallTally]
    """The calls made by each group of callers and by each upstream that calls others, by name."""
    upstreams: Mapping[str, UpstreamTally]
    """What each upstream met, by name."""
    transitions: tuple[Transition, ...]
    """Every change of state of every circuit, in order."""
    ended: float
    """When the last call had ended, in seconds of the run."""

    @property
    def totals(self) -> Totals:
        """The whole run in numbers, all groups of callers together."""
        tallies = [self.calls[group.name] for group in self.scenario.callers]
        calls, succeeded = _sum(t.offered for t in tallies), _sum(t.goodput for t in tallies)
        latencies = sorted(latency for tally in tallies for latency in tally.latencies)
        upstreams = self.upstreams.values()
        return Totals(
            calls=calls,
            succeeded=succeeded,
            failed=_sum(t.failed for t in tallies),
            rejected=_sum(t.rejected for t in tallies),
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
        """How many calls failed, by kind."""
        return sum((self.calls[group.name].kinds for group in self.scenario.callers), Counter[str]())

    def amplification(self, upstream: str) -> float:
        """Requests to ``upstream`` for each that would have been made, had nobody repeated or refused any.

        Below 1 when clients refused to send, or layers above failed before they called.
        """
        demand = self.scenario.demand(upstream)
        wanted = sum(sum(self.calls[group].offered) * each for group, each in demand.items())
        return sum(self.upstreams[upstream].load) / wanted if wanted else math.nan

    def recovery(self, *, well: float = WELL, window: int = WINDOW) -> float | None:
        """Seconds from the end of the trouble until calls succeeded as before, for good.

        Judged by the calls that *begin* in a second: of those that begin within ``window`` seconds, a share of at
        least ``well`` of what it was before the trouble succeeds, now and in every later window.

        Returns:
            Whole seconds; ``None`` if that never came, or nothing was ever wrong with the scenario.
        """
        if self.scenario.trouble is None:
            return None
        began, ended = self.scenario.trouble
        tallies = [self.calls[group.name] for group in self.scenario.callers]
        offered, kept = _together(t.offered for t in tallies), _together(t.kept for t in tallies)
        before = sum(offered[: int(began)])
        level = well * (sum(kept[: int(began)]) / before if before else 1.0)
        last = min(len(offered), int(self.scenario.duration)) - window
        first = math.ceil(ended)
        for second in range(last, first - 1, -1):
            calls = sum(offered[second : second + window])
            if calls and sum(kept[second : second + window]) < level * calls:
                return None if second == last else float(second + 1 - ended)
        return float(first - ended) if last >= first else None

    def circuits(self, upstream: str) -> list[tuple[int, int]]:
        """How many circuits for ``upstream`` are open and how many half-open at the end of each second."""
        states: dict[str, CircuitState] = {}
        moves = [move for move in self.transitions if move.upstream == upstream]
        told, result = 0, []
        for second in range(1, math.ceil(self.ended) + 1):
            while told < len(moves) and moves[told].at <= second:
                states[moves[told].client] = moves[told].state
                told += 1
            now = list(states.values())
            result.append((now.count(CircuitState.OPEN), now.count(CircuitState.HALF_OPEN)))
        return result


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of an ascending sequence lies; ``nan`` if it is empty."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan


def _sum(series: Iterable[Sequence[int]]) -> int:
    return sum(map(sum, series))


def _together(series: Iterable[Sequence[int]]) -> list[int]:
    """Several series added up, second by second."""
    total: list[int] = []
    for numbers in series:
        total.extend([0] * (len(numbers) - len(total)))
        for second, number in enumerate(numbers):
            total[second] += number
    return total
