"""The monitor of an event loop: how late it runs, what blocks it, which calls wait for long, which tasks are lost.

Acts on the decisions of ``_lateness``. A timer of the loop, the beat, measures the lag and does everything that has to
happen in the loop's thread. ``_watchdog`` samples the stack while the loop is late. Without ``start`` there is neither.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import Context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakSet

from resilient_client._core.context import CallContext
from resilient_client._core.deadline import LATE
from resilient_client._core.errors import ConfigurationError
from resilient_client._core.in_flight import CallInFlight, call_in_flight
from resilient_client._core.types import Duration
from resilient_client._core.validation import accepts, check_duration, has_methods, is_async, kind_of
from resilient_client.telemetry._histogram import Histogram
from resilient_client.telemetry._lateness import BlockedPlaces, Repeats, longest_sample, next_scan
from resilient_client.telemetry._loop_health import LoopEvent, LoopHealth, LoopWasLate
from resilient_client.telemetry._lost_tasks import LostTaskCounts, LostTaskHandler
from resilient_client.telemetry._watchdog import Pulse, Watchdog

if TYPE_CHECKING:
    from resilient_client._client.client import APIClient

_log = logging.getLogger("resilient_client.events")  # where the failures of all listeners are logged

MAX_CALLS: Final = 100
"""Long calls that a snapshot lists. Further ones are only counted."""


class LoopMonitor:
    """Watches the event loop on which it is started. Use ``async with``, or ``start`` and ``stop``.

    Costs less than 0.5 % of a core when it is on, and nothing when it is off. It adds one timer to the loop and one
    daemon thread. Both are gone after ``stop``. The thread also ends when the loop is closed and when the interpreter
    exits, and a forked process has none. The monitor may be started again, and its counts then go on.

    Blocks are logged as warnings to ``resilient_client.loop`` with the stack of the callback, while they last. A
    function is logged once per minute at most.
    """

    def __init__(
        self,
        clients: APIClient | Iterable[APIClient] = (),
        *,
        interval: Duration = 0.1,
        late_after: Duration = LATE,
        long_call: Duration | None = 10.0,
        listener: Callable[[LoopEvent], object] | None = None,
    ) -> None:
        """Describe a monitor. It does nothing before it is started.

        Args:
            clients: The clients whose calls in flight are watched. They must be used on the loop of this monitor.
            interval: The time between two measurements of the lag, 0.1 s by default. A shorter one sees more, and costs
                more in proportion.
            late_after: How late the loop must be to count as blocked, 0.1 s by default. A callback that takes longer
                than ``interval`` and ``late_after`` together is always seen, and one shorter than ``late_after`` never.
            long_call: The time after which a call in flight is reported, 10 s by default. ``None``: calls are not
                watched.
            listener: Called in the loop's thread with a ``LoopWasLate`` when the loop runs again after a block, with
                each ``TaskLost``, and with a ``CallInFlight`` for each call that exceeds ``long_call``. It must not
                block. If it raises, the error is logged, once per type of error and of event.

        Raises:
            ConfigurationError: A duration is not above 0, a client is not an ``APIClient``, or the listener cannot be
                called with one event.
        """
        self._clients = _checked_clients(clients)
        self._interval = check_duration("interval", interval)
        self._late_after = check_duration("late_after", late_after)
        self._long_call = None if long_call is None else check_duration("long_call", long_call)
        self._listener = None if listener is None else _checked_listener(listener)
        self._failures: set[tuple[type, type]] = set()  # of the listener that were logged: error, event
        self._lag = Histogram.exponential(0.001, 2.0, 15)
        self._late_count = 0
        self._blocked = BlockedPlaces()
        self._lost = LostTaskCounts()
        self._repeats = Repeats()
        self._starved = 0  # of earlier runs
        self._long_calls: tuple[CallInFlight, ...] = ()
        self._long_count = 0
        self._reported: WeakSet[CallContext] = WeakSet()
        self._next_scan = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = Context()  # of the timer: it must not keep alive the context variables of its starter
        self._pulse = Pulse()
        self._handler: LostTaskHandler
        self._watchdog: Watchdog
        self._timer: asyncio.Handle

    # -- lifecycle -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Watch the running loop. Does nothing if the monitor is watching it already.

        Raises:
            ConfigurationError: No event loop is running in this thread, or the monitor watches another one.
            RuntimeError: The system has no further thread.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is None:
            raise ConfigurationError("no event loop is running here; start the monitor in a coroutine or a callback")
        if self._loop is loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            raise ConfigurationError("the monitor watches another event loop; stop it there, or use one per loop")
        self._starved += self._pulse.starved_count
        # The first beat comes at once. Until then the present callback runs, so all frames of this thread are its own.
        self._pulse = Pulse()
        self._pulse.due = time.perf_counter()
        self._pulse.use_this_thread()
        watchdog = Watchdog(loop, self._pulse, self._late_after, self._repeats)
        watchdog.start()
        self._watchdog = watchdog
        self._handler = LostTaskHandler()
        self._handler.install(loop)
        self._loop = loop
        self._timer = loop.call_soon(self._beat, context=self._context)

    def stop(self) -> None:
        """Stop watching. Call it in the loop's thread, or when the loop is closed. May be called twice."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        self._timer.cancel()
        self._watchdog.stop()
        self._handler.remove(loop)
        now = time.perf_counter()
        if now - self._pulse.due >= self._late_after and not loop.is_closed():
            self._measure(now)  # the present callback may be what blocks the loop
        self._count_lost()
        self._long_calls, self._long_count = (), 0

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the monitor watches a loop that is not closed."""
        return self._loop is not None and not self._loop.is_closed()

    # -- reading -------------------------------------------------------------------------------------------------------

    def snapshot(self) -> LoopHealth:
        """The health of the loop now. Exporters call it when they collect.

        In the loop's thread everything is current. In another thread, the long calls are those of the latest check, and
        a check follows every second. Takes time in proportion to the number of tasks, which asyncio has to list.
        """
        loop = self._loop if self.running else None
        if loop is not None and threading.get_ident() == self._pulse.thread:
            self._find_long_calls()
        return LoopHealth(
            running=loop is not None,
            lag=self._lag.snapshot(),
            late_count=self._late_count,
            blocked=self._blocked.snapshot(),
            starved_count=self._starved + self._pulse.starved_count,
            pending_tasks=0 if loop is None else len(asyncio.all_tasks(loop)),
            long_call_count=self._long_count,
            long_calls=self._long_calls,
            lost_count=self._lost.count,
            lost=self._lost.snapshot(),
        )

    # -- the beat ------------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Measure the lag, and do what has to be done in the thread of the loop."""
        loop, pulse, now = self._loop, self._pulse, time.perf_counter()
        if loop is None:
            return
        self._timer = loop.call_later(self._interval, self._beat, context=self._context)
        self._measure(now)
        pulse.due = now + self._interval
        pulse.use_caller(sys._getframe().f_back)
        if pulse.thread != threading.get_ident():
            pulse.use_this_thread()
        if self._handler.fresh:
            self._count_lost()
        if self._clients and now >= self._next_scan:
            cpu = time.thread_time()  # on a busy machine the scan may take long, but it costs no more
            self._find_long_calls()
            self._next_scan = next_scan(now, time.thread_time() - cpu)

    def _measure(self, now: float) -> None:
        """Count how late the loop is, unless it was stopped in between."""
        pulse = self._pulse
        if pulse.not_running:
            pulse.not_running = False
            return
        lag = max(0.0, now - pulse.due)  # uvloop may be early by a millisecond
        self._lag.observe(lag)
        if lag >= self._late_after:
            self._end_block(pulse.due, lag)

    def _end_block(self, due: float, lag: float) -> None:
        samples = self._pulse.samples
        taken = [samples.popleft() for _ in range(len(samples))]
        sample = longest_sample([sample for sample in taken if sample.due == due], lag)
        self._late_count += 1
        if sample is None:
            self._emit(LoopWasLate(lag, None, ()))
        else:
            self._blocked.add(sample, lag)
            self._emit(LoopWasLate(lag, sample.place, sample.stack))

    def _count_lost(self) -> None:
        fresh = self._handler.fresh
        while fresh:
            lost = fresh.popleft()
            self._lost.add(lost)
            self._emit(lost)

    def _find_long_calls(self) -> None:
        limit = self._long_call
        if limit is None:
            return
        found = {id(context): context for client in self._clients for context in client._contexts_in_flight()}
        long = [context for context in found.values() if context.elapsed >= limit]
        long.sort(key=lambda context: context.started)
        self._long_count = len(long)
        self._long_calls = tuple(map(call_in_flight, long[:MAX_CALLS]))
        for context in long:
            if context not in self._reported:
                self._reported.add(context)
                self._emit(call_in_flight(context))

    def _emit(self, event: LoopEvent) -> None:
        if self._listener is None:
            return
        try:
            self._listener(event)
        except Exception as error:
            kind = type(error), type(event)
            if kind not in self._failures:
                self._failures.add(kind)
                _log.exception(
                    "the listener of a loop monitor failed on %s with %s; further failures of this kind are not logged",
                    type(event).__name__,
                    type(error).__name__,
                    extra={"event": "listener_failed"},
                )


def _checked_clients(clients: Any) -> tuple[APIClient, ...]:
    if has_methods(clients, "in_flight"):
        return (clients,)
    if isinstance(clients, str) or not isinstance(clients, Iterable):
        raise ConfigurationError(f"clients is {kind_of(clients)}; give an APIClient, or a list of them")
    checked = tuple(clients)
    for client in checked:
        if not has_methods(client, "in_flight"):
            raise ConfigurationError(f"one of clients is {kind_of(client)}; give APIClient objects only")
    return checked


def _checked_listener(listener: Callable[[LoopEvent], object]) -> Callable[[LoopEvent], object]:
    if not callable(listener) or is_async(listener) or not accepts(listener, 1):
        raise ConfigurationError(f"the listener is {kind_of(listener)}; give a plain function of one event")
    return listener
