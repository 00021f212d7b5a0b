"""The queue in front of a limit: who waits, and how it is woken. Both limits queue in the same way."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

Wake: TypeAlias = Callable[[bool], bool]
"""Called with the result of a wait: ``True`` if it was granted, ``False`` if it never will be.

Returns whether the waiter was still waiting. If not, what was granted goes to the next waiter at once.
"""

Queue: TypeAlias = "OrderedDict[QueueEntry, None]"
"""First come, first served. A plain dict would be slow at its front after many removals."""


class QueueEntry:
    """An attempt that waits in a queue.

    Attributes:
        wake: Called at most once, with the result of the wait.
        latest: The time by which it must be granted; infinity: no limit of its own.
    """

    __slots__ = ("_queue", "latest", "wake")

    def __init__(self, queue: Queue, wake: Wake, latest: float = math.inf) -> None:
        self._queue = queue
        self.wake = wake
        self.latest = latest
        queue[self] = None

    def leave(self) -> None:
        """Leave the queue. May be called twice, and after the wait has ended."""
        self._queue.pop(self, None)
