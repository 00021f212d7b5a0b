"""Absolute ends: a deadline that calls share, and the one timer that enforces it.

A deadline is an absolute time of the running event loop. ``TaskTimeout`` cancels the task when the time is up and
tells that cancellation from a caller's own, as ``asyncio.timeout`` does, for a fraction of its price: one timer of
the loop serves all alarms.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from heapq import heappop, heappush

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.types import Duration
from resilient_client._core.validation import check_duration

RESOLUTION = 0.001  # seconds; some loops keep time in milliseconds

_ambient: ContextVar[float] = ContextVar("resilient_client_deadline", default=math.inf)


@contextmanager
def deadline(*, after: Duration | None = None, at: float | None = None) -> Iterator[float]:
    """Bound every call made inside by one shared deadline; nested ones take the earliest.

    The code inside is not interrupted; its calls are. Works across tasks started inside.

    Args:
        after: The duration from now, in seconds, as text or a ``timedelta``. Zero or less means: already over.
        at: An absolute ``loop.time()``, instead of ``after``.

    Yields:
        The deadline in force, as an absolute ``loop.time()``.

    Raises:
        ConfigurationError: Neither or both of ``after`` and ``at`` were given, or one of them is not a time.
    """
    if (after is None) == (at is None):
        raise ConfigurationError("deadline() takes exactly one of after=SECONDS and at=LOOP_TIME")
    if at is not None:
        end = check_duration("deadline(at=)", at, negative=True, infinite=True)
    else:
        end = check_duration("deadline(after=)", after, negative=True, infinite=True)
        end += asyncio.get_running_loop().time()
    token = _ambient.set(min(end, _ambient.get()))
    try:
        yield _ambient.get()
    finally:
        _ambient.reset(token)


def ambient_deadline() -> float:
    """The deadline set around this code, as an absolute loop time; infinity when there is none."""
    return _ambient.get()


class SharedTimer:
    """One timer of the event loop for any number of alarms: it is set for the earliest end.

    A timer of its own for each attempt would be the dearest part of a call that succeeds. So young alarms only stand
    in a dict, which costs next to nothing to enter and to leave; those still there when the timer rings are put in
    order of their ends (a heap), each once. Nothing is left behind: with the last alarm gone, the timer is cancelled.
    """

    __slots__ = ("_context", "_count", "_handle", "_heap", "active", "armed_for", "loop", "pending")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.active = 0  # alarms enter and leave by themselves: a method call each would show in every request
        self.pending: dict[TaskTimeout, None] = {}  # in order of age, so that runs repeat
        self._heap: list[tuple[float, int, TaskTimeout]] = []
        self._count = 0  # ties in time are broken by age, never by comparing alarms
        self._handle: asyncio.TimerHandle | None = None
        self._context = Context()  # or the timer would keep the variables of whichever call set it
        self.armed_for = math.inf

    def rest(self) -> None:
        """The last alarm is gone."""
        self._heap.clear()
        self._disarm()

    def arm(self, at: float) -> None:
        """Set the timer of the loop."""
        self._disarm()
        self.armed_for = at
        self._handle = self.loop.call_at(at, self._fire, context=self._context)

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self.armed_for = math.inf

    def _fire(self) -> None:
        self._disarm()
        for alarm in self.pending:
            self._put_in_order(alarm)
        self.pending.clear()
        due = self.loop.time() + RESOLUTION
        while self._heap and self._heap[0][0] <= due:
            alarm = heappop(self._heap)[2]
            if alarm.ends_at <= due:
                alarm.fire()
            else:
                self._put_in_order(alarm)  # it was postponed meanwhile
        if self._heap:
            self.arm(self._heap[0][0])

    def _put_in_order(self, alarm: TaskTimeout) -> None:
        if alarm.ends_at < math.inf:
            self._count += 1
            heappush(self._heap, (alarm.ends_at, self._count, alarm))


class TaskTimeout:
    """Cancels the current task at a given time, unless closed before.

    Create it in the task it shall watch; ``close()`` belongs in a ``finally``.

    Attributes:
        ends_at: When the task is cancelled, in loop time; infinity means never. Can only be postponed.
    """

    def __init__(self, timer: SharedTimer, ends_at: float) -> None:
        """Watch the current task.

        Args:
            timer: Of the running loop.
            ends_at: When to cancel, in loop time; infinity means never.
        """
        task = asyncio.current_task(timer.loop)
        if task is None:
            raise RuntimeError("a call must be awaited inside a task, such as one started by asyncio.run()")
        self._timer = timer
        self._task: asyncio.Task[object] | None = task
        self._cancelling = task.cancelling()
        self._fired = False
        self.ends_at = ends_at
        timer.active += 1
        timer.pending[self] = None
        if ends_at < timer.armed_for:
            timer.arm(ends_at)

    @property
    def has_fired(self) -> bool:
        """Whether this alarm has cancelled the task and nobody else has: a look that changes nothing."""
        return self._fired and self._task is not None and self._task.cancelling() - 1 <= self._cancelling

    def uncancel(self) -> bool:
        """Whether the ``CancelledError`` now in flight is this alarm's doing and nobody else's.

        Takes the cancellation back from the task, so ask once, where the error is caught.
        """
        if not self._fired or self._task is None:
            return False
        self._fired = False
        return self._task.uncancel() <= self._cancelling

    def postpone(self, ends_at: float) -> None:
        """Ring at ``ends_at``, if that is later, and it has not rung already."""
        self.ends_at = max(self.ends_at, ends_at)

    def close(self) -> None:
        """Stop watching. A cancellation that rang unseen, because the work was done first, is taken back."""
        if self._fired:
            self.uncancel()
        if self._task is not None:
            self._task = None
            timer = self._timer
            timer.active -= 1
            timer.pending.pop(self, None)
            if not timer.active:
                timer.rest()

    def fire(self) -> None:
        """Cancel the task, once."""
        if self._task is not None and not self._fired:
            self._fired = True
            self._task.cancel()
