"""How many records of one kind are logged: a policy that bounds repeats and counts what it leaves out.

An upstream that is down fails every call in the same way. The first records of such a series say everything, and the
rest would fill the disk and hide the others. Each kind of record has a bucket of ``BURST`` tokens, refilled evenly over
``PERIOD``. The next record that is let through carries the number of those left out since the last one. Time is an
argument. Knows no logger.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

BURST: Final = 10
"""Records of one kind that may follow each other at once."""
PERIOD: Final = 60.0
"""Seconds in which ``BURST`` further records of one kind are let through."""
MAX_KINDS: Final = 1_000
"""Kinds that are known at once. The one whose latest record is the oldest is forgotten first."""

K = TypeVar("K", bound=Hashable)


class _Bucket:
    __slots__ = ("refilled", "suppressed", "tokens")

    def __init__(self, now: float) -> None:
        self.tokens = float(BURST)
        self.refilled = now
        self.suppressed = 0


class Repeats(Generic[K]):
    """Bounds the records of each kind. One thread uses it."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: OrderedDict[K, _Bucket] = OrderedDict()

    def admit(self, kind: K, now: float) -> int | None:
        """Decide on one more record.

        Args:
            kind: What counts as the same record again.
            now: The time in seconds. If it goes back, as on a new event loop, nothing is refilled until it goes on.

        Returns:
            How many records of this kind were left out since the last one, or ``None`` to leave this one out, too.
        """
        bucket = self._bucket(kind, now)
        elapsed, bucket.refilled = max(0.0, now - bucket.refilled), now
        bucket.tokens = min(float(BURST), bucket.tokens + elapsed * BURST / PERIOD)
        if bucket.tokens < 1:
            bucket.suppressed += 1
            return None
        bucket.tokens -= 1
        suppressed, bucket.suppressed = bucket.suppressed, 0
        return suppressed

    def drain(self) -> Iterator[tuple[K, int]]:
        """Yield the kinds of which records were left out and not yet reported, with their number, and forget those."""
        for kind, bucket in self._buckets.items():
            suppressed, bucket.suppressed = bucket.suppressed, 0
            if suppressed:
                yield kind, suppressed

    def _bucket(self, kind: K, now: float) -> _Bucket:
        bucket = self._buckets.get(kind)
        if bucket is not None:
            self._buckets.move_to_end(kind)
            return bucket
        if len(self._buckets) >= MAX_KINDS:
            self._buckets.popitem(last=False)
        bucket = self._buckets[kind] = _Bucket(now)
        return bucket
