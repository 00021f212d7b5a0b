"""Absolute ends: a deadline that calls share, and the one timer that enforces it.

A deadline is an absolute time of the running event loop. ``Alarm`` cancels the task when the time is up and
tells that cancellation from a caller's own, as ``asyncio.timeout`` does, for about half its price; one alarm
serves both the attempt and the call, because only one of their ends can come first.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_RESOLUTION = 0.001  # seconds; some loops keep time in milliseconds

_ambient: ContextVar[float] = ContextVar("resilient_client_deadline", default=math.inf)


@contextmanager
def deadline(*, after: float | None = None, at: float | None = None) -> Iterator[float]:
    """Bound every call made inside by one shared deadline; nested ones take the earliest.

    The code inside is not interrupted; its calls are. Works across tasks started inside.

    Args:
        after: Seconds from now. Zero or less means: already over.
        at: An absolute ``loop.time()``, instead of ``after``.

    Yields:
        The deadline in force, as an absolute ``loop.time()``.

    Raises:
        ValueError: Neither or both of ``after`` and ``at`` were given, or NaN.
    """
    if (after is None) == (at is None):
        raise ValueError("deadline() takes exactly one of after=SECONDS and at=LOOP_TIME")
    end = at if at is not None else asyncio.get_running_loop().time() + (after or 0.0)
    if math.isnan(end):
        raise ValueError("deadline() got NaN; give a number of seconds")
    token = _ambient.set(min(end, _ambient.get()))
    try:
        yield _ambient.get()
    finally:
        _ambient.reset(token)


def ambient_deadline() -> float:
    """The deadline set around this code, as an absolute loop time; infinity when there is none."""
    return _ambient.get()


class Alarm:
    """Cancels the current task at a given time, unless closed before. One timer, re-armed only when it must be.

    ``ends_at`` may be moved at will: later is free (an early ring goes back to sleep), earlier re-arms. Create it
    in the task it shall watch; ``close()`` belongs in a ``finally``.
    """

    __slots__ = ("_armed_for", "_cancelling", "_ends_at", "_handle", "_loop", "_rung", "_task")

    def __init__(self, ends_at: float, first_ring: float = math.inf) -> None:
        """Watch the current task.

        Args:
            ends_at: When to cancel, in loop time; infinity means never.
            first_ring: When ``ends_at`` is expected to be moved to, if that is earlier: arming for it at
                once saves a second timer.
        """
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a call must be awaited inside a task, such as one started by asyncio.run()")
        self._loop = loop
        self._task = task
        self._cancelling = task.cancelling()
        self._rung = False
        self._handle: asyncio.TimerHandle | None = None
        self._armed_for = math.inf
        self._ends_at = ends_at
        self._arm(min(ends_at, first_ring))

    @property
    def ends_at(self) -> float:
        """When the task is cancelled, in loop time."""
        return self._ends_at

    @ends_at.setter
    def ends_at(self, ends_at: float) -> None:
        self._ends_at = ends_at
        if ends_at < self._armed_for:
            self._arm(ends_at)

    @property
    def ringing(self) -> bool:
        """Whether this alarm has cancelled the task and nobody else has: a look that changes nothing."""
        return self._rung and self._task.cancelling() - 1 <= self._cancelling

    def rang(self) -> bool:
        """Whether the ``CancelledError`` now in flight is this alarm's doing and nobody else's.

        Takes the cancellation back from the task, so ask once, where the error is caught.
        """
        if not self._rung:
            return False
        self._rung = False
        return self._task.uncancel() <= self._cancelling

    def close(self) -> None:
        """Stop watching. A cancellation that rang unseen, because the work was done first, is taken back."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._armed_for = -math.inf
        self.rang()

    def _arm(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._armed_for = at
        if at < math.inf:
            self._handle = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._handle = None
        self._armed_for = math.inf
        if self._ends_at - self._loop.time() > _RESOLUTION:
            self._arm(self._ends_at)
        else:
            self._rung = True
            self._task.cancel()
