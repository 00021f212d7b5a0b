"""``as_completed``: one outcome after the other, in memory that does not grow with the number of calls.

The workers run in a task of their own. So neither the deadline of the fan-out nor its cancellations reach the code that
consumes the outcomes. The workers put outcomes into a buffer, and wait while it holds as many as may be in flight.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Generic, Never, Self, TypeVar

from resilient_client._core.errors import CallCancelledError
from resilient_client._core.outcome import Outcome
from resilient_client._core.protocols import Runner
from resilient_client._core.types import Duration
from resilient_client._core.validation import check_flag
from resilient_client._fanout.source import Calls, source_of
from resilient_client._fanout.workers import Workers, check_limits, refuse_more

T = TypeVar("T")

_tasks: set[asyncio.Task[None]] = set()
"""Strong references to the running tasks. asyncio has only weak ones: the garbage collector would remove the task of a
stream that nothing refers to, without cancelling its calls."""


def as_completed(
    calls: Calls[T],
    *more: Never,
    client: Runner | None = None,
    concurrency: int = 20,
    timeout: Duration | None = None,
    ordered: bool = False,
) -> OutcomeStream[T]:
    """Run many calls at once, and give their outcomes one by one as they arrive.

    ::

        async with as_completed(calls, client=api) as outcomes:
            async for outcome in outcomes:
                ...

    Leaving the ``async with`` block early cancels the calls in flight and awaits their end. A bare
    ``async for outcome in as_completed(calls)`` is fine for a loop that runs to its end. If its task is cancelled in a
    step, or ends cancelled, the calls in flight are cancelled, too, and a step awaits their end. If such a loop is left
    early in another way, its calls are cancelled only when Python deletes the stream, and are not awaited.

    Args:
        calls: An iterable or async iterable, consumed as workers become free. An async generator is closed at the end.
        more: Nothing: the calls are given as one list.
        client: Runs the calls that have no client of their own (``Call.get(..., client=api)``).
        concurrency: Calls in flight at once, 1 or more. No call is started while that many outcomes wait in the buffer,
            so a slow consumer holds the calls back.
        timeout: How long all calls together may take, from the first step on. Calls that have not ended by then fail
            with ``DEADLINE``. It does not limit the code that consumes the outcomes. With ``None`` each call has only
            its own limits, and those of an ambient ``deadline()`` at the first step.
        ordered: Whether outcomes come in the order of ``calls``. Then one slow call holds back all behind it: up to
            ``concurrency`` outcomes wait for it, and no further call is started.

    Returns:
        An async iterator over the outcomes, which is also an async context manager. Never raises for a failed call.
        Which calls get an outcome is the same as with ``gather``.

    Raises:
        InvalidRequestError: A limit is out of range, or an item is not a ``Call`` or has no client to run it. Items of
            anything but a list or tuple are checked when they are drawn, so there the error comes from a step.
        CallCancelledError: From a step: the fan-out was cancelled from outside, such as by code that cancels all tasks
            of the loop, or with an earlier step outside an ``async with`` block.
        Exception: From a step: ``calls`` itself raised it. The calls in flight have been cancelled and awaited.
    """
    refuse_more("as_completed", calls, more)
    seconds = check_limits(concurrency, timeout)
    check_flag("ordered", ordered)
    buffer = _Buffer[T](concurrency, ordered)
    return OutcomeStream(Workers(source_of(calls, client), concurrency, buffer), buffer, seconds)


class OutcomeStream(AsyncIterator[Outcome[T]]):
    """The outcomes of a fan-out as an async iterator. Any number of tasks may consume it. See ``as_completed``."""

    __slots__ = ("_buffer", "_entered", "_task", "_timeout", "_workers")

    def __init__(self, workers: Workers[T], buffer: _Buffer[T], timeout: float | None) -> None:
        """Describe a stream. Nothing runs before the first step."""
        self._task: asyncio.Task[None] | None = None
        self._workers: Workers[T] | None = workers  # ``None`` once they are started, or never will be
        self._buffer = buffer
        self._timeout = timeout
        self._entered = False  # whether an ``async with`` block will close the stream

    async def __anext__(self) -> Outcome[T]:
        if self._workers is not None:
            self._start(self._workers)
        buffer = self._buffer
        while (outcome := buffer.take()) is None:
            if buffer.ended:
                self._raise_failure()
                raise StopAsyncIteration
            await self._arrival()
        return outcome

    async def _arrival(self) -> None:
        """Wait for an outcome. Outside an ``async with`` block, the fan-out ends with its last cancelled consumer."""
        if self._entered:
            await self._buffer.arrival()
            return
        self._buffer.watch_consumer()
        try:
            await self._buffer.arrival()
        except asyncio.CancelledError:
            if self._task is not None and self._buffer.has_one_consumer:
                await _cancel_and_wait(self._task)
            raise

    async def __aenter__(self) -> Self:
        self._entered = True
        if self._workers is not None:
            self._start(self._workers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel the calls in flight and await their end. Outcomes in the buffer are lost. May be called twice.

        Raises:
            Exception: ``calls`` raised it, and no step has raised it yet.
        """
        self._workers = None
        self._buffer.close()
        if self._task is not None:
            await _cancel_and_wait(self._task)
            self._raise_failure()

    def __del__(self) -> None:
        task = self._task
        if task is not None and not task.done():
            try:
                # The garbage collector may run in any thread, and a task may be cancelled only in that of its loop.
                task.get_loop().call_soon_threadsafe(task.cancel)
            except RuntimeError:
                pass  # the loop is closed, so the task cannot run anyway

    def _start(self, workers: Workers[T]) -> None:
        self._workers = None
        self._task = task = asyncio.get_running_loop().create_task(workers.run(self._timeout))
        _tasks.add(task)
        # Neither the task nor its callbacks refer to the stream: it has to be deleted when its consumer drops it.
        task.add_done_callback(_tasks.discard)
        task.add_done_callback(self._buffer.end)
        self._buffer.cancel_workers = task.cancel
        if not self._entered:
            self._buffer.watch_consumer()

    def _raise_failure(self) -> None:
        """Raise, only once, the exception that ended the fan-out early, such as an error of the iterable."""
        task = self._task
        if task is not None and task.done():
            self._task = None
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
            if task.cancelled() and not self._buffer.closed:
                raise CallCancelledError(
                    "the fan-out was cancelled from outside, or with a consumer that used no async with block, "
                    "so outcomes are missing"
                )


