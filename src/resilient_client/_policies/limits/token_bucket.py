"""When the next attempt may be sent to one endpoint, and which one that is: a token bucket with a queue in front.

The policy decides in synchronous steps, with ``now`` as an argument, in seconds on one clock. It never awaits. The rate
limit middleware waits and calls ``advance`` when a slot is due. Each waiter has a function that is called with the
result of its wait. An attempt that would wait too long is refused at once, because the time of its slot is known when
it asks.

The state of the bucket is one point in time, ``_empty_until`` (the "theoretical arrival time" of the GCRA, ITU-T
I.371). Each token taken moves it forward by the interval between two tokens, and it may be ahead of the clock by
``burst - 1`` intervals. So nothing has to be counted while time passes, and rounding errors do not add up.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from resilient_client._policies.limits.queue import Queue, QueueEntry, Wake
from resilient_client._settings.rate_limit import RateLimit


class TokenBucket:
    """The slots of one endpoint: ``rate`` per ``per`` seconds, ``burst`` at once. First come, first served.

    Args:
        settings: The rate limit.
    """

    __slots__ = ("_ahead", "_empty_until", "_interval", "_paused_until", "_queue")

    def __init__(self, settings: RateLimit) -> None:
        self._interval = settings.per / settings.rate
        self._ahead = (settings.burst - 1) * self._interval  # how far `_empty_until` may be ahead of the clock
        self._empty_until = -math.inf
        self._paused_until = -math.inf
        self._queue: Queue = OrderedDict()

    @property
    def waiting(self) -> int:
        """Attempts in the queue."""
        return len(self._queue)

    def idle(self, now: float) -> bool:
        """Whether no attempt waits and the bucket is full, so that a new bucket would behave in the same way."""
        return not self._queue and max(self._empty_until, self._paused_until) <= now

    def try_take(self, now: float) -> bool:
        """Take a token if there is one and no attempt waits."""
        if self._queue or self._due() > now:
            return False
        self._take(now)
        return True

    def due_in(self, now: float, ahead: int | None = None) -> float:
        """Seconds until a slot.

        Args:
            now: The time.
            ahead: The number of waiters served before. ``None``: all that wait now.
        """
        count = len(self._queue) if ahead is None else ahead
        later = max(self._empty_until, now) + count * self._interval - self._ahead
        return max(later, self._paused_until, now) - now

    def enqueue(self, now: float, latest: float, wake: Wake) -> QueueEntry | None:
        """Queue for a slot after ``try_take`` has returned none.

        Args:
            now: The time.
            latest: The time by which the slot must come.
            wake: Called at most once, with the result of the wait. It must not call methods of this object.

        Returns:
            The waiter, whose ``leave`` the caller calls in every case, or ``None`` if the slot would come too late.
        """
        if now + self.due_in(now) > latest:
            return None
        return QueueEntry(self._queue, wake, latest)

    def refund(self) -> None:
        """Return the token of a slot that came when its attempt had already ended."""
        self._empty_until -= self._interval

    def pause(self, now: float, until: float) -> bool:
        """Let no attempt pass before ``until``. The bucket is empty then, so the pause does not end with a burst.

        Waiters whose slot would now come too late are woken with ``False`` at once.

        Returns:
            Whether this pause ends later than an earlier one.
        """
        if until <= max(self._paused_until, now):
            return False
        self._paused_until = until
        self._empty_until = max(self._empty_until, until + self._ahead)
        self._refuse_late_waiters(now)
        return True

    def advance(self, now: float) -> float | None:
        """Serve every waiter whose slot is due.

        Returns:
            The time of the next slot, or ``None`` if no attempt waits.
        """
        while self._queue:
            due = self._due()
            if due > now:
                return due
            waiter, _ = self._queue.popitem(last=False)
            if waiter.wake(True):
                self._take(now)
        return None

    def _due(self) -> float:
        """The time of the next token, in the past if there is one now."""
        return max(self._empty_until - self._ahead, self._paused_until)

    def _take(self, now: float) -> None:
        self._empty_until = max(self._empty_until, now) + self._interval

    def _refuse_late_waiters(self, now: float) -> None:
        """Remove the waiters whose slot would come too late. Those behind a removed one move up."""
        ahead = 0
        for waiter in tuple(self._queue):
            if now + self.due_in(now, ahead) <= waiter.latest:
                ahead += 1
            else:
                waiter.leave()
                waiter.wake(False)
