"""How long an endpoint takes: a pessimistic estimate that reacts at once, and a median that no single reply moves.

This module only computes. The balancer picks endpoints by the estimate, and the endpoint pool ejects by the median.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from math import exp
from typing import Final

RECENT_REPLIES: Final = 11
"""Replies from which the median is taken."""
MIN_REPLIES: Final = 5
"""Replies below which a median means nothing."""


class Latency:
    """The latency of one endpoint, in seconds.

    The estimate is a *peak* moving average (Finagle's and Linkerd's peak EWMA): a reply slower than expected raises it
    at once, quicker replies lower it only in the course of ``decay`` seconds. In Finagle and Linkerd it fades to zero
    while nothing is measured, which makes an endpoint that gets no attempts the most attractive of all. Here it fades
    to what is typical of all endpoints.

    Args:
        decay: Seconds in which the past loses all but a third (1/e) of its weight.
    """

    __slots__ = ("_at", "_decay", "_peak", "_recent", "_sorted")

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._at = 0.0
        self._peak: float | None = None
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []  # the same latencies, so that no median has to sort them

    def observe(self, now: float, seconds: float, typical: float) -> None:
        """Record a reply that took ``seconds``, or a silence of this length."""
        self.penalize(now, seconds, typical)
        recent, ordered = self._recent, self._sorted
        if len(recent) == RECENT_REPLIES:
            del ordered[bisect_left(ordered, recent.popleft())]
        recent.append(seconds)
        insort(ordered, seconds)

    def penalize(self, now: float, seconds: float, typical: float) -> None:
        """Raise the estimate to ``seconds``, without a reply to measure: the median does not change."""
        # A value below the estimate only pulls it down by as much as the decay has faded since the last observation.
        if self._peak is not None:
            remaining = self._remaining_weight(now)
            expected = typical + (self._peak - typical) * remaining
            if seconds < expected:
                seconds += (expected - seconds) * remaining
        self._peak = seconds
        if now > self._at:
            self._at = now

    def estimate(self, now: float, typical: float) -> float:
        """Seconds that the next reply is expected to take, ``typical`` if nothing, or nothing recent, is known."""
        peak = self._peak
        if peak is None or peak == typical:
            return typical
        return typical + (peak - typical) * self._remaining_weight(now)

    @property
    def median(self) -> float | None:
        """The median of the latest replies, or ``None`` with fewer than ``MIN_REPLIES`` of them."""
        ordered = self._sorted
        return ordered[len(ordered) // 2] if len(ordered) >= MIN_REPLIES else None

    def forget(self) -> None:
        """Discard everything that was learnt."""
        self._peak = None
        self._recent.clear()
        self._sorted.clear()

    def _remaining_weight(self, now: float) -> float:
        """The weight, 0 to 1, that the last observation still has; 1 if the clock steps back."""
        age = now - self._at
        return exp(-age / self._decay) if age > 0.0 else 1.0
