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

from resilient_client.core.errors import APIError

T = TypeVar("T")

_ORDERLY = 0.05
"""Seconds that cancelled work is waited for; a few turns of the loop are enough for most."""

_ending: set[asyncio.Task[Any]] = set()
"""Work that needs longer: asyncio itself refers only weakly to a task, and would let it vanish in mid-cleanup."""


class _Flight(Generic[T]):
    __slots__ = ("task", "waiters")

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        # An empty context: the work belongs to all who wait, so it inherits nobody's ambient deadline or span.
        self.task = asyncio.get_running_loop().create_task(work, context=Context())
        self.waiters = 0


class SingleFlight(Generic[T]):
    """Runs at most one piece of work at a time and shares its outcome. Survives the event loop it was used on."""

    __slots__ = ("_flight",)

    def __init__(self) -> None:
        self._flight: _Flight[T] | None = None

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
        flight.waiters += 1
        try:
            await asyncio.wait((flight.task,))  # unlike shield(), indifferent to a failure that nobody waits for
        finally:
            flight.waiters -= 1
            await self._end_unless_awaited(flight)
        if flight.task.cancelled():
            raise APIError("the work that this call shared with others was cancelled from outside")
        return flight.task.result()

    async def end(self) -> None:
        """End the work under way, unless somebody waits for it."""
        flight = self._flight
        if flight is not None and flight.task.get_loop() is asyncio.get_running_loop():
            await self._end_unless_awaited(flight)

    def _current(self, work: Callable[[], Coroutine[Any, Any, T]]) -> _Flight[T]:
        flight = self._flight
        if flight is None or flight.task.done() or flight.task.get_loop() is not asyncio.get_running_loop():
            flight = self._flight = _Flight(work())
            flight.task.add_done_callback(self._landed)
        return flight

    async def _end_unless_awaited(self, flight: _Flight[T]) -> None:
        if flight.waiters or flight.task.done():
            return
        self._forget(flight.task)  # whoever comes while it ends starts anew
        _ending.add(flight.task)
        flight.task.add_done_callback(_ending.discard)
        flight.task.cancel()
        await asyncio.wait((flight.task,), timeout=_ORDERLY)

    def _landed(self, task: asyncio.Task[T]) -> None:
        self._forget(task)
        if not task.cancelled():
            task.exception()  # looked at here, so that asyncio does not report it as never retrieved

    def _forget(self, task: asyncio.Task[T]) -> None:
        if self._flight is not None and self._flight.task is task:
            self._flight = None
