"""Runs the calls of a fan-out: workers that share one source and put outcomes into one sink.

A worker is a task that draws a call, runs it, puts its outcome into the sink, and draws the next one. Before it runs a
call it starts further workers, so there are never idle ones, and never one task per call. A worker yields to the event
loop between calls that did not wait themselves. No call is started after the deadline, and every cancelled call is
awaited.

A ``CancelledError`` in a worker has one of four sources, and the code below distinguishes them:

==============================  ================================  ==============================================
source                          how the worker recognises it      what the worker does
==============================  ================================  ==============================================
the caller was cancelled        ``aborted`` is set                ends
a worker or the source failed   ``aborted`` is set                ends
the fan-out cancelled the call  ``_in_flight[task]`` is ``True``  records a failure, draws the next call
the call cancelled itself       none of these                     records a failure, draws the next call
==============================  ================================  ==============================================
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from contextlib import nullcontext
from typing import Any, Generic, Protocol, TypeVar, cast

from resilient_client._core.call import Call
from resilient_client._core.deadline import RESOLUTION, ambient_deadline, deadline
from resilient_client._core.errors import APIError, InvalidRequestError
from resilient_client._core.outcome import Failure, Outcome
from resilient_client._core.protocols import Runner
from resilient_client._core.types import Duration
from resilient_client._core.validation import check_count, check_duration, discard
from resilient_client._fanout import errors
from resilient_client._fanout.source import Source

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

_GRACE_PERIOD = 0.05
"""Seconds from the deadline until calls still in flight are cancelled. A client ends its calls at the deadline itself,
with an error that has more detail than a cancellation. This is for runners that ignore the deadline."""


class Sink(Protocol[T_contra]):
    """Takes the outcomes."""

    @property
    def full(self) -> bool:
        """Whether no further call should be started for now."""
        ...

    async def wait_for_space(self) -> None:
        """Wait until the sink is not full."""
        ...

    def put(self, index: int, outcome: Outcome[T_contra]) -> str:
        """Take the outcome of the call at ``index``.

        Returns:
            Why the fan-out should stop now, or ``""`` if it should go on.
        """
        ...


class Workers(Generic[T]):
    """Runs the calls of a source, at most ``concurrency`` at once, and puts their outcomes into a sink. Runs once.

    Attributes:
        aborted: Whether all tasks have to end, because one of them failed or the caller was cancelled.
    """

    __slots__ = (
        "_all_done",
        "_eager",
        "_ends_at",
        "_group",
        "_in_flight",
        "_last_started",
        "_loop",
        "_remaining_workers",
        "_sink",
        "_source",
        "_stop_reason",
        "_successors",
        "_task_count",
        "aborted",
    )

    def __init__(self, source: Source[T], concurrency: int, sink: Sink[T]) -> None:
        self._source = source
        self._sink = sink
        # How many workers each worker starts. With a known number of calls there are at most as many workers as calls,
        # so none is started in vain. With two each, all of them run after log2(concurrency) iterations of the loop. An
        # iterable of unknown length may be exhausted, so there each worker that found a call starts only one.
        self._successors = 2 if source.sized else 1
        self._remaining_workers = min(concurrency, source.length or 1) if source.sized else concurrency
        self._in_flight: dict[asyncio.Task[None], bool] = {}  # workers with a call, and whether it was cancelled here
        self._last_started: asyncio.Task[None] | None = None  # the worker that started a call last
        self._stop_reason = ""  # not empty: the fan-out has stopped
        self._ends_at = math.inf  # loop time
        self._task_count = 0
        self._eager = False
        self.aborted = False
        self._loop: asyncio.AbstractEventLoop
        self._group: asyncio.TaskGroup
        self._all_done: asyncio.Future[None]

    async def run(self, timeout: float | None) -> None:
        """Run all calls. If this is cancelled, it cancels the calls in flight and awaits their end.

        Args:
            timeout: Seconds for all calls together, from now. With ``None`` only an ambient deadline bounds them.

        Raises:
            Exception: The source raised it. All calls have been cancelled and awaited.
        """
        self._loop = asyncio.get_running_loop()
        self._eager = self._loop.get_task_factory() is not None
        with deadline(after=timeout) if timeout is not None else nullcontext():
            self._ends_at = ambient_deadline()
            failure = await self._run_group()
        if failure is not None:
            try:
                raise failure
            finally:
                failure = None  # breaks the cycle: failure -> traceback -> this frame -> failure
        if self._source.cut_off is not None:
            self._sink.put(self._source.cut_off, Failure(errors.cut_off()))

    async def _run_group(self) -> Exception | None:
        """Run all tasks to their end. Returns the first exception of one of them."""
        ends_at = self._ends_at
        timer = None if ends_at == math.inf else self._loop.call_at(ends_at + _GRACE_PERIOD, self._cancel_calls)
        try:
            async with asyncio.TaskGroup() as self._group:
                await self._run_tasks()
        except ExceptionGroup as group:
            return group.exceptions[0]
        finally:
            if timer is not None:
                timer.cancel()
        return None

    async def _run_tasks(self) -> None:
        self._all_done = self._loop.create_future()
        self._source.open(self, self._ends_at)
        self._start_workers(1)
        try:
            # The end of the task group would wait for the tasks, too. But when the caller is cancelled there, the group
            # cancels the tasks at once, and they could not see in ``aborted`` that they have to end.
            await self._all_done
        except asyncio.CancelledError:
            self.aborted = True
            raise

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start one more task of the group."""
        self._task_count += 1
        task = self._group.create_task(work)
        # The group has its own callback, which was added first. If the task failed, the group has therefore requested
        # the cancellation of the other tasks when ``_on_task_done`` sets ``aborted``, but none of them has run yet.
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._task_count -= 1
        if not task.cancelled() and task.exception() is not None:
            self.aborted = True
        if not self._task_count and not self._all_done.done():
            self._all_done.set_result(None)

    def _start_workers(self, count: int) -> None:
        for _ in range(min(count, self._remaining_workers)):
            self._remaining_workers -= 1
            self.start(self._work_after_yield() if self._eager else self._work())

    async def _work_after_yield(self) -> None:
        """Work from the next iteration of the loop on.

        An eager task factory runs a new task inside ``create_task``. Each worker would run inside the one that started
        it, and with many workers that exceeds the recursion limit.
        """
        await asyncio.sleep(0)
        await self._work()

    async def _work(self) -> None:
        """Draw calls and run them one after the other, until there are no more."""
        task = cast("asyncio.Task[None]", asyncio.current_task())  # not None: the group runs this as a task
        while self._source.sized or not self._stop_reason:
            if self._sink.full:
                await self._sink.wait_for_space()
            drawn = self._source.draw()
            if isinstance(drawn, asyncio.Future):
                drawn = await drawn
            if drawn is None:
                return
            index, call, runner = drawn
            if not self._may_start():
                self._put(index, Failure(self._not_started(call), key=call.key))
                if not self._source.sized:
                    return  # the rest may be endless, and this failure reports that it was cut off
                await self._yield_to_loop()
                continue
            if self._remaining_workers:
                self._start_workers(self._successors)
            if not await self._run_call(task, index, call, runner):
                await self._yield_to_loop()

    def _may_start(self) -> bool:
        return not self._stop_reason and (self._ends_at == math.inf or self._loop.time() < self._ends_at)

    async def _run_call(self, task: asyncio.Task[None], index: int, call: Call[T], runner: Runner) -> bool:
        """Run a call and put its outcome into the sink. Returns whether the worker may go on without yielding."""
        self._in_flight[task] = False
        self._last_started = task
        try:
            outcome = await runner.run(call)
        except asyncio.CancelledError as cancellation:
            if self.aborted:
                raise
            outcome = Failure(self._cancelled(call, cancellation, by_us=self._in_flight[task]), key=call.key)
        finally:
            del self._in_flight[task]
        if self.aborted:
            raise asyncio.CancelledError  # the call suppressed it, but this worker has to end
        if task.cancelling():
            self._clear_cancellation(task)
        self._put(index, outcome)
        # If another worker has started a call since, this one was suspended meanwhile. A failure always yields: calls
        # that fail at once, such as those that an open circuit refuses, would otherwise keep the loop busy.
        return outcome.ok and self._last_started is not task

    def _clear_cancellation(self, task: asyncio.Task[None]) -> None:
        """Make the task usable for the next call, after one that was cancelled or cancelled its own task.

        Timeouts written before Python 3.11 cancel their own task and never call ``uncancel``. As long as the count is
        not zero, ``asyncio.timeout`` and task groups of later calls would misread it as a cancellation from outside.
        """
        while task.cancelling():
            task.uncancel()
        # Before Python 3.13 ``uncancel`` does not withdraw a CancelledError that is still to be thrown. So make this
        # worker yield: the error is then thrown in ``_yield_to_loop``, which ignores it, and not in the next call.
        self._last_started = task

    async def _yield_to_loop(self) -> None:
        """Let other tasks run: calls that are refused at once must not block the loop from call to call."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if self.aborted:
                raise
            # Otherwise the call before cancelled its own task as its last act. See ``_clear_cancellation``.

    def _put(self, index: int, outcome: Outcome[T]) -> None:
        reason = self._sink.put(index, outcome)
        # After the deadline the fan-out does not stop: what is left fails with DEADLINE and was not dropped.
        if reason and not self._stop_reason and self._loop.time() < self._ends_at - RESOLUTION:
            self._stop_reason = reason
            self._source.stop()
            self._cancel_calls()

    def _cancel_calls(self) -> None:
        for task, cancelled in self._in_flight.items():
            if not cancelled:
                self._in_flight[task] = True
                task.cancel()

    def _not_started(self, call: Call[T]) -> APIError:
        return errors.not_started(call, self._stop_reason) if self._stop_reason else errors.too_late(call)

    def _cancelled(self, call: Call[T], cancellation: asyncio.CancelledError, *, by_us: bool) -> APIError:
        if not by_us:
            return errors.cancelled_from_within(call, cancellation)
        if self._stop_reason:
            return errors.dropped(call, self._stop_reason, cancellation)
        return errors.overdue(call, cancellation)


def check_limits(concurrency: int, timeout: Duration | None) -> float | None:
    """Check the limits of a fan-out. Returns the timeout in seconds.

    Raises:
        InvalidRequestError: A limit has the wrong type or is out of range.
    """
    check_count("concurrency", concurrency, InvalidRequestError)
    return None if timeout is None else check_duration("timeout", timeout, InvalidRequestError, infinite=True)


def refuse_more(function: str, first: object, more: tuple[object, ...]) -> None:
    """Refuse calls that are given one by one, as to ``asyncio.gather``.

    Raises:
        InvalidRequestError: There is more than one.
    """
    if not more:
        return
    for each in (first, *more):
        discard(each)
    raise InvalidRequestError(
        f"{function}() takes its calls as one list; give {function}([Call.get(...), Call.get(...)])"
    )
