"""The watchdog: a daemon thread that samples the stack of an event loop once the loop is late.

It acts on the decisions of ``_lateness``. A beat, a timer of the loop in ``_loop_monitor``, moves ``Pulse.due`` on. The
thread sleeps until a beat is overdue, and needs no wake-up as long as the loop runs in time. It refers to the loop
weakly, so it ends by itself when the loop is closed or gone.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import math
import os
import threading
import time
import weakref
from collections import deque
from types import CodeType, FrameType
from typing import Final

from resilient_client.telemetry._lateness import Repeats, Sample, Sampling
from resilient_client.telemetry._stack import depth_of, place_to_blame, stack_of

LOGGER: Final = "resilient_client.loop"
"""The logger of the warnings about a blocked loop."""

_log = logging.getLogger(LOGGER)
_STOPPED_LOOP_WAIT: Final = 1.0  # seconds between two checks of a loop that is not running but may run again
_JOIN_LIMIT: Final = 1.0  # seconds: a log handler that waits for the loop must not stop it for ever
_MAX_SAMPLES: Final = 64  # of one block, of which each is twice as late as the one before

_threads: weakref.WeakSet[Watchdog] = weakref.WeakSet()


class Pulse:
    """What the thread of the loop and the watchdog tell each other. Each attribute has one writer.

    Attributes:
        due: When the next beat is due. Written by the loop.
        outer_frames: The number of frames below the callbacks of the loop. Written by the loop.
        caller: The code of the innermost of them. Written by the loop.
        thread: The identifier of the loop's thread. Written by the loop.
        cpu_clock: The clock of that thread's CPU time, or ``None`` if the system has none. Written by the loop.
        samples: Taken by the watchdog, consumed by the loop.
        starved_count: How often lateness was excused. Written by the watchdog.
        not_running: Whether the loop was found stopped, so that the next beat is not late. Set by the watchdog.
    """

    __slots__ = ("caller", "cpu_clock", "due", "not_running", "outer_frames", "samples", "starved_count", "thread")

    def __init__(self) -> None:
        self.due = 0.0
        self.outer_frames = 0
        self.caller: CodeType | None = None
        self.thread = 0
        self.cpu_clock: int | None = None
        self.samples: deque[Sample] = deque(maxlen=_MAX_SAMPLES)
        self.starved_count = 0
        self.not_running = False

    def use_this_thread(self) -> None:
        """The loop runs in the current thread from now on."""
        self.thread = threading.get_ident()
        # Only the thread itself may ask safely: the identifier of a thread that has ended crashes some systems.
        clock_of = getattr(time, "pthread_getcpuclockid", None)
        self.cpu_clock = None if clock_of is None else clock_of(self.thread)

    def use_caller(self, frame: FrameType | None) -> None:
        """Callbacks of the loop are called by ``frame``, as the present one is."""
        self.outer_frames = depth_of(frame)
        self.caller = None if frame is None else frame.f_code

    def cpu(self) -> float:
        """Seconds of CPU that the loop's thread has used, or NaN if that is not known."""
        try:
            return math.nan if self.cpu_clock is None else time.clock_gettime(self.cpu_clock)
        except OSError:  # the thread has ended
            return math.nan


class Watchdog:
    """The thread, from ``start`` to ``stop``. It also ends when the loop is closed, and at the exit of the interpreter.

    Args:
        loop: The loop to watch. Only referred to weakly.
        pulse: What is known of the loop.
        late_after: Seconds from which the loop counts as late.
        repeats: Bounds the warnings.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pulse: Pulse, late_after: float, repeats: Repeats) -> None:
        self._loop = weakref.ref(loop)
        self._pulse = pulse
        self._sampling = Sampling(late_after)
        self._repeats = repeats
        self._process = os.getpid()
        self._running = threading.Lock()  # held until ``stop``. Cheaper to wait for than an Event
        self._thread = threading.Thread(target=self._run, name="resilient-client-loop-watchdog", daemon=True)

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: The system has no further thread.
        """
        self._running.acquire()
        self._thread.start()
        _threads.add(self)

    def stop(self) -> None:
        """End the thread and wait for it, for a second at most. Call it once."""
        _threads.discard(self)
        if os.getpid() != self._process:
            return  # a fork copies the lock, but not the thread
        self._running.release()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_LIMIT)

    def _run(self) -> None:
        seconds, cpu = self._sampling.late_after, self._pulse.cpu()
        wakes_at = time.perf_counter() + seconds
        while not self._running.acquire(timeout=seconds):
            now, cpu_before, cpu = time.perf_counter(), cpu, self._pulse.cpu()
            loop = self._loop()
            if loop is None or loop.is_closed():
                return
            if loop.is_running():
                seconds = self._check(now, now - wakes_at, cpu - cpu_before)
            else:
                self._pulse.not_running = True
                seconds = _STOPPED_LOOP_WAIT
            del loop
            wakes_at = time.perf_counter() + seconds

    def _check(self, now: float, overslept: float, cpu: float) -> float:
        """Sample the loop if that is due; returns the seconds until the next check."""
        sampling, pulse = self._sampling, self._pulse
        due = pulse.due
        seconds = sampling.wait(due, now)
        if seconds == 0:
            if sampling.excused(now, overslept, math.inf if math.isnan(cpu) else cpu):
                pulse.starved_count += 1
            else:
                self._sample(due, now)
                sampling.sampled(now)
            seconds = sampling.wait(due, now)
        return max(seconds, 0.001)

    def _sample(self, due: float, now: float) -> None:
        pulse = self._pulse
        stack = stack_of(pulse.thread, pulse.outer_frames, pulse.caller)
        if not stack or pulse.due != due:
            return  # no callback is running, or the loop has run meanwhile
        sample = Sample(due, now - due, place_to_blame(stack), stack)
        pulse.samples.append(sample)
        suppressed = self._repeats.suppressed(sample.place, now)
        if suppressed is None:
            return
        try:
            _warn(sample, suppressed)
        except Exception:  # noqa: S110 -- of a user's log filter. There is no better log to report it to
            pass


def _warn(sample: Sample, suppressed: int) -> None:
    """Log where the loop is blocked. From here and at once, because a loop may stay blocked for ever."""
    again = f"; {suppressed} more times since the last such message" if suppressed else ""
    lines = "".join(f"\n  {place}" for place in sample.stack)
    _log.warning(
        "the event loop is blocked for %.3g s or more by %s%s; move the work to a thread, or await in between. "
        "Stack, innermost last:%s",
        sample.late,
        sample.place,
        again,
        lines,
        extra={"event": "loop_blocked", "suppressed": suppressed} | sample.place._asdict() | {"seconds": sample.late},
    )


@atexit.register
def _stop_all() -> None:
    """End the threads before the interpreter does: a daemon thread that runs on meets a half-cleared interpreter."""
    for watchdog in tuple(_threads):
        watchdog.stop()
