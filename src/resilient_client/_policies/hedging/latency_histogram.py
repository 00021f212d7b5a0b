"""How long attempts take: what share of them has its answer by when.

It counts and computes; what the numbers are good for is their reader's business. A sample is *complete* when an answer
came, and *cut* when something else ended the wait: a timeout, a failure, a cancellation. A cut sample says that the
answer would have taken at least so long. To count it as an answer would teach that an upstream is fast that is not
(or, dropped, that nothing ever takes long); the product-limit estimate (Kaplan and Meier, 1958) makes use of both.
"""

from __future__ import annotations

import math
from math import log2
from typing import Final, NamedTuple

RESOLUTION: Final = 0.0001
"""Seconds below which all is one."""
BUCKETS_PER_DOUBLING: Final = 16
"""Buckets for each doubling: a percentile is at most 4.5 % too high, and never too low."""
MIN_SAMPLES: Final = 100
"""Samples without which nothing is said."""
MIN_SAMPLES_BEYOND: Final = 5
"""Samples that must be expected beyond a percentile: p99.9 takes 5,000."""
MAX_CENSORED: Final = 0.1
"""The share of waits whose end was never seen, from which on nobody can say how long they take."""

_ABOVE = BUCKETS_PER_DOUBLING * log2(1 / RESOLUTION) + 1  # what puts FINEST at the first bucket's end
_DOUBT = 3  # standard errors of a mean of so many times without memory
_LAST = BUCKETS_PER_DOUBLING * 28  # more than seven hours
_REFRESH = 32  # samples for which what was computed is good, or a sixteenth of all if that is more


class Outlook(NamedTuple):
    """What lies ahead of an attempt that has waited for a while."""

    late: float
    """The share of all attempts that take longer than this, 0 to 1."""
    rest: float
    """How many times as long it takes, in the mean, as a new attempt: 1 means just as long. Three standard errors low:
    where little was seen, it is rather too low than too high; infinity: nobody knows."""


_UNKNOWN = Outlook(0.0, math.inf)


class LatencyHistogram:
    """The latencies of the recent past, in seconds, in buckets that widen by the same ratio.

    There are two generations. The young one takes the samples; when it is ``window`` seconds old, and large enough
    to stand alone, it becomes the old one, and what was old is forgotten. So what is said rests on at least one full
    window, on little memory, and an endpoint that is seldom called is not forgotten between calls.

    Args:
        window: Seconds in which the young generation grows old.
    """

    __slots__ = (
        "_count",
        "_current",
        "_enough",
        "_fresh_until",
        "_outlooks",
        "_previous",
        "_quantiles",
        "_turns_at",
        "_window",
    )  # fmt: skip  # one name a line says no more

    def __init__(self, window: float = 30.0) -> None:
        self._window = window
        # Samples by bucket: even keys are complete ones, odd keys cut ones, so that in order the cut come second.
        self._current: dict[int, int] = {}
        self._previous: dict[int, int] = {}
        self._count = 0  # of the young
        self._turns_at = -math.inf  # when the young are old; in the past: look again
        self._enough = MIN_SAMPLES
        self._fresh_until = 0  # the count up to which the following is good
        self._quantiles: dict[float, float | None] = {}
        self._outlooks: dict[float, Outlook] = {}

    def observe(self, now: float, seconds: float, *, complete: bool = True) -> None:
        """Learn from an attempt that took so long.

        Args:
            now: The time, in seconds.
            seconds: How long it took, or lasted.
            complete: Whether it ended with an answer.
        """
        if now >= self._turns_at:
            self._turn(now)
        key = 0 if seconds <= RESOLUTION else int(log2(seconds) * BUCKETS_PER_DOUBLING + _ABOVE)
        if key > _LAST:
            key = _LAST
        key += key if complete else key + 1
        young = self._current
        young[key] = young[key] + 1 if key in young else 1
        self._count += 1

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share of all attempts has an answer; ``None``: unknown.

        Unknown it is with too few samples, and when too many were cut before it: then it is longer than anything seen.

        Args:
            share: Above 0 and below 1.
        """
        if self._count >= self._fresh_until:
            self._refresh()
        if share not in self._quantiles:
            self._quantiles[share] = self._quantile(share)
        return self._quantiles[share]

    def outlook(self, waited: float) -> Outlook:
        """What lies ahead of an attempt that has waited for so long; unknown with too few samples.

        Unknown, too, is how long the rest takes if a tenth of those who waited so long were all cut short.

        Args:
            waited: Seconds.
        """
        if self._count >= self._fresh_until:
            self._refresh()
        if waited not in self._outlooks:
            self._outlooks[waited] = self._outlook(waited)
        return self._outlooks[waited]

    def _turn(self, now: float) -> None:
        """Let the young grow old, if they are enough to stand alone; the first one of them begins a window."""
        if self._turns_at == -math.inf:
            self._turns_at = now + self._window
        elif self._count >= self._enough:
            self._previous, self._current = self._current, {}
            self._count = self._fresh_until = 0
            self._turns_at = now + self._window

    def _refresh(self) -> None:
        """Forget what was computed."""
        self._fresh_until = self._count + max(_REFRESH, self._count // 16)
        self._quantiles.clear()
        self._outlooks.clear()

    def _quantile(self, share: float) -> float | None:
        self._enough = max(self._enough, math.ceil(MIN_SAMPLES_BEYOND / (1.0 - share) - 1e-9))
        for end, _, unanswered in self._curve(self._enough):
            if unanswered <= 1.0 - share + 1e-9:
                return end
        return None

    def _outlook(self, waited: float) -> Outlook:
        """Areas under the curve of the unanswered are mean times: of all of it, and of what is right of ``waited``."""
        curve = self._curve(MIN_SAMPLES)
        if not curve:
            return _UNKNOWN
        late, mean, rest, seen = 0.0, 0.0, 0.0, 0
        begin, before = 0.0, 1.0
        for end, answers, unanswered in curve:
            mean += before * (end - begin)
            if end > waited * (1 + 1e-9):
                late = late or before
                rest += before * (end - max(begin, waited))
                seen += answers
            begin, before = end, unanswered
        if not seen or before >= MAX_CENSORED * late:
            return Outlook(late, math.inf)
        return Outlook(late, rest / late / mean / (1 + _DOUBT / math.sqrt(seen)))

    def _curve(self, enough: int) -> list[tuple[float, int, float]]:
        """For each bucket with answers, and the last: where it ends, how many, and the share unanswered from there on.

        Empty with less than ``enough`` samples.
        """
        counts = self._current.copy()
        for key, count in self._previous.items():
            counts[key] = counts.get(key, 0) + count
        waiting, unanswered, curve = sum(counts.values()), 1.0, []
        if waiting < enough:
            self._fresh_until = min(self._fresh_until, self._count + enough - waiting)  # ask again when there are
            return []
        keys = sorted(counts)
        for key in keys:
            if key % 2 == 0:
                unanswered *= 1.0 - counts[key] / waiting
                curve.append((_end_of(key), counts[key], unanswered))
            waiting -= counts[key]
        if keys[-1] % 2:
            curve.append((_end_of(keys[-1]), 0, unanswered))
        return curve


def _end_of(key: int) -> float:
    """Seconds at which the bucket of this key ends."""
    return RESOLUTION * math.exp2(key // 2 / BUCKETS_PER_DOUBLING)
