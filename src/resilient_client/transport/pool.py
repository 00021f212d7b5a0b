"""Places for connections: how many may be in use at once, altogether and per endpoint. First come, first served.

aiohttp's connector has such limits, too, but a wait for them looks like a slow host from outside. So the
transport counts by itself, and a wait for a place is known for what it is.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from resilient_client.core.endpoint import Endpoint


class Pool:
    """Counts connections in use. Belongs to one event loop, like the connections."""

    __slots__ = ("_in_use", "_limit", "_limit_per_host", "_per_host", "_waiters")

    def __init__(self, limit: int, limit_per_host: int) -> None:
        """Both limits count connections at once; 0 means no limit."""
        self._limit = limit
        self._limit_per_host = limit_per_host
        self._in_use = 0
        self._per_host: Counter[Endpoint] = Counter()
        self._waiters: deque[tuple[Endpoint, asyncio.Future[None]]] = deque()

    @property
    def in_use(self) -> int:
        """Places taken."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """Callers that wait for a place."""
        return len(self._waiters)

    def try_acquire(self, endpoint: Endpoint) -> bool:
        """Take a place if one is free and nobody waits for it."""
        if not self._limit_per_host:
            if self._waiters or (self._limit and self._in_use >= self._limit):
                return False
            self._in_use += 1
            return True
        if not self._fits(endpoint) or any(self._fits(other) for other, _ in self._waiters):
            return False
        self._take(endpoint)
        return True

    async def acquire(self, endpoint: Endpoint) -> None:
        """Wait for a place. A cancelled wait loses none: a place granted in the same tick is handed on."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (endpoint, place)
        self._waiters.append(entry)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.release(endpoint)
            else:
                self._waiters.remove(entry)
            raise

    def release(self, endpoint: Endpoint) -> None:
        """Give a place back; the longest waiter that fits gets it."""
        self._in_use -= 1
        if self._limit_per_host:
            self._per_host[endpoint] -= 1
            if not self._per_host[endpoint]:
                del self._per_host[endpoint]
        if self._waiters:
            self._hand_on()

    def _hand_on(self) -> None:
        for entry in self._waiters:
            endpoint, place = entry
            if not place.done() and self._fits(endpoint):
                self._waiters.remove(entry)
                self._take(endpoint)
                place.set_result(None)
                return

    def _fits(self, endpoint: Endpoint) -> bool:
        if self._limit and self._in_use >= self._limit:
            return False
        return not self._limit_per_host or self._per_host[endpoint] < self._limit_per_host

    def _take(self, endpoint: Endpoint) -> None:
        self._in_use += 1
        if self._limit_per_host:
            self._per_host[endpoint] += 1
