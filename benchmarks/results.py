"""From the CPU of slices to figures: the median of ratios to neighbours, and how sure it is."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.workloads import Workload

RESAMPLES = 1000


class Row(NamedTuple):
    """A variant in one workload."""

    variant: str
    ratio: float | None = None
    """CPU of a call, beside the base; ``None``: it was not measured."""
    low: float | None = None
    high: float | None = None
    """The 95 % interval of the ratio."""
    micros: float | None = None
    """CPU of a call, in microseconds."""
    rounds: int = 0
    """How many ratios that is the median of."""
    fault: str | None = None
    """Why it was not measured."""


class Comparison(NamedTuple):
    """All variants in one workload."""

    workload: Workload
    loop: str
    base: str
    micros: float
    """CPU of a call of the base, in microseconds."""
    rows: list[Row]

    def as_dict(self) -> dict[str, Any]:
        """As JSON wants it."""
        return self._asdict() | {"workload": self.workload._asdict(), "rows": [row._asdict() for row in self.rows]}


def beside(before: float, own: float, after: float) -> float:
    """A slice, as a ratio to the two slices of the base around it."""
    return 2 * own / (before + after)


def interval(ratios: Sequence[float], rng: random.Random) -> tuple[float, float]:
    """The bootstrap interval of the median: where 95 % of equally many draws, with replacement, have theirs."""
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    tail = RESAMPLES // 40
    return medians[tail], medians[-tail - 1]
