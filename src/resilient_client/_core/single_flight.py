"""Single flight: one piece of work whose result many tasks wait for.

The work runs in its own task, so the cancellation or deadline of one waiter does not end it for the others. It is
cancelled when the last waiter is gone. That waiter waits a moment for the cleanup. Longer cleanup goes on in the
background, because the waiter has a deadline of its own. Work is never repeated and its result is not kept: the next
caller starts it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Generic, TypeVar

from resilient_client._core.errors import APIError

T = TypeVar("T")

_CLEANUP_WAIT = 0.05
"""Seconds to wait for cancelled work to end. A few iterations of the event loop are enough for most work."""

_ending: set[asyncio.Task[Any]] = set()
"""Cancelled work that is still cleaning up. asyncio only keeps weak references to tasks, so without this set a task
could be garbage-collected in the middle of its cleanup."""


class Flight(Generic[T]):
    """One piece of work in flight, and the count of its waiters.

    Attributes:
        task: The task that does the work. Read its result once ``wait`` has returned.
        waiters: The number of tasks that wait now.
    """

    __slots__ = ("_ending", "task", "waiters")

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        """Start the work on the running loop."""
        # The work belongs to all its waiters, so it runs in an empty context: it must not inherit the ambient deadline
        # or the tracing span of the one that happened to start it.
        self.task = asyncio.get_running_loop().create_task(work, context=Context())
        self.task.add_done_callback(_retrieve_exception)
        self.waiters = 0
        self._ending = False

    @property
    def joinable(self) -> bool:
        """Whether new waiters may join: the work is running and was not cancelled by ``end``."""
        return not self._ending and not self.task.done()

    async def wait(self) -> None:
        """Wait until the work has ended in any way. If the last waiter is cancelled, the work is cancelled, too."""
        self.waiters += 1
        try:
            # Unlike shield(), wait() does not cancel the task or report its failure when this waiter is cancelled.
            await asyncio.wait((self.task,))
        finally:
            self.waiters -= 1
            await self.end()

    async def end(self) -> None:
        """Cancel the work if it has no waiters, and wait up to 0.05 s for its cleanup."""
        if self.waiters or self._ending or self.task.done():
            return
        self._ending = True  # from here on, new callers start a new flight
        _ending.add(self.task)
        self.task.add_done_callback(_ending.discard)
        self.task.cancel()
        await asyncio.wait((self.task,), timeout=_CLEANUP_WAIT)


class SingleFlight(Generic[T]):
    """Runs at most one piece of work at a time and shares its result. Can be reused on another event loop."""

    __slots__ = ("_flight",)

    def __init__(self) -> None:
        self._flight: Flight[T] | None = None

    def start(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """Start the work without waiting for it. Does nothing if work is in flight.

        The work must limit its own duration. A failure is discarded if there is no waiter.
        """
        self._current(work)

    async def join(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of the work in flight, or start ``work`` if there is none. All waiters share the result.

        Raises:
            APIError: The work was cancelled from outside. An exception of the work itself is raised unchanged. All
                waiters get the same object, so copy it before modifying it.
        """
        flight = self._current(work)
        await flight.wait()
        if flight.task.cancelled():
            raise APIError("the work that this call shared with others was cancelled from outside")
        return flight.task.result()

    async def end(self) -> None:
        """Cancel the work in flight if it has no waiters, and wait up to 0.05 s for its cleanup."""
        flight = self._flight
        if flight is not None and flight.task.get_loop() is asyncio.get_running_loop():
            await flight.end()

    def _current(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Flight[T]:
        flight = self._flight
        # A flight on another loop, such as that of an earlier asyncio.run(), cannot be awaited here.
        if flight is None or not flight.joinable or flight.task.get_loop() is not asyncio.get_running_loop():
            flight = self._flight = Flight(work())
            flight.task.add_done_callback(self._finished)
        return flight

    def _finished(self, task: asyncio.Task[T]) -> None:
        if self._flight is not None and self._flight.task is task:
            self._flight = None


def _retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Mark a failure as retrieved. Otherwise asyncio logs it when there was no waiter."""
    if not task.cancelled():
        task.exception()
