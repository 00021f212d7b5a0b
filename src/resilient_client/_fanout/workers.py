"""The engine of every fan-out: workers over one source.

Each worker that draws a call first starts the next worker, so there are never idle ones, and never a task a call. From
a call that waited they go on to the next at once, but they never hold the loop, and past the deadline they make none.
What is cancelled is awaited.
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
from resilient_client._core.types import Duration
from resilient_client._core.validation import check_count, check_duration
from resilient_client._fanout import labels
from resilient_client._fanout.source import Source

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

_PATIENCE = 0.05
"""Seconds past the deadline after which calls are ended that do not end by themselves; those of a client do."""


class Sink(Protocol[T_contra]):
    """Where outcomes go."""

    @property
    def full(self) -> bool:
        """Whether no further call should be made for now."""
        ...

    async def room(self) -> None:
        """Wait until it is no longer full."""
        ...

    def put(self, index: int, outcome: Outcome[T_contra]) -> str:
        """Take the outcome of a call.

        Returns:
            Why the fan-out should stop; ``""``: it should not.
        """
        ...


class Workers(Generic[T]):
    """Makes the calls of a source, at most ``concurrency`` at once; their outcomes go into a sink. Runs once.

    Attributes:
        aborted: Whether all tasks have to end now, because one failed or the caller was cancelled. A task that is
            cancelled without that was cancelled by ``_cancel_calls``, or by what it ran, and goes on.
    """

    __slots__ = (
        "_eager",
        "_ends_at",
        "_group",
        "_heirs",
        "_latest",
        "_loop",
        "_making",
        "_over",
        "_sink",
        "_source",
        "_stopped",
        "_tasks",
        "_unborn",
        "aborted",
    )

    def __init__(self, source: Source[T], concurrency: int, sink: Sink[T]) -> None:
        self._source = source
        self._sink = sink
        # How many workers each one starts: there may be no call for the next. Where the number of calls is known, there
        # are at most as many workers, and they start two each: all stand after a few turns of the loop.
        self._heirs = 2 if source.sized else 1
        self._unborn = min(concurrency, source.length or 1) if source.sized else concurrency
        self._making: dict[asyncio.Task[None], bool] = {}  # those with a call in hand, and whether we cancelled it
        self._latest: asyncio.Task[None] | None = None  # who was the last to begin a call
        self._stopped = ""
        self._ends_at = math.inf
        self._tasks = 0
        self._eager = False
        self.aborted = False
        self._loop: asyncio.AbstractEventLoop
        self._group: asyncio.TaskGroup
        self._over: asyncio.Future[None]

    async def run(self, timeout: float | None) -> None:
        """Make all calls. Cancelled, it cancels them and awaits their end.

        Args:
            timeout: Seconds for all of them, from now.

        Raises:
            Exception: What the source raised, once all calls are cancelled and awaited.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._eager = loop.get_task_factory() is not None
        failure: Exception | None = None
        with deadline(after=timeout) if timeout is not None else nullcontext():
            self._ends_at = ends_at = ambient_deadline()
            timer = None if ends_at == math.inf else loop.call_at(ends_at + _PATIENCE, self._cancel_calls)
            try:
                async with asyncio.TaskGroup() as self._group:
                    await self._all_work(ends_at)
            except ExceptionGroup as broken:
                failure = broken.exceptions[0]
            finally:
                if timer is not None:
                    timer.cancel()
        if failure is not None:
            try:
                raise failure
            finally:
                failure = None  # or its traceback would hold this frame, which holds it
        if self._source.cut_off is not None:
            self._sink.put(self._source.cut_off, Failure(labels.cut_off()))

    async def _all_work(self, ends_at: float) -> None:
        self._over = self._loop.create_future()
        self._source.open(self, ends_at)
        self._add_workers(1)
        try:
            await self._over
        except asyncio.CancelledError:
            self.aborted = True
            raise

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have one more task."""
        self._tasks += 1
        task = self._group.create_task(work)
        task.add_done_callback(self._left)  # called after the group was told, and before what it cancels runs
        return task

    def _left(self, task: asyncio.Task[None]) -> None:
        self._tasks -= 1
        if not task.cancelled() and task.exception() is not None:
            self.aborted = True
        if not self._tasks and not self._over.done():
            self._over.set_result(None)

    def _add_workers(self, wanted: int) -> None:
        for _ in range(min(wanted, self._unborn)):
            self._unborn -= 1
            self.start(self._work_later() if self._eager else self._work())

    async def _work_later(self) -> None:
        """Or each worker would run inside the one that started it, down to the end of the stack."""
        await asyncio.sleep(0)
        await self._work()

    async def _work(self) -> None:
        """Draw calls and make them, one by one, until there are no more."""
        source, sink, draw = self._source, self._sink, self._source.draw
        task = cast("asyncio.Task[None]", asyncio.current_task())  # the group made it
        while source.sized or not self._stopped:
            if sink.full:
                await sink.room()
            drawn = draw()
            if isinstance(drawn, asyncio.Future):
                drawn = await drawn
            if drawn is None:
                return
            place, call, runner = drawn
            if self._stopped or (self._ends_at < math.inf and self._loop.time() >= self._ends_at):
                self._put(place, Failure(self._never_made(call), key=call.key))
                if not source.sized:
                    return  # it may be endless; this one failure tells that it was cut off
                await self._pause()
                continue
            if self._unborn:
                self._add_workers(self._heirs)
            self._making[task] = False
            self._latest = task
            try:
                outcome = await runner.run(call)
            except asyncio.CancelledError as cancellation:
                if self.aborted:
                    raise
                outcome = Failure(self._ended(call, cancellation, ours=self._making[task]), key=call.key)
            finally:
                del self._making[task]
            if self.aborted or task.cancelling():
                self._go_on(task)
            self._put(place, outcome)
            waited = outcome.ok and self._latest is not task
            del outcome  # whoever takes it may let it go while the next call is under way
            if not waited:
                await self._pause()

    async def _pause(self) -> None:
        """Give others a turn.

        A call that was refused here, or beside which no other was begun, may not have waited for anything; and one
        worker must not hold the loop from call to call.
        """
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if self.aborted:
                raise
            # else it was the last act of a call to cancel its own task

    def _go_on(self, task: asyncio.Task[None]) -> None:
        """Forget the cancellation of a call that has ended, unless all ends."""
        if self.aborted:
            raise asyncio.CancelledError  # the call kept it to itself
        while task.cancelling():  # by us, or by the call itself, as timeouts of old style do
            task.uncancel()
        self._latest = task  # what is left of it strikes in a pause, and in no other call

    def _put(self, index: int, outcome: Outcome[T]) -> None:
        reason = self._sink.put(index, outcome)
        if reason and not self._stopped and self._loop.time() < self._ends_at - RESOLUTION:
            self._stopped = reason
            self._source.stop()
            self._cancel_calls()

    def _cancel_calls(self) -> None:
        for task, cancelled in self._making.items():
            if not cancelled:
                self._making[task] = True
                task.cancel()

    def _never_made(self, call: Call[T]) -> APIError:
        return labels.never_made(call, self._stopped) if self._stopped else labels.too_late(call)

    def _ended(self, call: Call[T], cancellation: asyncio.CancelledError, *, ours: bool) -> APIError:
        if not ours:
            return labels.cancelled_from_within(call, cancellation)
        if self._stopped:
            return labels.dropped(call, self._stopped, cancellation)
        return labels.overdue(call, cancellation)


def check_limits(concurrency: int, timeout: Duration | None) -> float | None:
    """The shared timeout in seconds.

    Raises:
        InvalidRequestError: One of the limits is not a limit; names its value and what is allowed.
    """
    check_count("concurrency", concurrency, InvalidRequestError)
    return None if timeout is None else check_duration("timeout", timeout, InvalidRequestError, infinite=True)
