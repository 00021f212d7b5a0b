"""How many of the latest calls failed or were slow: a count over a sliding stretch of time.

It only counts. What the numbers mean is the circuit's business (``_policies.circuit.circuit``), which records
every result here and asks for the totals when one was bad.
"""

from __future__ import annotations

import math
from array import array
from typing import Final

_FIELDS = 3  # calls, failures, slow calls: the numbers one bucket holds
_MOST: Final = 2**32 - 1  # what four bytes hold; nobody makes so many calls within a bucket


class SlidingWindow:
    """Counts of calls, failures and slow calls over the last ``length`` seconds.

    Time is cut into ``buckets`` equal pieces, and the oldest piece is dropped as a whole. A call therefore
    counts for at least ``length - length / buckets`` seconds and never for more than ``length``. The memory
    is the same for a dozen calls and for a million: the newest bucket is three numbers, the ring of the others
    is packed, and not there before the second.

    Args:
        length: The stretch of the past that counts, in seconds.
        buckets: The pieces it is cut into; more are finer and larger.
    """

    __slots__ = ("_buckets", "_calls", "_ends", "_failures", "_newest", "_ring", "_slow", "_width")

    def __init__(self, length: float, buckets: int = 10) -> None:
        self._buckets = buckets
        self._width = length / buckets
        self.clear()

    def clear(self) -> None:
        """Forget everything, and give the memory back."""
        self._ring: array[int] | None = None  # the buckets before the newest, by their numbers
        self._calls = self._failures = self._slow = 0  # the newest one
        self._newest = 0  # its number, counted from time zero
        self._ends = -math.inf  # time at which it is complete

    def record(self, now: float, failed: bool, slow: bool) -> None:
        """Count one call.

        Args:
            now: Seconds on a monotonic clock. A time that has gone back counts as the latest one seen.
            failed: Whether the call failed.
            slow: Whether it was slow; a failed call may be slow too.
        """
        if now >= self._ends:
            self._advance(now)
        self._calls += 1
        if failed:
            self._failures += 1
        if slow:
            self._slow += 1

    def totals(self, now: float) -> tuple[int, int, int]:
        """The calls, failures and slow calls that still count at ``now``, in this order."""
        if now >= self._ends:
            self._advance(now)
        ring = self._ring
        if ring is None:
            return self._calls, self._failures, self._slow
        return (
            self._calls + sum(ring[0::_FIELDS]),
            self._failures + sum(ring[1::_FIELDS]),
            self._slow + sum(ring[2::_FIELDS]),
        )

    def _advance(self, now: float) -> None:
        """Move to the bucket of ``now``, emptying those whose turn has come again."""
        newest = int(now // self._width)
        if newest - self._newest >= self._buckets:
            self._ring = None
        elif self._calls or self._ring is not None:
            self._lay_down(newest)
        self._calls = self._failures = self._slow = 0
        self._newest = newest
        self._ends = (newest + 1) * self._width

    def _lay_down(self, newest: int) -> None:
        """Put the bucket that is complete into the ring, and empty those up to ``newest``."""
        ring = self._ring
        if ring is None:
            ring = self._ring = array("I", [0]) * (_FIELDS * self._buckets)
        counts = (self._calls, self._failures, self._slow)
        for number in range(self._newest, newest + 1):
            at = number % self._buckets * _FIELDS
            for field, count in enumerate(counts):
                ring[at + field] = min(count, _MOST)
            counts = (0, 0, 0)
