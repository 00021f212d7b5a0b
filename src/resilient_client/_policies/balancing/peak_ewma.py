"""How long an endpoint takes: a quick estimate that fears the worst, and a sober one that no single reply can move.

It knows numbers only: neither who is measured, nor what is made of it. The balancer asks for both.
"""

from __future__ import annotations

from collections import deque
from math import exp
from typing import Final

RECENT: Final = 11
"""Replies of which the median is taken."""
ENOUGH: Final = 5
"""Replies without which a median means nothing."""


class Latency:
    """The latency of one endpoint, in seconds.

    The estimate is a *peak* moving average: a slower reply than expected lifts it at once, quicker ones bring it down
    only in the course of ``decay`` seconds (Finagle's and Linkerd's peak EWMA). There it fades to zero where nothing
    is measured, which makes an endpoint that nobody dares to ask the most attractive of all; here it fades to what is
    typical of all endpoints.

    Args:
        decay: Seconds in which the past loses all but a third (1/e) of its weight.
    """

    __slots__ = ("_at", "_decay", "_peak", "_recent")

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._at = 0.0
        self._peak: float | None = None
        self._recent: deque[float] = deque(maxlen=RECENT)

    def observe(self, now: float, seconds: float, typical: float) -> None:
        """Learn from a reply that took so long, or from silence that lasted so long."""
        self.penalize(now, seconds, typical)
        self._recent.append(seconds)

    def penalize(self, now: float, seconds: float, typical: float) -> None:
        """Expect replies to take so long; without one that did, so the median stays."""
        if self._peak is not None and seconds < (expected := self.estimate(now, typical)):
            seconds += (expected - seconds) * self._left(now)
        self._peak = seconds
        self._at = max(now, self._at)

    def estimate(self, now: float, typical: float) -> float:
        """Seconds to expect of the next reply; ``typical`` where nothing is known, or not any more."""
        if self._peak is None:
            return typical
        return typical + (self._peak - typical) * self._left(now)

    @property
    def median(self) -> float | None:
        """Of the latest replies; ``None`` with less than ``ENOUGH`` of them."""
        return sorted(self._recent)[len(self._recent) // 2] if len(self._recent) >= ENOUGH else None

    def forget(self) -> None:
        """Know nothing."""
        self._peak = None
        self._recent.clear()

    def _left(self, now: float) -> float:
        """The share of what was known last that still counts."""
        return exp(min(0.0, self._at - now) / self._decay)
