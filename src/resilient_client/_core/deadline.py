"""Absolute ends: the deadline that calls share, and the one timer that enforces all timeouts.

A deadline is an absolute time of the running event loop. ``TaskTimeout`` cancels its task when the time is up, and
tells that cancellation from a caller's own as ``asyncio.timeout`` does, at a fraction of the cost: all timeouts of a
client share one timer of the loop.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from heapq import heappop, heappush
from typing import Protocol

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.types import Duration
from resilient_client._core.validation import check_duration

RESOLUTION = 0.001
"""Seconds. uvloop's clock advances in steps of a millisecond."""

_ambient: ContextVar[float] = ContextVar("resilient_client_deadline", default=math.inf)


@contextmanager
def deadline(*, after: Duration | None = None, at: float | None = None) -> Iterator[float]:
    """Bound every call made inside by one shared deadline; of nested deadlines the earliest holds.

    The code inside is not interrupted; its calls are. Works across tasks started inside.

    Args:
        after: The duration from now: seconds, text such as ``"500ms"``, or a ``timedelta``. Zero or less means: over.
        at: An absolute ``loop.time()``, instead of ``after``.

    Yields:
        The deadline in force, as an absolute ``loop.time()``.

    Raises:
        ConfigurationError: Neither or both of ``after`` and ``at`` were given, or one of them is not a time.
    """
    if (after is None) == (at is None):
        raise ConfigurationError("deadline() takes exactly one of after=SECONDS and at=LOOP_TIME")
    if at is not None:
        ends_at = check_duration("deadline(at=)", at, negative=True, infinite=True)
    else:
        ends_at = check_duration("deadline(after=)", after, negative=True, infinite=True)
        ends_at += asyncio.get_running_loop().time()
    token = _ambient.set(min(ends_at, _ambient.get()))
    try:
        yield _ambient.get()
    finally:
        _ambient.reset(token)


def ambient_deadline() -> float:
    """The deadline set around this code, as an absolute loop time; infinity when there is none."""
    return _ambient.get()


class Timed(Protocol):
    """What a ``SharedTimer`` fires."""

    ends_at: float

    def fire(self) -> None:
        """The time is up. Must not raise; may be called after ``remove``, and does nothing then."""
        ...


class SharedTimer:
    """One timer of the event loop for any number of timeouts: it is set for the earliest of them.

    A loop timer per attempt would be the most expensive part of a call that succeeds. So a new timeout only enters a
    dict, which costs next to nothing, and most leave it again before the timer fires. Those still there when it fires
    move to a heap, once, ordered by their ends. With the last timeout gone, the loop timer is cancelled.

    Attributes:
        loop: The loop whose time is used.
        active: How many timeouts there are.
        pending: Those added since the timer last fired, in order of age, so that runs repeat.
        armed_for: When the loop timer fires; infinity: it is not set.
    """

    __slots__ = ("_context", "_count", "_handle", "_heap", "active", "armed_for", "loop", "pending")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.active = 0
        self.pending: dict[Timed, None] = {}
        self._heap: list[tuple[float, int, Timed]] = []
        self._count = 0  # breaks ties by age, so that timeouts are never compared
        self._handle: asyncio.TimerHandle | None = None
        self._context = Context()  # or the timer would keep the context variables of whichever call set it
        self.armed_for = math.inf

    def add(self, timeout: Timed) -> None:
        """Fire ``timeout`` at its end, unless it is removed before."""
        self.active += 1
        self.pending[timeout] = None
        if timeout.ends_at < self.armed_for:
            self.arm(timeout.ends_at)

    def remove(self, timeout: Timed) -> None:
        """Forget ``timeout``; call it once per ``add``. It may still be in the heap, and is fired in vain then."""
        self.active -= 1
        self.pending.pop(timeout, None)
        if not self.active:
            self.disarm()

    def arm(self, at: float) -> None:
        """Set the loop timer."""
        self._cancel_handle()
        self.armed_for = at
        self._handle = self.loop.call_at(at, self._fire, context=self._context)

    def disarm(self) -> None:
        """Cancel the loop timer: the last timeout is gone."""
        self._heap.clear()
        self._cancel_handle()

    def _cancel_handle(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self.armed_for = math.inf

    def _fire(self) -> None:
        self._cancel_handle()
        for timeout in self.pending:
            self._push(timeout)
        self.pending.clear()
        due = self.loop.time() + RESOLUTION
        while self._heap and self._heap[0][0] <= due:
            timeout = heappop(self._heap)[2]
            if timeout.ends_at <= due:
                timeout.fire()
            else:
                self._push(timeout)  # it was postponed meanwhile
        if self._heap:
            self.arm(self._heap[0][0])

    def _push(self, timeout: Timed) -> None:
        if timeout.ends_at < math.inf:
            self._count += 1
            heappush(self._heap, (timeout.ends_at, self._count, timeout))


class TaskTimeout:
    """Cancels the current task at a given time, unless closed before.

    Create it in the task that it is to cancel; ``close()`` belongs in a ``finally``.

    Attributes:
        ends_at: When the task is cancelled, in loop time; infinity means never. Can only be postponed.
    """

    def __init__(self, timer: SharedTimer, ends_at: float) -> None:
        """Watch the current task.

        Args:
            timer: Belongs to the running loop.
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
        # perf: timer.add and timer.remove written out, -0.5 % instructions of a plain GET
        timer.active += 1
        timer.pending[self] = None
        if ends_at < timer.armed_for:
            timer.arm(ends_at)

    @property
    def has_fired(self) -> bool:
        """Whether this timeout has cancelled the task and nothing else has. Changes nothing."""
        return self._fired and self._task is not None and self._task.cancelling() - 1 <= self._cancelling

    def uncancel(self) -> bool:
        """Take this timeout's cancellation back from the task (``Task.uncancel``).

        Returns:
            Whether the ``CancelledError`` in flight came from this timeout alone. Call it once, where the error is
            caught.
        """
        if not self._fired or self._task is None:
            return False
        self._fired = False
        return self._task.uncancel() <= self._cancelling

    def postpone(self, ends_at: float) -> None:
        """Fire at ``ends_at``, if that is later, and it has not fired already."""
        self.ends_at = max(self.ends_at, ends_at)

    def close(self) -> None:
        """Stop watching. A cancellation that the task never saw, because its work was done first, is taken back."""
        if self._fired:
            self.uncancel()
        if self._task is not None:
            self._task = None
            timer = self._timer
            timer.active -= 1
            timer.pending.pop(self, None)
            if not timer.active:
                timer.disarm()

    def fire(self) -> None:
        """Cancel the task, once."""
        if self._task is not None and not self._fired:
            self._fired = True
            self._task.cancel()
