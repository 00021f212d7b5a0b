"""Waiting for a slot of a rate limit. When the next slot is due is decided by ``_policies.limits.token_bucket``."""

from __future__ import annotations

import asyncio

from resilient_client._policies.limits.token_bucket import TokenBucket, Turn
from resilient_client._waiting.waiter import Waiter


class RateGate:
    """A token bucket, with the timer that fires when its next slot is due. Belongs to one event loop once used.

    Attributes:
        bucket: The policy.
    """

    __slots__ = ("_fires_at", "_timer", "bucket")

    def __init__(self, bucket: TokenBucket) -> None:
        self.bucket = bucket
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at: float | None = None

    async def wait(self, now: float, latest: float) -> bool:
        """Wait for a slot, after ``bucket.try_take()`` returned false.

        Args:
            now: Loop time.
            latest: Loop time by which the slot must be due.

        Returns:
            Whether there is one. False at once if it would be due later than that; false later if a pause of the
            bucket moved it beyond.
        """
        waiter: Waiter[bool] = Waiter()
        turn = self.bucket.enqueue(now, latest, waiter.wake)
        if turn is None:
            return False
        self.advance(now)
        try:
            return await waiter.wait(True, self._give_back)
        finally:
            self._leave(turn)

    def advance(self, now: float) -> None:
        """Grant the slots that are due, and set the timer for the next."""
        self._fire_at(self.bucket.advance(now))

    def _give_back(self) -> None:
        self.bucket.put_back()
        self.advance(asyncio.get_running_loop().time())

    def _leave(self, turn: Turn) -> None:
        turn.leave()
        if not self.bucket.waiting:
            self._fire_at(None)

    def _fire_at(self, due: float | None) -> None:
        if due == self._fires_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = due
        self._timer = None if due is None else asyncio.get_running_loop().call_at(due, self._fire, due)

    def _fire(self, due: float) -> None:
        self._timer = self._fires_at = None
        # Some loops keep time in milliseconds and fire a little early. Taking the later of the two avoids a second
        # timer.
        self.advance(max(due, asyncio.get_running_loop().time()))
