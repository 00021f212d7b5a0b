"""How many attempts at once an endpoint can bear, judged by how long its answers take.

Netflix's concurrency-limits, ``Gradient2Limit`` behind a ``WindowedLimit``: the mean time of the latest answers is
compared with that of the last minutes. Their quotient is the gradient. Around 1, answers take what they always take,
and the limit grows by a little; below, they are queueing over there, and it shrinks in proportion::

    limit ── × gradient (1/2 to 1) ── + room ──► smoothed (a fifth of the way) ──► limit

It differs from that law where an upstream has many small clients, each of which sees little of it:

- The room to grow is 4 attempts there; twenty clients at a limit of 8, where 4 more make up for the steepest gradient,
  are a queue of 160. Here it is at most two fifths of the limit: a small one grows as long as answers take less than
  2.5 times their usual time, and shrinks beyond, down to the minimum.
- Where less than half of the limit is in use, it stays as it is there. Here it gives up, while answers are slow, what
  nobody uses beyond twice what is in use (as RFC 7661 does for TCP), and when they are well again returns to where it
  began. An attempt that was alone was not slowed down by others of ours, and proves nothing.
- A window is judged before it has all its answers if it has lasted long, or if those that came took so long together
  that the others cannot change the verdict.

It never counts permits or waits: ``_policies.limits.bulkhead`` tells it of each attempt and asks it for the number.
Only good answers are measured, because an error may come quickly for the worst of reasons. A timeout, whose real
time nobody knows, stands for the steepest gradient there is.
"""

from __future__ import annotations

from typing import Final

from resilient_client._settings.bulkhead import AdaptiveConcurrency

_SMOOTHING: Final = 0.2  # of the way to the new limit, each window
_ROOM: Final = 4.0  # attempts that may queue at the endpoint: what makes the limit grow
_SMALL_ROOM: Final = 0.4  # of the limit, where that is less
_STEEPEST: Final = 0.5  # a window never takes more than half off, before smoothing
_MEMORY: Final = 300.0  # seconds that the usual time looks back (600 windows of 1 s, weighted exponentially)
_WARM_UP: Final = 10  # windows that count alike until there is a usual time
_SHORTEST: Final = 0.1  # seconds a window takes at least: two of its answers' times, within these bounds
_LONGEST: Final = 1.0
_SAMPLES: Final = 10  # answers a window takes, or as many as may be under way at once; fewer when it is long


class ConcurrencyLimit:
    """The limit of one endpoint, learnt.

    ``now`` and ``elapsed`` are in seconds, on the same clock.

    Args:
        settings: Where it begins, its bounds, and what it tolerates.
    """

    __slots__ = (
        "_began", "_dropped", "_initial", "_limit", "_peak", "_samples", "_settings", "_total", "_usual", "_windows",
    )  # fmt: skip  # one name a line says no more

    def __init__(self, settings: AdaptiveConcurrency) -> None:
        self._settings = settings
        self._limit = self._initial = self._clipped(settings.initial)
        self._usual = 0.0  # seconds an answer usually takes
        self._windows = 0  # seen so far, up to the warm-up
        self._began: float | None = None  # the window that is under way
        self._samples = 0
        self._total = 0.0
        self._peak = 0
        self._dropped = False

    @property
    def value(self) -> int:
        """Attempts at once."""
        return int(self._limit)

    def answered(self, now: float, elapsed: float, in_use: int) -> int:
        """Learn from a good answer; gives the limit from now on.

        Args:
            now: When it came.
            elapsed: How long it took.
            in_use: Attempts under way when it came, itself included.
        """
        if self._began is None:
            self._began = now
        self._samples += 1
        self._total += elapsed
        self._peak = max(self._peak, in_use)
        wanted = min(_SAMPLES, self.value)
        if self._samples >= wanted or now - self._began >= _LONGEST or self._must_be_slow(wanted):
            self._close_window(now)
        return self.value

    def timed_out(self, now: float) -> int:
        """Learn from an attempt that was given up; gives the limit from now on."""
        if self._began is None:
            self._began = now
        self._dropped = True
        self._close_window(now)
        return self.value

    def _must_be_slow(self, wanted: int) -> bool:
        """Whether the mean of so many answers will be beyond the tolerance, even if the rest of them take no time."""
        return 0 < wanted * self._settings.tolerance * self._usual <= self._total

    def _close_window(self, now: float) -> None:
        """Judge the window, if it is long enough."""
        began = now if self._began is None else self._began
        length = min(max(_SHORTEST, 2 * self._usual), _LONGEST)
        if now - began < length:
            return
        latest = self._total / self._samples if self._samples else None
        gradient = 1.0
        if latest is not None:
            self._learn(latest, length)
            gradient = max(_STEEPEST, min(1.0, self._settings.tolerance * self._usual / latest)) if latest > 0 else 1.0
        if self._dropped:
            self._move_to(self._limit * _STEEPEST)
        else:
            self._follow(gradient)
        self._began = now
        self._samples = self._peak = 0
        self._total = 0.0
        self._dropped = False

    def _follow(self, gradient: float) -> None:
        """Move by the gradient; where most of the limit is not in use, only where that can be known."""
        limit, peak = self._limit, self._peak
        target = limit * gradient + min(_ROOM, limit * _SMALL_ROOM)
        if peak >= limit / 2:
            self._move_to(target)
        elif gradient == 1:  # it is the callers who are few: this proves nothing, but that nothing is wrong
            self._move_to(target)
            self._limit = max(limit, min(self._limit, self._initial))
        elif peak > 1:
            self._move_to(min(limit, max(target, 2.0 * peak)))

    def _learn(self, latest: float, length: float) -> None:
        """Take a window's mean into the usual time."""
        self._windows = min(self._windows + 1, _WARM_UP + 1)
        share = 1 / self._windows if self._windows <= _WARM_UP else length / _MEMORY
        self._usual += share * (latest - self._usual)
        if self._usual > 2 * latest:
            self._usual *= 0.95  # an endpoint that has recovered is soon measured by its own standard again

    def _move_to(self, limit: float) -> None:
        self._limit = self._clipped(self._limit + _SMOOTHING * (limit - self._limit))

    def _clipped(self, limit: float) -> float:
        return min(max(limit, self._settings.minimum), self._settings.maximum)
