"""The arithmetic: from the CPU of slices to the median of ratios, and its confidence interval."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.workloads import Workload

RESAMPLES = 1000


class Row(NamedTuple):
    """The result of a variant in one workload."""

    variant: str
    ratio: float | None = None
    """CPU per call, as a ratio to the base. ``None``: it was not measured."""
    low: float | None = None
    high: float | None = None
    """The 95 % interval of the ratio."""
    micros: float | None = None
    """CPU per call, in microseconds."""
    rounds: int = 0
    """The number of samples of which the ratio is the median."""
    fault: str | None = None
    """Why it was not measured."""


class Comparison(NamedTuple):
    """The results of all variants in one workload."""

    workload: Workload
    loop: str
    base: str
    micros: float
    """CPU per call of the base, in microseconds."""
    rows: list[Row]

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return self._asdict() | {"workload": self.workload._asdict(), "rows": [row._asdict() for row in self.rows]}


def ratio_to_neighbours(before: float, own: float, after: float) -> float:
    """Return the ratio of a slice to the mean of the base slices before and after it."""
    return 2 * own / (before + after)


def interval(ratios: Sequence[float], rng: random.Random) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median: resamples of the same size, drawn with replacement."""
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    tail = RESAMPLES // 40
    return medians[tail], medians[-tail - 1]
