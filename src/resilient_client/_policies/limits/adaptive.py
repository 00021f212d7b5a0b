"""How many attempts at once an endpoint can bear, judged by how long its answers take.

The algorithm is ``Gradient2Limit`` behind a ``WindowedLimit``, of Netflix's concurrency-limits: the mean time of the
latest answers is compared with that of the last minutes. Their quotient is the gradient. Around 1, answers take their
usual time, and the limit grows a little. Below 1, requests are queueing at the endpoint, and the limit shrinks in
proportion::

    limit ── × gradient (1/2 to 1) ── + room ──► smoothed (a fifth of the way) ──► limit

It differs from Netflix's where an upstream has many small clients, each of which sees only a small part of the load:

- The room to grow is 4 attempts in Netflix's. At a limit of 8, 4 more make up for the steepest gradient, so twenty such
  clients are a queue of 160. Here the room is at most two fifths of the limit: a small limit grows as long as answers
  take less than 2.5 times their usual time, and shrinks beyond that, down to the minimum.
- Where less than half of the limit is in use, Netflix's limit does not change. Here it shrinks while answers are slow,
  to twice what is in use (as RFC 7661 does for TCP), and returns to its initial value when they have recovered. An
  attempt that was alone was not slowed down by this client's other attempts, so it proves nothing.
- A window is judged before it has all its answers if it has lasted long, or if those that came took so long together
  that the others cannot change the verdict.

This module never counts permits or waits: ``_policies.limits.bulkhead`` reports each attempt to it and asks it for the
limit. Only good answers are measured, because an error may come quickly for the worst of reasons. A timeout, whose real
duration is unknown, counts as the steepest gradient.
"""

from __future__ import annotations

from typing import Final

from resilient_client._settings.bulkhead import AdaptiveConcurrency

_SMOOTHING: Final = 0.2  # of the way to the new limit, each window
_ROOM: Final = 4.0  # attempts that may queue at the endpoint: what makes the limit grow
_SMALL_ROOM: Final = 0.4  # the same as a share of the limit, where that is less
_STEEPEST: Final = 0.5  # the lowest gradient: a window at most halves the limit, before smoothing
_MEMORY: Final = 300.0  # time constant of the usual time in seconds (600 windows of 1 s, weighted exponentially)
_WARM_UP: Final = 10  # windows with equal weight, until there is a usual time
_SHORTEST: Final = 0.1  # bounds of the length of a window in seconds, which is twice the usual time
_LONGEST: Final = 1.0
_SAMPLES: Final = 10  # answers per window, or the limit if that is less, or fewer if the window lasts long


class ConcurrencyLimit:
    """The limit of one endpoint, learnt from its latencies.

    ``now`` and ``elapsed`` are in seconds, on the same clock.

    Args:
        settings: The initial limit, its bounds, and the tolerance.
    """

    __slots__ = (
        "_began", "_dropped", "_initial", "_limit", "_peak", "_samples", "_settings", "_total", "_usual", "_windows",
    )  # fmt: skip  # one name per line would only be longer

    def __init__(self, settings: AdaptiveConcurrency) -> None:
        self._settings = settings
        self._limit = self._initial = self._clipped(settings.initial)
        self._usual = 0.0  # seconds an answer usually takes
        self._windows = 0  # seen so far, up to the warm-up
        self._began: float | None = None  # when the current window began, to which the next four belong
        self._samples = 0
        self._total = 0.0
        self._peak = 0
        self._dropped = False

    @property
    def value(self) -> int:
        """The limit: attempts at once."""
        return int(self._limit)

    def answered(self, now: float, elapsed: float, in_use: int) -> int:
        """Record a good answer and return the limit from now on.

        Args:
            now: The time of the answer.
            elapsed: The duration of the attempt.
            in_use: Attempts in flight when the answer came, this one included.
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
        """Record an attempt that timed out and return the limit from now on."""
        if self._began is None:
            self._began = now
        self._dropped = True
        self._close_window(now)
        return self.value

    def _must_be_slow(self, wanted: int) -> bool:
        """Whether the mean of ``wanted`` answers exceeds the tolerance even if the missing ones take no time.

        Such a window is judged at once. Waiting for the missing answers would delay the verdict by their slowness.
        """
        return 0 < wanted * self._settings.tolerance * self._usual <= self._total

    def _close_window(self, now: float) -> None:
        """Judge the window and begin the next, if the window is long enough."""
        began = now if self._began is None else self._began
        length = min(max(_SHORTEST, 2 * self._usual), _LONGEST)
        if now - began < length:
            return
        latest = self._total / self._samples if self._samples else None
        gradient = 1.0
        if latest is not None:
            self._learn(latest, length)
            gradient = max(_STEEPEST, min(1.0, self._settings.tolerance * self._usual / latest)) if latest > 0 else 1.0
        # A timeout counts as the steepest gradient and gets no room to grow, whatever the answers say.
        if self._dropped:
            self._move_to(self._limit * _STEEPEST)
        else:
            self._follow(gradient)
        self._began = now
        self._samples = self._peak = 0
        self._total = 0.0
        self._dropped = False

    def _follow(self, gradient: float) -> None:
        """Move the limit by the gradient, or less far if most of the limit was not in use."""
        limit, peak = self._limit, self._peak
        target = limit * gradient + min(_ROOM, limit * _SMALL_ROOM)
        if peak >= limit / 2:
            self._move_to(target)
        elif gradient == 1:
            # There are few calls, so their speed does not show that a larger limit would do. It shows that nothing is
            # wrong, which is enough to return to the initial limit, but not to exceed it or the present one.
            self._move_to(target)
            self._limit = max(limit, min(self._limit, self._initial))
        elif peak > 1:  # slow, and not alone: give up what is unused, but keep twice what is in use
            self._move_to(min(limit, max(target, 2.0 * peak)))

    def _learn(self, latest: float, length: float) -> None:
        """Update the usual time with the mean of a window."""
        self._windows = min(self._windows + 1, _WARM_UP + 1)
        share = 1 / self._windows if self._windows <= _WARM_UP else length / _MEMORY
        self._usual += share * (latest - self._usual)
        if self._usual > 2 * latest:
            self._usual *= 0.95  # after a long overload, so that a recovered endpoint is soon measured by its own speed

    def _move_to(self, limit: float) -> None:
        self._limit = self._clipped(self._limit + _SMOOTHING * (limit - self._limit))

    def _clipped(self, limit: float) -> float:
        return min(max(limit, self._settings.min_limit), self._settings.max_limit)
