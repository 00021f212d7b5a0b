"""When the next attempt may go out to one endpoint, and whose turn it is: a token bucket with a queue in front.

Decides in synchronous steps, with ``now`` as an argument, in seconds on one clock. It never awaits: the rate limit
middleware waits, and comes back when a waiter is due; each waiter leaves a function that is called with what became of
its wait. Nobody waits who would wait for too long: the time of a turn is known when one asks for it.

The bucket is kept as one time, ``_empty_until`` (the "theoretical arrival time" of the GCRA, ITU-T I.371): each token
taken moves it on by the interval between two, and as many may be taken as it may run ahead of the clock. So tokens
need no counting while time passes, and there is nothing to lose in rounding.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

from resilient_client._settings.rate_limit import RateLimit

Wake: TypeAlias = Callable[[bool], bool]
"""Is told how a wait ended: ``True``, it is your waiter; ``False``, it would come too late now.

Gives whether anybody was still waiting. A turn that is not taken goes to the next at once.
"""


class Waiter:
    """A place in the queue.

    Attributes:
        latest: The time by which it must have come.
        wake: What is called when it has, or no longer can.
    """

    __slots__ = ("_queue", "latest", "wake")

    def __init__(self, queue: OrderedDict[Waiter, None], latest: float, wake: Wake) -> None:
        self._queue = queue
        self.latest = latest
        self.wake = wake
        queue[self] = None

    def leave(self) -> None:
        """Wait no longer. May be called twice, and after the wait has ended."""
        self._queue.pop(self, None)


class TokenBucket:
    """The turns of one endpoint: ``rate`` in ``per`` seconds, ``burst`` at once. First come, first served.

    Args:
        settings: The numbers.
    """

    __slots__ = ("_ahead", "_empty_until", "_interval", "_paused_until", "_queue")

    def __init__(self, settings: RateLimit) -> None:
        self._interval = settings.per / settings.rate
        self._ahead = (settings.burst - 1) * self._interval  # how far the time below may run ahead of the clock
        self._empty_until = -math.inf
        self._paused_until = -math.inf
        self._queue: OrderedDict[Waiter, None] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Attempts in the queue."""
        return len(self._queue)

    def idle(self, now: float) -> bool:
        """Whether nobody waits and the bucket is full: a new one would behave in the same way."""
        return not self._queue and max(self._empty_until, self._paused_until) <= now

    def try_take(self, now: float) -> bool:
        """Take a token if there is one that nobody waits for."""
        if self._queue or self._due() > now:
            return False
        self._take(now)
        return True

    def due_in(self, now: float, ahead: int | None = None) -> float:
        """Seconds until a turn.

        Args:
            now: The time.
            ahead: How many others have theirs before; ``None``: all who wait now.
        """
        count = len(self._queue) if ahead is None else ahead
        later = max(self._empty_until, now) + count * self._interval - self._ahead
        return max(later, self._paused_until, now) - now

    def enqueue(self, now: float, latest: float, wake: Wake) -> Waiter | None:
        """Queue for a turn, once ``try_take`` gave none.

        Args:
            now: The time.
            latest: The time by which it must have come.
            wake: Called at most once, with how the wait ended; it must not call back.

        Returns:
            The waiter, to be left in the end in every case; ``None`` if it would come later than that.
        """
        if now + self.due_in(now) > latest:
            return None
        return Waiter(self._queue, latest, wake)

    def refund(self) -> None:
        """Return the token of a turn that came, but whose attempt had been given up by then."""
        self._empty_until -= self._interval

    def pause(self, now: float, until: float) -> bool:
        """Let nobody pass before ``until``; from then on the bucket fills from empty, so that nobody bursts in.

        Whoever's turn would come too late now is told so at once.

        Returns:
            Whether that is later than before.
        """
        if until <= max(self._paused_until, now):
            return False
        self._paused_until = until
        self._empty_until = max(self._empty_until, until + self._ahead)
        self._turn_away(now)
        return True

    def advance(self, now: float) -> float | None:
        """Give every turn that is due.

        Returns:
            When the next one is; ``None`` if nobody waits.
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
        """When the next token is there."""
        return max(self._empty_until - self._ahead, self._paused_until)

    def _take(self, now: float) -> None:
        self._empty_until = max(self._empty_until, now) + self._interval

    def _turn_away(self, now: float) -> None:
        """Send away those in the queue whose turn would come too late."""
        ahead = 0
        for waiter in tuple(self._queue):
            if now + self.due_in(now, ahead) <= waiter.latest:
                ahead += 1
            else:
                waiter.leave()
                waiter.wake(False)
