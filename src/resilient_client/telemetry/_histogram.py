"""A histogram in plain arrays: cheap to observe, and read by exporters when they collect.

It only counts. It reads no clock, takes no lock and knows no exporter. One thread observes, and any thread may read: a
reader may miss the latest observation, but never sees a count go down.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple


class HistogramSnapshot(NamedTuple):
    """The contents of a histogram at one moment.

    Attributes:
        bounds: The upper bounds of the buckets, ascending. A bound belongs to its bucket, as in Prometheus.
        counts: The observations in each bucket, not cumulative. The last one has no bound, so there is one more count
            than bounds.
        total: The sum of all observations.
        maximum: The largest observation, or 0 before the first.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float
    maximum: float

    @property
    def observations(self) -> int:
        """The number of observations."""
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """The value that this share of the observations does not exceed, rounded up to a bound.

        Args:
            share: 0 to 1. With 0.99 the result is the 99th percentile.

        Returns:
            A bound, or the maximum if that is smaller or the value lies beyond the last bound. ``None`` before the
            first observation.
        """
        rank, seen = share * self.observations, 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            seen += count
            if seen and seen >= rank:
                return min(bound, self.maximum)
        return self.maximum if self.observations else None


class Histogram:
    """Counts observations in fixed buckets.

    Args:
        bounds: The upper bounds of the buckets, ascending. One more bucket takes what is beyond the last bound.
    """

    __slots__ = ("_bounds", "_counts", "_maximum", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = array("Q", [0] * (len(self._bounds) + 1))
        self._total = 0.0
        self._maximum = 0.0

    @classmethod
    def exponential(cls, first: float, factor: float, count: int) -> Histogram:
        """A histogram with ``count`` bounds, of which each is ``factor`` times the one before."""
        return cls([first * factor**step for step in range(count)])

    def observe(self, value: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value
        if value > self._maximum:
            self._maximum = value

    def snapshot(self) -> HistogramSnapshot:
        """The contents as they are now."""
        return HistogramSnapshot(self._bounds, tuple(self._counts), self._total, self._maximum)
