"""How long attempts take: which share of them is answered within a given time.

The histogram counts and computes. What the numbers are used for is decided by its caller. A sample is *complete* if the
attempt ended with an answer, and *censored* if something else ended the wait: a timeout, a failure, a cancellation. A
censored sample only says that the answer would have taken at least this long. Counting it as an answer would make a
slow upstream look fast, and dropping it would hide that anything takes long. The product-limit estimate (Kaplan and
Meier, 1958) uses both kinds.
"""

from __future__ import annotations

import math
from math import log2
from typing import Final, NamedTuple

RESOLUTION: Final = 0.0001
"""Seconds below which latencies are not distinguished."""
BUCKETS_PER_DOUBLING: Final = 16
"""Buckets per doubling of the latency: a percentile is at most 4.5 % too high, and never too low."""
MIN_SAMPLES: Final = 100
"""Samples below which nothing is reported."""
MIN_SAMPLES_BEYOND: Final = 5
"""Samples that must be expected beyond a percentile: p99.9 takes 5,000."""
MAX_CENSORED: Final = 0.1
"""The share of waits without a known end, from which on their duration counts as unknown."""

# The bucket of a latency is int(log2(seconds) * BUCKETS_PER_DOUBLING + _OFFSET). The offset maps RESOLUTION, the end of
# bucket 0, to the beginning of bucket 1.
_OFFSET = BUCKETS_PER_DOUBLING * log2(1 / RESOLUTION) + 1
_STANDARD_ERRORS = 3  # by which the mean rest is lowered, for exponentially distributed latencies
_LAST = BUCKETS_PER_DOUBLING * 28  # more than seven hours
_REFRESH = 32  # samples for which computed results stay valid, or a sixteenth of all if that is more


class Outlook(NamedTuple):
    """What is to be expected of an attempt that has waited for a while."""

    late: float
    """The share of all attempts that take longer than this, 0 to 1."""
    rest: float
    """The mean rest of such an attempt, as a multiple of the mean of a new attempt: 1 means just as long.

    It is lowered by three standard errors, so with few samples it is too low rather than too high. Infinity: unknown.
    """


_UNKNOWN = Outlook(0.0, math.inf)


