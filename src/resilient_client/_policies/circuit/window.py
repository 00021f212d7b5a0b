"""How many of the latest calls failed or were slow, counted over a sliding window of time.

The window only counts. The circuit (``_policies.circuit.circuit``) records every result here, asks for the totals
after a bad one, and decides what they mean.
"""

from __future__ import annotations

import math
from array import array
from typing import Final

_FIELDS = 3  # calls, failures, slow calls: the numbers one bucket holds
_MAX_COUNT: Final = 2**32 - 1  # what four bytes hold: an array of "I" raises above it


class SlidingWindow:
    """Counts of calls, failures and slow calls over the last ``length`` seconds.

    Time is divided into ``buckets`` equal pieces, and the oldest piece is dropped as a whole. A call therefore counts
    for at least ``length - length / buckets`` seconds and never for more than ``length``. The memory does not grow
    with the number of calls: the newest bucket is three numbers, and the ring of the others is one packed array, made
    when the second bucket begins.

    Args:
        length: The length of the window, in seconds.
        buckets: The number of pieces. More are finer and take more memory.
    """

    __slots__ = ("_buckets", "_calls", "_ends", "_failures", "_newest", "_ring", "_slow", "_width")

    def __init__(self, length: float, buckets: int = 10) -> None:
        self._buckets = buckets
        self._width = length / buckets
        self.clear()

    @property
    def shortest(self) -> float:
        """Seconds for which every call counts at least."""
        return self._width * (self._buckets - 1)

    def clear(self) -> None:
        """Discard all counts and release the memory."""
        self._ring: array[int] | None = None  # the buckets before the newest, at their number modulo `buckets`
        self._calls = self._failures = self._slow = 0  # of the newest bucket
        self._newest = 0  # its number, counted from time zero
        self._ends = -math.inf  # the time at which it is complete

    def record(self, now: float, failed: bool, slow: bool) -> None:
        """Count one call.

        Args:
            now: Seconds on a monotonic clock. A time that steps back counts as the latest one seen.
            failed: Whether the call failed.
            slow: Whether the call was slow. A failed call may be slow too.
        """
        if now >= self._ends:
            self._advance(now)
        self._calls += 1
        if failed:
            self._failures += 1
        if slow:
            self._slow += 1

    def totals(self, now: float) -> tuple[int, int, int]:
        """The calls, failures and slow calls in the window that ends at ``now``, in this order."""
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
        """Move to the bucket of ``now``, emptying the buckets in between."""
        newest = int(now // self._width)
        if newest - self._newest >= self._buckets:
            self._ring = None  # every bucket is out of the window
        elif self._calls or self._ring is not None:  # without a ring and without calls, there is nothing to keep
            self._store(newest)
        self._calls = self._failures = self._slow = 0
        self._newest = newest
        self._ends = (newest + 1) * self._width

    def _store(self, newest: int) -> None:
        """Put the completed bucket into the ring, and empty the buckets up to and including ``newest``.

        The slot of ``newest`` is emptied, too: it holds the bucket that is just out of the window, and the newest
        counts are kept outside the ring until they are complete.
        """
        ring = self._ring
        if ring is None:
            ring = self._ring = array("I", [0]) * (_FIELDS * self._buckets)
        counts = (self._calls, self._failures, self._slow)
        for number in range(self._newest, newest + 1):
            at = number % self._buckets * _FIELDS
            for field, count in enumerate(counts):
                ring[at + field] = min(count, _MAX_COUNT)
            counts = (0, 0, 0)
