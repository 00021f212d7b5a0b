"""An event loop with virtual time: `asyncio.sleep(3600)` takes microseconds.

While any callback is ready to run, time stands still. When none is, the clock jumps to the next timer. Nothing is
patched: deadlines, backoff and timeouts already read the loop's clock, and the order of events follows from the
program alone. The clocks of the `time` module are not affected, so code that reads them sees no jump.

The implementation is a selector that does not wait. An asyncio loop waits in exactly one place, its selector's
`select(timeout)`, so a selector that advances the clock by `timeout` instead of waiting is enough.
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

# Real seconds. Data on a loopback socket is normally there within a millisecond. Waiting for it keeps a reply that is
# already on its way from losing against a timeout that lies virtual seconds ahead.
_WAIT_BEFORE_JUMP = 0.001
# Real seconds. Without any timer a jump is impossible, so the only cost of waiting longer is a later error.
_WAIT_BEFORE_DEADLOCK = 1.0


class DeadlockError(RuntimeError):
    """Every task waits, and no timer, socket or thread can wake any of them."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that jumps from timer to timer instead of waiting.

    No timer runs early. A timer at infinity does not keep the loop running. Threads run in real time and take no
    virtual time: while `run_in_executor` work is pending, the loop really waits for it, but no longer than until the
    next timer. Sockets work too, and their data takes no virtual time either: the loop gives them one real millisecond
    before each jump.

    Args:
        start: The initial value of `time()`, in seconds.
    """

    virtual: ClassVar[bool] = True
    """Marks the loop as virtual. The library checks this attribute, so it need not import this module."""

    def __init__(self, start: float = 0.0) -> None:
        self._clock = _Clock(start)
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the virtual time in seconds. It changes only between two iterations of the loop."""
        return self._clock.now

    @property
    def timers(self) -> int:
        """The number of timers that are set and not cancelled."""
        # asyncio has no public way to list timers. BaseEventLoop keeps them in this heap in all supported versions.
        return sum(not timer.cancelled() for timer in self._scheduled)  # type: ignore[attr-defined]  # see above

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule `callback` like any loop. A timer at infinity never fires and is not counted as a timer."""
        if when == math.inf:
            # Not scheduled: the clock could jump to infinity, and a deadlock would go unnoticed.
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts) -> asyncio.Future[_T]:
        """Run `func` in a thread like any loop. It takes no virtual time."""
        future = super().run_in_executor(executor, func, *args)
        self._clock.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, *args: float | None) -> None:
        """Join the threads of the default executor like any loop. This takes real time."""
        # asyncio joins them from a thread of its own, past run_in_executor, so that thread is counted here.
        self._clock.threads += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._clock.threads -= 1

    def _thread_done(self, _future: asyncio.Future[_T]) -> None:
        self._clock.threads -= 1

    # asyncio runs the timers that lie before ``now + resolution``, where the resolution is usually a nanosecond. Far
    # from zero a float cannot represent that step: the sum equals ``now``, so a timer that is due exactly now would
    # never run and the loop would spin. One unit in the last place is the smallest step that always works.

    @property
    def _clock_resolution(self) -> float:
        return math.ulp(self._clock.now)

    @_clock_resolution.setter
    def _clock_resolution(self, value: float) -> None:
        pass  # BaseEventLoop.__init__ assigns the resolution of the real clock


def run_virtual(main: Coroutine[object, None, _T], *, start: float = 0.0) -> _T:
    """Run a coroutine to its end in virtual time, on a new loop. Otherwise it works like `asyncio.run`.

    Args:
        main: The coroutine to run. Tasks that it leaves running are cancelled.
        start: The virtual time at which it starts, in seconds.

    Raises:
        DeadlockError: Nothing can wake the waiting tasks. The message names them.
    """
    # Not ``with asyncio.Runner(...)``: its __enter__ creates the loop before it finds that another one is running, and
    # that loop would then be left open.
    with contextlib.closing(asyncio.Runner(debug=False, loop_factory=lambda: VirtualTimeLoop(start))) as runner:
        return runner.run(main)


class _Clock(selectors.DefaultSelector):
    """A selector that advances a virtual clock by the timeout instead of waiting for it."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.now = start
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return ready sockets, or advance the clock by `timeout`.

        `timeout` is 0 when a callback is ready, and None when no timer is set.
        """
        # One registered socket is the loop's own self-pipe, through which threads wake the loop.
        sockets = len(self.get_map()) > 1
        if timeout == 0:
            return super().select(0) if sockets else []
        if self.threads:
            # Work in a thread may finish before the next timer, so wait in real time, but only until that timer.
            real_wait = timeout
        elif timeout is None:
            # A thread that the loop did not start may still wake it with call_soon_threadsafe.
            real_wait = _WAIT_BEFORE_DEADLOCK if sockets or threading.active_count() > 1 else 0
        else:
            real_wait = _WAIT_BEFORE_JUMP if sockets else 0
        # The system call costs more than the rest of a loop iteration, so it is skipped when it cannot return anything.
        if real_wait != 0 and (events := super().select(real_wait)):
            return events
        if timeout is None:
            raise DeadlockError(_deadlock_message())
        self.now += timeout
        return []


def _deadlock_message() -> str:
    waiting = sorted(_describe(task) for task in asyncio.all_tasks())
    return f"every task waits and no timer is set: {', '.join(waiting) or 'no task is left'}"


def _describe(task: asyncio.Task[object]) -> str:
    """Return the name of a task and the function and line where it waits."""
    places = [f" in {frame.f_code.co_qualname}, line {frame.f_lineno}" for frame in task.get_stack(limit=1)]
    return task.get_name() + "".join(places)
