"""Decisions about a late event loop: when to sample its stack, which place a block belongs to, and what to log.

Plain synchronous objects. They read no clock and no stack: times are arguments, in seconds of one clock. The watchdog
asks ``Sampling`` and ``Repeats``, and the thread of the loop fills ``BlockedPlaces``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from resilient_client.telemetry._loop_health import BlockedPlace
from resilient_client.telemetry._stack import CodePlace

MAX_PLACES: Final = 100
"""Distinct places that are kept, of blocks and of lost tasks. What happens elsewhere is only counted."""

LOG_EVERY: Final = 60.0
"""Seconds between two warnings about one place."""

MIN_SHARE: Final = 0.1
"""Share of a core with which a thread counts as running. With less, its process was suspended or starved."""


class Sample(NamedTuple):
    """Where the loop was when it was late.

    Attributes:
        due: When the loop should have run.
        late: Seconds after that at which the sample was taken.
        place: The place to blame.
        stack: The frames of the callback, innermost last.
    """

    due: float
    late: float
    place: CodePlace
    stack: tuple[CodePlace, ...]


class Sampling:
    """When the stack of the loop is sampled: once it is late, and again whenever its lateness has doubled.

    So a long block costs few samples, and the latest ones stand for most of its time.

    Args:
        late_after: Seconds from which the loop counts as late.
    """

    __slots__ = ("_due", "_is_excused", "_sample_at", "late_after")

    def __init__(self, late_after: float) -> None:
        self.late_after = late_after
        self._due = -math.inf
        self._sample_at = -math.inf
        self._is_excused = False

    def wait(self, due: float, now: float) -> float:
        """Seconds until the loop has to be sampled if it has not run by then. 0: sample now.

        Args:
            due: When the loop should run next, or should have run.
            now: The time.
        """
        if due != self._due:
            self._due, self._sample_at, self._is_excused = due, due + self.late_after, False
        return max(0.0, self._sample_at - now)

    def sampled(self, now: float) -> None:
        """A sample was taken."""
        self._sample_at = self._due + 2 * max(now - self._due, self.late_after)

    def excused(self, now: float, overslept: float, cpu: float) -> bool:
        """Whether the process got no CPU, so that the lateness proves nothing. If so, it gets more time, once.

        A callback cannot make the watchdog late unless it keeps the interpreter to itself, and then it uses the CPU. A
        machine that is suspended or far too busy stops both threads.

        Args:
            now: The time.
            overslept: Seconds by which the watchdog itself woke too late.
            cpu: Seconds of CPU that the thread of the loop used while the watchdog slept. Infinity: unknown.
        """
        if overslept < self.late_after or cpu > MIN_SHARE * overslept or self._is_excused:
            return False
        self._is_excused = True
        self._sample_at = now + self.late_after
        return True


def longest_sample(samples: Sequence[Sample], seconds: float) -> Sample | None:
    """The sample whose place took most of a block.

    The time before a sample counts for its place, because a callback that keeps the interpreter to itself is sampled at
    its end. The time after the last sample counts for that one.

    Args:
        samples: Those of the block, in their order.
        seconds: How late the loop was in the end.

    Returns:
        The latest sample of that place, or ``None`` without samples.
    """
    if not samples:
        return None
    shares: dict[tuple[str, str], float] = {}
    latest: dict[tuple[str, str], Sample] = {}
    before = 0.0
    for number, sample in enumerate(samples, start=1):
        key = _key(sample.place)
        until = seconds if number == len(samples) else sample.late
        shares[key] = shares.get(key, 0.0) + until - before
        latest[key] = sample
        before = sample.late
    return latest[max(shares, key=shares.__getitem__)]


class BlockedPlaces:
    """What blocked the loop, by function. A function counts as one place, whichever of its lines was sampled."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], BlockedPlace] = {}

    def add(self, sample: Sample, seconds: float) -> None:
        """Count a block of at least ``seconds`` at the place of ``sample``."""
        key = _key(sample.place)
        known = self._places.get(key)
        if known is None:
            if len(self._places) < MAX_PLACES:
                self._places[key] = BlockedPlace(sample.place, 1, seconds, sample.stack)
        elif seconds > known.longest:
            self._places[key] = BlockedPlace(sample.place, known.times + 1, seconds, sample.stack)
        else:
            self._places[key] = known._replace(times=known.times + 1)

    def snapshot(self) -> tuple[BlockedPlace, ...]:
        """The places, that of the longest block first."""
        return tuple(sorted(self._places.copy().values(), key=lambda blocked: -blocked.longest))


class Repeats:
    """Bounds how often the same thing is logged, and counts what is left out."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def suppressed(self, place: CodePlace, now: float) -> int | None:
        """How many messages about the place were left out since the last one. ``None``: leave this one out, too."""
        key = _key(place)
        if key not in self._seen and len(self._seen) >= MAX_PLACES:
            key = ("", "")  # all further places share one bound
        logged_at, count = self._seen.get(key, (-math.inf, 0))
        if now - logged_at < LOG_EVERY:
            self._seen[key] = (logged_at, count + 1)
            return None
        self._seen[key] = (now, 0)
        return count


def next_scan(now: float, cpu: float) -> float:
    """When to list the calls in flight again: in a second, or later if that would use more than 0.1 % of a core.

    Args:
        now: The time.
        cpu: Seconds of CPU that the latest list took.
    """
    return now + max(1.0, 1_000 * cpu)


def _key(place: CodePlace) -> tuple[str, str]:
    return place.file, place.function
