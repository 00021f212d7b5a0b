"""Which attempts may be in flight to one endpoint, and which is next: permits, and a bounded queue for them.

The policy decides in synchronous steps. It never awaits and reads no clock. The bulkhead middleware waits and ends
waits that take too long. Each waiter has a function that is called with the result of its wait. So every change is
atomic on an event loop and needs no lock. Permits must not be shared between threads.

A returned permit is passed on in the same step. So there are no free permits while attempts wait, and no newcomer can
overtake them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from resilient_client._core.types import Priority
from resilient_client._policies.limits.adaptive import ConcurrencyLimit
from resilient_client._policies.limits.queue import Queue, QueueEntry, Wake
from resilient_client._settings.bulkhead import AdaptiveConcurrency, Bulkhead

_RANKS: Final[tuple[Priority, ...]] = ("user", "batch", "probe")


class Permits:
    """The permits for one endpoint.

    Waiters of one priority are served first come, first served, and none while one of a higher priority waits. A full
    queue makes room for a higher priority by displacing the latest waiter of the lowest priority.

    Args:
        settings: The number of permits and the length of the queue. With ``AdaptiveConcurrency`` the number is learnt.

    Attributes:
        max_wait: Seconds that an attempt may wait. ``None``: the settings give no limit.
    """

    __slots__ = ("_adaptive", "_in_use", "_limit", "_max_queue", "_queues", "max_wait")

    def __init__(self, settings: Bulkhead | AdaptiveConcurrency) -> None:
        if isinstance(settings, Bulkhead):
            self._adaptive: ConcurrencyLimit | None = None
            self._limit = settings.max_concurrent
        else:
            self._adaptive = ConcurrencyLimit(settings)
            self._limit = self._adaptive.value
        self._max_queue = settings.max_queue
        self.max_wait = settings.max_wait
        self._in_use = 0
        self._queues: dict[Priority, Queue] = {rank: OrderedDict() for rank in _RANKS}

    @property
    def limit(self) -> int:
        """The number of permits."""
        return self._limit

    @property
    def in_use(self) -> int:
        """Permits in use. More than ``limit`` for a while after it has shrunk."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """Attempts in the queue."""
        return sum(map(len, self._queues.values()))

    @property
    def idle(self) -> bool:
        """Whether no attempt has a permit or waits for one."""
        return not self._in_use and not self.waiting

    def try_acquire(self) -> bool:
        """Take a permit if one is free. This overtakes no waiter: while attempts wait, no permit is free."""
        if self._in_use >= self._limit:
            return False
        self._in_use += 1
        return True

    def enqueue(self, priority: Priority, wake: Wake) -> QueueEntry | None:
        """Queue for a permit after ``try_acquire`` has returned none.

        Args:
            priority: The priority of the attempt.
            wake: Called at most once, with the result of the wait. It must not call methods of this object.

        Returns:
            The waiter, whose ``leave`` the caller calls in every case, or ``None`` if the queue is full.
        """
        if self.waiting >= self._max_queue and not self._make_room(priority):
            return None
        return QueueEntry(self._queues[priority], wake)

    def release(self) -> None:
        """Return a permit. The next waiter gets it."""
        self._in_use -= 1
        self._serve_waiters()

    def answered(self, now: float, elapsed: float) -> None:
        """Record a good answer to an attempt that holds a permit.

        Args:
            now: The time, in seconds.
            elapsed: The duration of the attempt, in seconds.
        """
        if self._adaptive is not None:
            self._resize(self._adaptive.answered(now, elapsed, self._in_use))

    def timed_out(self, now: float) -> None:
        """Record that an attempt that holds a permit timed out because the endpoint took too long."""
        if self._adaptive is not None:
            self._resize(self._adaptive.timed_out(now))

    def __repr__(self) -> str:
        return f"<Permits {self._in_use} of {self._limit} in use, {self.waiting} waiting>"

    def _resize(self, limit: int) -> None:
        self._limit = limit
        self._serve_waiters()

    def _serve_waiters(self) -> None:
        """Give the free permits to the waiters, the highest priority first."""
        for queue in self._queues.values():
            while queue and self._in_use < self._limit:
                waiter, _ = queue.popitem(last=False)
                if waiter.wake(True):
                    self._in_use += 1

    def _make_room(self, priority: Priority) -> bool:
        """Displace the latest waiter of the lowest priority below this one, and return whether there was one.

        The latest is the one that has lost the least time by waiting.
        """
        for lower in reversed(_RANKS[_RANKS.index(priority) + 1 :]):
            if queue := self._queues[lower]:
                waiter, _ = queue.popitem()
                waiter.wake(False)
                return True
        return False
