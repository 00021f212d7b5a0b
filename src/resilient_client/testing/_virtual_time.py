"""An event loop with virtual time: `asyncio.sleep(3600)` takes microseconds.

While anything is ready to run, time stands still; when nothing is, the clock jumps to the next timer. The
code that runs is the real one, with nothing patched: deadlines, backoff and timeouts read the loop's clock
anyway, and the order of events follows from the program alone. It does not touch the clocks of the `time`
module: what reads those sees no jump.

A loop asks its selector to wait, and says for how long. So the trick is a selector that does not wait.
"""

import asyncio
import contextlib
import math
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context
from typing import ClassVar, TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_PATIENCE_BEFORE_JUMP = 0.001
_PATIENCE_BEFORE_DEADLOCK = 1.0


class DeadlockError(RuntimeError):
    """Every task waits, and no timer, socket or thread will ever wake one of them."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that jumps from timer to timer instead of waiting.

    No timer runs early, and none at infinity keeps the loop going. Threads work in real time, which costs no
    virtual time: while `run_in_executor` work is pending, the loop waits for it for real, but not longer than
    until the next timer. Sockets work too, but what they bring takes no virtual time either: before a jump
    the loop gives them a real millisecond.

    Args:
        start: What `time()` says at first, in seconds.
    """

    virtual: ClassVar[bool] = True
    """How `core.clock` tells this loop from a real one."""

    def __init__(self, start: float = 0.0) -> None:
        self._clock = _Clock(start)
        super().__init__(self._clock)

    def time(self) -> float:
        """The virtual time in seconds; it changes only between two turns of the loop."""
        return self._clock.now

    @property
    def timers(self) -> int:
        """How many timers are set and not cancelled."""
        # There is no public way to ask; `BaseEventLoop` keeps them in this heap in every version.
        return sum(not timer.cancelled() for timer in self._scheduled)  # type: ignore[attr-defined]  # as said

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule `callback`, as any loop does; a timer at infinity is never due, so it does not count."""
        if when == math.inf:
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts) -> asyncio.Future[_T]:
        """Run `func` in a thread, as any loop does, and let no time pass for it."""
        future = super().run_in_executor(executor, func, *args)
        self._clock.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, *args: float | None) -> None:
        """Join the threads of the default executor, as any loop does; that takes real time."""
        self._clock.threads += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._clock.threads -= 1

    def _thread_done(self, _future: asyncio.Future[_T]) -> None:
        self._clock.threads -= 1

    # asyncio runs what is due up to one resolution from now: a nanosecond, which far from zero is too small a
    # step for a float, so that the timer would never come due. One step of the float is exact everywhere.

    @property
    def _clock_resolution(self) -> float:
        return math.ulp(self._clock.now)

    @_clock_resolution.setter
    def _clock_resolution(self, value: float) -> None:
        pass  # BaseEventLoop sets the resolution of the real clock


def run_virtual(main: Coroutine[object, None, _T], *, start: float = 0.0) -> _T:
    """Run a coroutine to its end in virtual time, on a new loop; otherwise like `asyncio.run`.

    Args:
        main: What to run; tasks it leaves behind are cancelled.
        start: The virtual time at which it starts, in seconds.

    Raises:
        DeadlockError: Nothing could ever wake the tasks that wait; the message names them.
    """
    # Not the runner's own `with`: it makes the loop before it finds that another one is running.
    with contextlib.closing(asyncio.Runner(debug=False, loop_factory=lambda: VirtualTimeLoop(start))) as runner:
        return runner.run(main)


class _Clock(selectors.DefaultSelector):
    """Turns "wait that long for an event" into "it is that much later"."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.now = start
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Let time pass: `timeout` is 0 when something is ready, None when there is no timer either."""
        sockets = len(self.get_map()) > 1  # one is the loop's own, by which threads wake it
        if timeout == 0:
            return super().select(0) if sockets else []
        if self.threads:
            patience = timeout
        elif timeout is None:
            patience = _PATIENCE_BEFORE_DEADLOCK if sockets or threading.active_count() > 1 else 0
        else:
            patience = _PATIENCE_BEFORE_JUMP if sockets else 0
        # The system call costs more than the rest of a turn: skipped where nothing can come of it.
        if patience != 0 and (events := super().select(patience)):
            return events
        if timeout is None:
            raise DeadlockError(_deadlock())
        self.now += timeout
        return []


def _deadlock() -> str:
    waiting = sorted(_where(task) for task in asyncio.all_tasks())
    return f"every task waits and no timer is set: {', '.join(waiting) or 'no task is left'}"


def _where(task: asyncio.Task[object]) -> str:
    places = [f" in {frame.f_code.co_qualname}, line {frame.f_lineno}" for frame in task.get_stack(limit=1)]
    return task.get_name() + "".join(places)
