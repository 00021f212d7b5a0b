"""One piece of work that many tasks wait for.

The work is a task of its own, so nobody's cancellation or deadline ends it for the others; only when the last one who
waits leaves does it end, and is awaited for the moment that an orderly end takes; work that needs longer to clean up
ends by itself, because whoever leaves has a deadline of its own. It never repeats work and keeps no result: the next to
come starts it anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Generic, TypeVar

from resilient_client._core.errors import APIError

T = TypeVar("T")

_ORDERLY = 0.05
"""Seconds that cancelled work is waited for; a few turns of the loop are enough for most."""

_ending: set[asyncio.Task[Any]] = set()
"""Work that needs longer: asyncio itself refers only weakly to a task, and would let it vanish in mid-cleanup."""


class Flight(Generic[T]):
    """One piece of work under way, for all who wait for it.

    Attributes:
        task: Does the work; look at its result once ``wait`` is over.
        waiters: How many wait for it now.
    """

    __slots__ = ("_ending", "task", "waiters")

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        """Begin."""
        # An empty context: the work belongs to all who wait, so it inherits nobody's ambient deadline or span.
        self.task = asyncio.get_running_loop().create_task(work, context=Context())
        self.task.add_done_callback(_look_at)
        self.waiters = 0
        self._ending = False

    @property
    def joinable(self) -> bool:
        """Whether it is still under way, for whoever comes now."""
        return not self._ending and not self.task.done()

    async def wait(self) -> None:
        """Wait for its end, however it ends. Whoever is the last to leave before that ends it."""
        self.waiters += 1
        try:
            await asyncio.wait((self.task,))  # unlike shield(), indifferent to a failure that nobody waits for
        finally:
            self.waiters -= 1
            await self.end()

    async def end(self) -> None:
        """End the work, unless somebody waits for it."""
        if self.waiters or self._ending or self.task.done():
            return
        self._ending = True  # whoever comes while it ends starts anew
        _ending.add(self.task)
        self.task.add_done_callback(_ending.discard)
        self.task.cancel()
        await asyncio.wait((self.task,), timeout=_ORDERLY)


class SingleFlight(Generic[T]):
    """Runs at most one piece of work at a time and shares its outcome. Survives the event loop it was used on."""

    __slots__ = ("_flight",)

    def __init__(self) -> None:
        self._flight: Flight[T] | None = None

    def start(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """Have the work done without waiting for it; does nothing when it is under way.

        It must bound itself in time. Should it fail with nobody waiting, the failure is nobody's.
        """
        self._current(work)

    async def join(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The outcome of the work under way, or of ``work`` when there is none. All who wait share it.

        Raises:
            APIError: Somebody else cancelled the work. Whatever the work itself raises comes through as it is, one
                object for all: copy it before writing to it.
        """
        flight = self._current(work)
        await flight.wait()
        if flight.task.cancelled():
            raise APIError("the work that this call shared with others was cancelled from outside")
        return flight.task.result()

    async def end(self) -> None:
        """End the work under way, unless somebody waits for it."""
        flight = self._flight
        if flight is not None and flight.task.get_loop() is asyncio.get_running_loop():
            await flight.end()

    def _current(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Flight[T]:
        flight = self._flight
        if flight is None or not flight.joinable or flight.task.get_loop() is not asyncio.get_running_loop():
            flight = self._flight = Flight(work())
            flight.task.add_done_callback(self._finished)
        return flight

    def _finished(self, task: asyncio.Task[T]) -> None:
        if self._flight is not None and self._flight.task is task:
            self._flight = None


def _look_at(task: asyncio.Task[Any]) -> None:
    """Look at a failure, so that asyncio does not report one that nobody waited for as never retrieved."""
    if not task.cancelled():
        task.exception()