class LatencyHistogram:
    """The latencies of the recent past, in seconds, in buckets whose widths grow by a constant ratio.

    There are two generations. The current one takes the samples. When it is ``window`` seconds old and large enough to
    be used alone, it becomes the previous one, and the samples before it are discarded. So results rest on at least
    one full window, memory is bounded, and an endpoint that is called rarely is not forgotten between calls.

    Args:
        window: Seconds after which the current generation becomes the previous one.
    """

    __slots__ = (
        "_count", "_current", "_fresh_until", "_outlooks", "_previous", "_quantiles", "_required", "_rotates_at",
        "_window",
    )  # fmt: skip  # one name per line would only be longer

    def __init__(self, window: float = 30.0) -> None:
        self._window = window
        # Samples by bucket. Bucket b has the key 2 * b for complete samples and 2 * b + 1 for censored ones. In the
        # order of the keys the censored come second: of two samples in one bucket, the answered one counts as earlier,
        # which is the convention of the product-limit estimate.
        self._current: dict[int, int] = {}
        self._previous: dict[int, int] = {}
        self._count = 0  # of the current generation
        self._rotates_at = -math.inf  # before the first sample, and while the current generation is too small: past
        self._required = MIN_SAMPLES
        self._fresh_until = 0  # the count up to which the cached results are valid
        self._quantiles: dict[float, float | None] = {}
        self._outlooks: dict[float, Outlook] = {}

    def observe(self, now: float, seconds: float, *, complete: bool = True) -> None:
        """Record an attempt.

        Args:
            now: The time, in seconds.
            seconds: The duration of the attempt.
            complete: Whether it ended with an answer.
        """
        if now >= self._rotates_at:
            self._rotate(now)
        key = 0 if seconds <= RESOLUTION else int(log2(seconds) * BUCKETS_PER_DOUBLING + _OFFSET)
        if key > _LAST:
            key = _LAST
        key += key if complete else key + 1
        current = self._current
        current[key] = current[key] + 1 if key in current else 1
        self._count += 1

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share of all attempts is answered. ``None``: unknown.

        It is unknown with too few samples. It is also unknown if too many samples were censored before it: then it is
        longer than any latency seen.

        Args:
            share: Above 0 and below 1.
        """
        if self._count >= self._fresh_until:
            self._refresh()
        if share not in self._quantiles:
            self._quantiles[share] = self._quantile(share)
        return self._quantiles[share]

    def outlook(self, waited: float) -> Outlook:
        """What is to be expected of an attempt that has waited this long, unknown with too few samples.

        The rest is also unknown if at least a tenth of the attempts that waited this long have no known end.

        Args:
            waited: Seconds.
        """
        if self._count >= self._fresh_until:
            self._refresh()
        if waited not in self._outlooks:
            self._outlooks[waited] = self._outlook(waited)
        return self._outlooks[waited]

    def _rotate(self, now: float) -> None:
        """Make the current generation the previous one, if it is large enough. The first sample begins a window."""
        if self._rotates_at == -math.inf:
            self._rotates_at = now + self._window
        elif self._count >= self._required:
            self._previous, self._current = self._current, {}
            self._count = self._fresh_until = 0
            self._rotates_at = now + self._window

    def _refresh(self) -> None:
        """Discard the cached results. A sixteenth more samples hardly moves them, so they are not computed per call."""
        self._fresh_until = self._count + max(_REFRESH, self._count // 16)
        self._quantiles.clear()
        self._outlooks.clear()

    def _quantile(self, share: float) -> float | None:
        # The tolerances absorb rounding, as in 5 / (1 - 0.9) = 50.00000000000001.
        self._required = max(self._required, math.ceil(MIN_SAMPLES_BEYOND / (1.0 - share) - 1e-9))
        for end, _, unanswered in self._curve(self._required):
            if unanswered <= 1.0 - share + 1e-9:
                return end
        return None

    def _outlook(self, waited: float) -> Outlook:
        """Integrate the curve of unanswered attempts.

        The area under the whole curve is the mean latency. The area to the right of ``waited``, divided by the height
        there, is the mean rest of the attempts that waited this long.
        """
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
        # `before` is now the share without a known end. The curve stops there, so the area beyond it is not known.
        if not seen or before >= MAX_CENSORED * late:
            return Outlook(late, math.inf)
        return Outlook(late, rest / late / mean / (1 + _STANDARD_ERRORS / math.sqrt(seen)))

    def _curve(self, required: int) -> list[tuple[float, int, float]]:
        """The curve of unanswered attempts, by the product-limit estimate.

        Returns:
            For each bucket with answers, and for the last bucket: its end in seconds, the number of answers in it, and
            the share of attempts unanswered after it. Empty with fewer than ``required`` samples.
        """
        counts = self._current.copy()
        for key, count in self._previous.items():
            counts[key] = counts.get(key, 0) + count
        waiting, unanswered, curve = sum(counts.values()), 1.0, []
        if waiting < required:
            # Compute again as soon as there are enough samples, not only after the usual number of further ones.
            self._fresh_until = min(self._fresh_until, self._count + required - waiting)
            return []
        keys = sorted(counts)
        for key in keys:
            if key % 2 == 0:
                unanswered *= 1.0 - counts[key] / waiting
                curve.append((_end_of(key), counts[key], unanswered))
            waiting -= counts[key]  # censored samples leave the set at risk without lowering the curve
        if keys[-1] % 2:
            curve.append((_end_of(keys[-1]), 0, unanswered))
        return curve


def _end_of(key: int) -> float:
    """The end of the bucket with this key, in seconds."""
    return RESOLUTION * math.exp2(key // 2 / BUCKETS_PER_DOUBLING)
