"""How long attempts take: what share of them has its answer by when.

It counts and computes; what a percentile is good for is its reader's business. A sample is *complete* when an answer
came, and *cut* when something else ended the wait: a timeout, a failure, a cancellation. A cut sample says that the
answer would have taken at least so long. To count it as an answer would teach that an upstream is fast that is not
(or, dropped, that nothing ever takes long); the product-limit estimate (Kaplan and Meier, 1958) makes use of both.
"""

from __future__ import annotations

import math
from math import log
from typing import Final

FINEST: Final = 0.0001
"""Seconds below which all is one."""
STEPS: Final = 16
"""Buckets for each doubling: a percentile is at most 4.5 % too high, and never too low."""
ENOUGH: Final = 100
"""Samples without which no percentile is given."""
BEYOND: Final = 5
"""Samples that must be expected beyond a percentile: p99.9 takes 5,000."""

_SCALE = STEPS / log(2)
_LAST = STEPS * 28  # more than seven hours
_REFRESH = 32  # samples for which a percentile is good


class LatencyHistogram:
    """The latencies of the recent past, in seconds, in buckets that widen by the same ratio.

    There are two generations. The young one takes the samples; when it is ``window`` seconds old, and large enough
    to stand alone, it becomes the old one, and what was old is forgotten. So a percentile rests on at least one full
    window, on little memory, and an endpoint that is seldom called is not forgotten between calls.

    Args:
        window: Seconds in which the young generation grows old.
    """

    __slots__ = ("_count", "_enough", "_known", "_old", "_since", "_turns_at", "_window", "_young")

    def __init__(self, window: float = 30.0) -> None:
        self._window = window
        # Samples by bucket: even keys are complete ones, odd keys cut ones, so that in order the cut come second.
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._count = 0  # of the young
        self._turns_at = math.inf
        self._enough = ENOUGH
        self._since = 0
        self._known: dict[float, float | None] = {}

    def observe(self, now: float, seconds: float, *, complete: bool = True) -> None:
        """Learn from an attempt that took so long.

        Args:
            now: The time, in seconds.
            seconds: How long it took, or lasted.
            complete: Whether it ended with an answer.
        """
        if now >= self._turns_at and self._count >= self._enough:
            self._old, self._young = self._young, {}
            self._count, self._turns_at = 0, math.inf
            self._since = _REFRESH
        if self._turns_at == math.inf:
            self._turns_at = now + self._window
        key = 0 if seconds <= FINEST else min(int(log(seconds / FINEST) * _SCALE) + 1, _LAST)
        key += key + (not complete)
        self._young[key] = self._young.get(key, 0) + 1
        self._count += 1
        self._since += 1

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share of all attempts has an answer; ``None``: unknown.

        Unknown it is with too few samples, and when too many were cut before it: then it is longer than anything seen.

        Args:
            share: Above 0 and below 1.
        """
        if self._since >= _REFRESH:
            self._known.clear()
            self._since = 0
        if share not in self._known:
            self._known[share] = self._quantile(share)
        return self._known[share]

    def _quantile(self, share: float) -> float | None:
        self._enough = max(self._enough, math.ceil(BEYOND / (1.0 - share) - 1e-9))
        counts = self._young.copy()
        for key, count in self._old.items():
            counts[key] = counts.get(key, 0) + count
        waiting = sum(counts.values())
        if waiting < self._enough:
            self._since = _REFRESH  # ask again
            return None
        unanswered = 1.0
        for key in sorted(counts):
            count = counts[key]
            if key % 2 == 0:
                unanswered *= 1.0 - count / waiting
                if unanswered <= 1.0 - share + 1e-9:
                    return FINEST * math.exp2(key / 2 / STEPS)
            waiting -= count
        return None
