"""Deadlines shared by calls, and the one loop timer that enforces all timeouts of a client.

A deadline is an absolute time of the running event loop. ``TaskTimeout`` cancels its task at that time. Like
``asyncio.timeout``, it distinguishes its own cancellation from a caller's, but at a fraction of the cost, because all
timeouts of a client share one loop timer.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Protocol

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.types import Duration
from resilient_client._core.validation import check_duration

if TYPE_CHECKING:
    from resilient_client._core.context import CallContext

RESOLUTION = 0.001
"""Seconds. uvloop's clock advances in steps of one millisecond, so a timeout this close to its end counts as due."""

LATE = 0.1
"""Seconds. If a timeout fires later than this, the event loop was blocked, and a reply may have waited unread."""

_ambient: ContextVar[float] = ContextVar("resilient_client_deadline", default=math.inf)


@contextmanager
def deadline(*, after: Duration | None = None, at: float | None = None) -> Iterator[float]:
    """Bound every call made inside the block by one shared deadline. Of nested deadlines the earliest applies.

    The deadline interrupts calls, but no other code in the block. Tasks started inside inherit the deadline.

    Args:
        after: The duration from now: seconds, text such as ``"500ms"``, or a ``timedelta``. With zero or less, the
            deadline has passed already.
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
    """The deadline that applies here, as an absolute loop time, or infinity if there is none."""
    return _ambient.get()


class Timed(Protocol):
    """A timeout that a ``SharedTimer`` fires at ``ends_at``, a loop time."""

    ends_at: float

    @property
    def context(self) -> CallContext | None:
        """The call that waits. ``None`` if there is none, or if another timeout stands for it."""
        ...

    def fire(self) -> None:
        """Handle the end of the time. Must not raise, and must do nothing when called after ``remove``."""
        ...

    def abort(self) -> None:
        """Handle the end of the client, like the end of the time."""
        ...


class SharedTimer:
    """One timer of the event loop for any number of timeouts, set for the earliest of them.

    perf: -15 % instructions with 32 calls at once, compared with a loop timer per attempt. A new timeout only
    enters a dict, which costs next to nothing, and most timeouts are removed before the timer fires. Timeouts that are
    still in the dict at that moment move to a heap ordered by their ends. The loop timer is cancelled when the last
    timeout is removed.

    Attributes:
        loop: The loop whose time is used.
        active: The number of timeouts.
        pending: The timeouts added since the timer last fired, oldest first, and those that never fire. The fixed order
            makes runs repeatable.
        armed_for: The loop time at which the loop timer fires, or infinity if it is not set.
    """

    __slots__ = ("_context", "_count", "_handle", "_heap", "_idle", "active", "armed_for", "loop", "pending")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.active = 0
        self.pending: dict[Timed, None] = {}
        self._heap: list[tuple[float, int, Timed]] = []
        self._count = 0  # breaks ties by age: timeouts themselves cannot be compared
        self._handle: asyncio.TimerHandle | None = None
        self._idle: asyncio.Event | None = None  # set when there is no timeout left, if that is waited for
        self._context = Context()  # else the timer would keep alive the context variables of the call that armed it
        self.armed_for = math.inf

    def add(self, timeout: Timed) -> None:
        """Fire ``timeout`` at its end, unless it is removed first."""
        self.active += 1
        self.pending[timeout] = None
        if timeout.ends_at < self.armed_for:
            self.arm(timeout.ends_at)

    def remove(self, timeout: Timed) -> None:
        """Remove ``timeout``. Call this once per ``add``. If it is in the heap, it still fires, without effect."""
        self.active -= 1
        self.pending.pop(timeout, None)
        if not self.active:
            self.disarm()

    def arm(self, at: float) -> None:
        """Set the loop timer to fire at loop time ``at``, in place of the time it was set to."""
        self._cancel_handle()
        self.armed_for = at
        self._handle = self.loop.call_at(at, self._fire, context=self._context)

    def disarm(self) -> None:
        """Cancel the loop timer. Called when the last timeout was removed."""
        self._heap.clear()
        self._cancel_handle()
        if self._idle is not None:
            self._idle.set()

    def timeouts(self) -> list[Timed]:
        """The timeouts of this moment. May include some that were removed: those have no ``context`` any more."""
        return [*self.pending, *(timeout for _, _, timeout in self._heap)]

    async def idle(self) -> None:
        """Wait until there is no timeout. The calls of a client have one as long as they wait for anything."""
        while self.active:  # again, because a call that ends one timeout may begin the next one
            self._idle = self._idle or asyncio.Event()
            self._idle.clear()
            await self._idle.wait()

    def abort(self) -> None:
        """End what has a timeout: the client is closed. The newest come first, because a call aborts its innermost."""
        # An endless timeout is never inside one with an end, so those that have none are the outermost.
        endless = [timeout for timeout in self.pending if timeout.ends_at == math.inf]
        aged = [timeout for _, _, timeout in sorted(self._heap, key=lambda entry: entry[1])]
        recent = [timeout for timeout in self.pending if timeout.ends_at < math.inf]
        for timeout in reversed((*endless, *aged, *recent)):
            timeout.abort()

    def _cancel_handle(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self.armed_for = math.inf

    def _fire(self) -> None:
        # Only timeouts that outlive a firing of the loop timer pay for the heap. Postponing does not touch the heap, so
        # the key of an entry may be too early. Such an entry is pushed again when it comes up.
        self._cancel_handle()
        for timeout in self.pending:
            self._push(timeout)
        self.pending = {timeout: None for timeout in self.pending if timeout.ends_at == math.inf}
        due = self.loop.time() + RESOLUTION
        while self._heap and self._heap[0][0] <= due:
            timeout = heappop(self._heap)[2]
            if timeout.ends_at <= due:
                timeout.fire()
            else:
                self._push(timeout)
        if self._heap:
            self.arm(self._heap[0][0])

    def _push(self, timeout: Timed) -> None:
        if timeout.ends_at < math.inf:
            self._count += 1
            heappush(self._heap, (timeout.ends_at, self._count, timeout))


class TaskTimeout:
    """Cancels the current task at a given time, unless it is closed first.

    Create it in the task that it should cancel, and call ``close()`` in a ``finally``.

    Attributes:
        ends_at: The loop time at which the task is cancelled. Infinity means never. Can only be postponed.
        context: The call that the task waits for, until the timeout is closed.
        abortable: Whether the task is cancelled when the client is closed.
        aborted: Whether it was cancelled because of that. Then ``uncancel`` is true as after the end of the time.
        late: Seconds after ``ends_at`` at which it fired, if it has. Above ``LATE``, silence proves nothing.
    """

    # On the class, not in __init__: they are rarely set, and each assignment costs time.
    abortable = True
    aborted = False
    late = 0.0

    def __init__(self, timer: SharedTimer, ends_at: float, context: CallContext | None = None) -> None:
        """Watch the current task.

        Args:
            timer: The shared timer of the running loop.
            ends_at: The loop time at which to cancel. Infinity means never.
            context: The call that waits, by which it is found among the calls in flight.
        """
        task = asyncio.current_task(timer.loop)
        if task is None:
            raise RuntimeError("a call must be awaited inside a task, such as one started by asyncio.run()")
        self._timer = timer
        self._task: asyncio.Task[object] | None = task
        # Cancellation requests that were pending before. Any further one, besides ours, is a caller's.
        self._cancelling = task.cancelling()
        self._fired = False
        self.ends_at = ends_at
        self.context = context
        timer.add(self)

    @property
    def has_fired(self) -> bool:
        """Whether the time, and nothing else, has cancelled the task. Unlike ``uncancel``, changes nothing."""
        return (
            self._fired
            and not self.aborted
            and self._task is not None
            and self._task.cancelling() - 1 <= self._cancelling
        )

    def uncancel(self) -> bool:
        """Withdraw this timeout's cancellation from the task (``Task.uncancel``). Call once, where the error is caught.

        Returns:
            Whether the ``CancelledError`` being handled came from this timeout alone.
        """
        if not self._fired or self._task is None:
            return False
        self._fired = False
        return self._task.uncancel() <= self._cancelling

    def postpone(self, ends_at: float) -> None:
        """Fire at ``ends_at`` if that is later. Has no effect once the timeout has fired."""
        self.ends_at = max(self.ends_at, ends_at)

    def close(self) -> None:
        """Stop watching the task. Withdraws a cancellation that the task never saw because its work was done first."""
        if self._fired:
            self.uncancel()
        if self._task is not None:
            self._task = None
            self.context = None  # the heap of the timer may hold this object for long
            self._timer.remove(self)

    def fire(self) -> None:
        """Cancel the task. Further calls do nothing."""
        if self._task is not None and not self._fired:
            self._fired = True
            self.late = max(0.0, self._timer.loop.time() - self.ends_at)
            self._task.cancel()

    def abort(self) -> None:
        """Cancel the task because its client is closed. Not the task that closes it, nor one that is cancelled already.

        So of nested timeouts of one task only the innermost, which is aborted first, cancels it.
        """
        task = self._task
        if not self.abortable or task is None or self._fired or task.cancelling() > self._cancelling:
            return
        if task is not asyncio.current_task(self._timer.loop):
            self.aborted = True
            self.fire()
