"""Who may have an attempt under way at one endpoint, and who is next: permits, and a bounded queue for them.

Decides in synchronous steps. It never awaits and reads no clock: the bulkhead middleware waits, and tells when it has
waited long enough; each waiter leaves a function that is called with what became of its wait. So it changes in one
piece, needs no lock on an event loop, and must not be shared between threads.

A permit that comes back is handed on in the same step. So a free permit is nobody's but the next who asks, and nobody
can overtake those who wait.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from resilient_client._core.types import Priority
from resilient_client._policies.limits.adaptive import ConcurrencyLimit
from resilient_client._settings.bulkhead import AdaptiveConcurrency, Bulkhead

Wake: TypeAlias = Callable[[bool], bool]
"""Is told how a wait ended: ``True``, a permit is there; ``False``, a call of higher priority took the place.

Gives whether anybody was still waiting. A permit that is not taken goes to the next at once.
"""

_RANKS: Final[tuple[Priority, ...]] = ("user", "batch", "probe")


class Waiter:
    """A place in the queue."""

    __slots__ = ("_queue", "wake")

    def __init__(self, queue: OrderedDict[Waiter, None], wake: Wake) -> None:
        self._queue = queue
        self.wake = wake
        queue[self] = None

    def leave(self) -> None:
        """Wait no longer. May be called twice, and after the wait has ended."""
        self._queue.pop(self, None)


class Permits:
    """The permits for one endpoint.

    Waiters of one priority are served first come, first served, and none while one of a higher priority waits. A full
    queue makes room for a higher priority: the last to come of the lowest has to leave.

    Args:
        settings: How many permits there are, and how many may wait. ``AdaptiveConcurrency``: it learns how many.

    Attributes:
        max_wait: Seconds that one may wait; ``None``: no limit of its own.
    """

    __slots__ = ("_gauge", "_in_use", "_limit", "_max_queue", "_queues", "max_wait")

    def __init__(self, settings: Bulkhead | AdaptiveConcurrency) -> None:
        if isinstance(settings, Bulkhead):
            self._gauge: ConcurrencyLimit | None = None
            self._limit = settings.max_concurrent
        else:
            self._gauge = ConcurrencyLimit(settings)
            self._limit = self._gauge.value
        self._max_queue = settings.max_queue
        self.max_wait = settings.max_wait
        self._in_use = 0
        self._queues: dict[Priority, OrderedDict[Waiter, None]] = {rank: OrderedDict() for rank in _RANKS}

    @property
    def limit(self) -> int:
        """Permits there are."""
        return self._limit

    @property
    def in_use(self) -> int:
        """Permits given out. More than ``limit`` for a while, when that has shrunk."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """Attempts in the queue."""
        return sum(map(len, self._queues.values()))

    @property
    def idle(self) -> bool:
        """Whether nobody has a permit or waits for one."""
        return not self._in_use and not self.waiting

    def try_acquire(self) -> bool:
        """Take a permit if one is free. It overtakes nobody: were anybody waiting, none would be free."""
        if self._in_use >= self._limit:
            return False
        self._in_use += 1
        return True

    def enqueue(self, priority: Priority, wake: Wake) -> Waiter | None:
        """Queue for a permit, once ``try_acquire`` gave none.

        Args:
            priority: Who goes first.
            wake: Called at most once, with how the wait ended; it must not call back.

        Returns:
            The waiter, to be left in the end in every case; ``None`` if the queue is full.
        """
        if self.waiting >= self._max_queue and not self._make_room(priority):
            return None
        return Waiter(self._queues[priority], wake)

    def release(self) -> None:
        """Give a permit back; the next waiter gets it."""
        self._in_use -= 1
        self._hand_on()

    def answered(self, now: float, elapsed: float) -> None:
        """Learn from an attempt that holds a permit and got a good answer.

        Args:
            now: The time, in seconds.
            elapsed: How long the answer took, in seconds.
        """
        if self._gauge is not None:
            self._resize(self._gauge.answered(now, elapsed, self._in_use))

    def timed_out(self, now: float) -> None:
        """Learn from an attempt that holds a permit and was given up because the endpoint took too long."""
        if self._gauge is not None:
            self._resize(self._gauge.timed_out(now))

    def __repr__(self) -> str:
        return f"<Permits {self._in_use} of {self._limit} in use, {self.waiting} waiting>"

    def _resize(self, limit: int) -> None:
        self._limit = limit
        self._hand_on()

    def _hand_on(self) -> None:
        """Give free permits to those who wait."""
        for queue in self._queues.values():
            while queue and self._in_use < self._limit:
                waiter, _ = queue.popitem(last=False)
                if waiter.wake(True):
                    self._in_use += 1

    def _make_room(self, priority: Priority) -> bool:
        """Turn the last to come of the lowest priority away, if that is lower than this one."""
        for lower in reversed(_RANKS[_RANKS.index(priority) + 1 :]):
            if queue := self._queues[lower]:
                waiter, _ = queue.popitem()
                waiter.wake(False)
                return True
        return False
