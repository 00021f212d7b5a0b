"""One wait: a future that a policy resolves, and the rule for a grant that a cancelled task can no longer use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Waiter(Generic[T]):
    """Waits in the current task until it is woken with a result. Belongs to the running loop."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def wake(self, result: T) -> bool:
        """End the wait with ``result``; returns whether the task was still waiting.

        A policy that grants something must take it back when this is false: the task was cancelled.
        """
        waiting = not self._future.done()
        if waiting:
            self._future.set_result(result)
        return waiting

    async def wait(self, granted: T, give_back: Callable[[], None]) -> T:
        """The result.

        Args:
            granted: The result that grants something.
            give_back: Called when the task is cancelled in the very iteration of the loop in which that was granted:
                the future has its result, but the task is resumed with the cancellation and never sees it.
        """
        future = self._future
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.result() == granted:
                give_back()
            raise
