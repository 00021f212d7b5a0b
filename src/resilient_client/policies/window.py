"""How many of the latest calls failed or were slow: a count over a sliding stretch of time.

It only counts. What the numbers mean is the circuit's business (``policies.circuit``), which records
every result here and asks for the totals when one was bad.
"""

from __future__ import annotations

import math

_FIELDS = 3  # calls, failures, slow calls: the numbers one bucket holds


class SlidingWindow:
    """Counts of calls, failures and slow calls over the last ``length`` seconds.

    Time is cut into ``buckets`` equal pieces, and the oldest piece is dropped as a whole. A call therefore
    counts for at least ``length - length / buckets`` seconds and never for more than ``length``. The memory
    is the same for one call and for a million, and none is taken before the first.

    Args:
        length: The stretch of the past that counts, in seconds.
        buckets: The pieces it is cut into; more are finer and larger.
    """

    __slots__ = ("_buckets", "_ends", "_newest", "_ring", "_width")

    def __init__(self, length: float, buckets: int = 10) -> None:
        self._buckets = buckets
        self._width = length / buckets
        self.clear()

    def clear(self) -> None:
        """Forget everything, and give the memory back."""
        self._ring: list[int] | None = None
        self._newest = 0  # number of the newest bucket, counted from time zero
        self._ends = -math.inf  # time at which the newest bucket is complete

    def record(self, now: float, failed: bool, slow: bool) -> None:
        """Count one call.

        Args:
            now: Seconds on a monotonic clock. A time that has gone back counts as the latest one seen.
            failed: Whether the call failed.
            slow: Whether it was slow; a failed call may be slow too.
        """
        ring = self._ring
        if ring is None or now >= self._ends:
            ring = self._advance(now)
        at = self._newest % self._buckets * _FIELDS
        ring[at] += 1
        if failed:
            ring[at + 1] += 1
        if slow:
            ring[at + 2] += 1

    def totals(self, now: float) -> tuple[int, int, int]:
        """The calls, failures and slow calls that still count at ``now``, in this order."""
        ring = self._ring
        if ring is None:
            return 0, 0, 0
        if now >= self._ends:
            ring = self._advance(now)
        return sum(ring[0::_FIELDS]), sum(ring[1::_FIELDS]), sum(ring[2::_FIELDS])

    def _advance(self, now: float) -> list[int]:
        """Move to the bucket of ``now``, emptying those whose turn has come again."""
        newest = int(now // self._width)
        if self._ring is None or newest - self._newest >= self._buckets:
            self._ring = [0] * (_FIELDS * self._buckets)
        else:
            for number in range(self._newest + 1, newest + 1):
                at = number % self._buckets * _FIELDS
                self._ring[at : at + _FIELDS] = [0] * _FIELDS
        self._newest = newest
        self._ends = (newest + 1) * self._width
        return self._ring