class _Buffer(Generic[T]):
    """Outcomes between the workers and the consumers.

    Does not refer to the stream, so that dropping the stream deletes it although its workers still run.

    Attributes:
        full: Whether workers have to wait before they start another call.
        ended: Whether no further outcome will arrive.
        closed: Whether the consumer has left.
        cancel_workers: Cancels the task of the workers. Set while it runs.
    """

    __slots__ = (
        "_arrived",
        "_blocked_workers",
        "_consumers",
        "_limit",
        "_next",
        "_ordered",
        "_outcomes",
        "_waiting_consumers",
        "cancel_workers",
        "closed",
        "ended",
        "full",
    )

    def __init__(self, limit: int, ordered: bool) -> None:
        self._limit = limit
        self._ordered = ordered
        self._outcomes: dict[int, Outcome[T]] = {}  # by position in the output
        self._arrived = 0  # the number of outcomes put so far
        self._next = 0  # the position that is taken next
        self._consumers: set[asyncio.Task[Any]] = set()  # those outside an ``async with`` block that have not ended
        self._waiting_consumers: list[asyncio.Future[None]] = []
        self._blocked_workers: deque[asyncio.Future[None]] = deque()
        self.full = False
        self.ended = False
        self.closed = False
        self.cancel_workers: Callable[[], object] | None = None

    async def wait_for_space(self) -> None:
        while self.full:
            blocked = asyncio.get_running_loop().create_future()
            self._blocked_workers.append(blocked)
            await blocked

    def put(self, index: int, outcome: Outcome[T]) -> str:
        if self.ended:
            return ""
        position = index if self._ordered else self._arrived
        self._arrived += 1
        self._outcomes[position] = outcome
        self.full = len(self._outcomes) >= self._limit
        if self._waiting_consumers and position == self._next:
            self._wake_consumers()
        return ""

    def take(self) -> Outcome[T] | None:
        """The next outcome. ``None``: it has not arrived, and never will if ``ended`` is set."""
        outcome = self._outcomes.pop(self._next, None)
        if outcome is not None:
            self._next += 1
            if self.full:
                self.full = len(self._outcomes) >= self._limit
            # There is space for one outcome, so one worker is woken. It checks ``full`` again: another may be faster.
            if self._blocked_workers and not self.full and not (blocked := self._blocked_workers.popleft()).done():
                blocked.set_result(None)
        return outcome

    def arrival(self) -> asyncio.Future[None]:
        """A future that is done with the next outcome, or the end.

        Each waiting task has its own: a task that is cancelled cancels the future it awaits.
        """
        consumer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting_consumers = [other for other in self._waiting_consumers if not other.done()]
        self._waiting_consumers.append(consumer)
        return consumer

    @property
    def has_one_consumer(self) -> bool:
        """Whether a single task consumes the outcomes, outside an ``async with`` block."""
        return len(self._consumers) == 1

    def watch_consumer(self) -> None:
        """Cancel the workers if the current task ends cancelled as the last of those that consume the outcomes.

        The stream itself may live on then: the ``CancelledError`` refers to the frame that refers to it.
        """
        task = asyncio.current_task()
        if task is not None and task not in self._consumers:
            self._consumers.add(task)
            task.add_done_callback(self._on_consumer_done)

    def _on_consumer_done(self, task: asyncio.Task[Any]) -> None:
        self._consumers.discard(task)
        if task.cancelled() and not self._consumers and self.cancel_workers is not None:
            self.cancel_workers()

    def end(self, _task: asyncio.Task[Any]) -> None:
        """No further outcome will arrive: the task of the workers is done."""
        self.ended = True
        self.cancel_workers = None
        for consumer in self._consumers:
            consumer.remove_done_callback(self._on_consumer_done)
        self._consumers.clear()
        self._wake_consumers()

    def close(self) -> None:
        """The consumer has left: drop all outcomes, those that are still to come too."""
        self._outcomes.clear()
        self.full = False
        self.closed = self.ended = True
        self._wake_consumers()

    def _wake_consumers(self) -> None:
        for consumer in self._waiting_consumers:
            if not consumer.done():
                consumer.set_result(None)
        self._waiting_consumers.clear()


async def _cancel_and_wait(task: asyncio.Task[None]) -> None:
    """Cancel a task and await its end. If this is cancelled meanwhile, it still awaits the end, and raises then."""
    task.cancel()
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            # ``await task`` would pass a second cancellation on to the task, and interrupt its cleanup.
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        raise cancellation
