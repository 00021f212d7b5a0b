"""Places for connections: how many may be in use at once, altogether and per endpoint. First come, first served.

aiohttp's connector has such limits, too, but a wait for them looks like a slow host from outside. So the
transport counts by itself, and a wait for a place is known for what it is.

Every place that a waiter can have is handed to it at once. So a place that is free belongs to whoever asks next, and
nothing here ever walks through the waiters: there may be many thousands, and they may all give up together.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from heapq import heappop, heappush
from typing import TypeAlias

from resilient_client._core.endpoint import Endpoint

Queue: TypeAlias = "OrderedDict[asyncio.Future[None], int]"
"""The waiters of one endpoint with their numbers; a plain dict would be slow at its front after many removals."""


class Pool:
    """Counts connections in use. Belongs to one event loop, like the connections."""

    __slots__ = ("_candidates", "_heads", "_in_use", "_limit", "_limit_per_host", "_number", "_per_host", "_queues")

    def __init__(self, limit: int, limit_per_host: int) -> None:
        """Both limits count connections at once; 0 means no limit."""
        self._limit = limit
        self._limit_per_host = limit_per_host
        self._in_use = 0
        self._per_host: Counter[Endpoint] = Counter()
        self._number = 0
        self._queues: dict[Endpoint, Queue] = {}  # none of them empty
        self._heads: list[tuple[int, Endpoint]] = []  # heap; a number is that of the first waiter, or of one gone since
        self._candidates: set[Endpoint] = set()  # who is in the heap: all with waiters and below their own limit

    @property
    def in_use(self) -> int:
        """Places taken."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """Callers that wait for a place."""
        return sum(map(len, self._queues.values()))

    def try_acquire(self, endpoint: Endpoint) -> bool:
        """Take a place if one is free. It overtakes nobody: a waiter that could have it would have it."""
        if self._limit_per_host:
            if self._full() or self._host_full(endpoint):
                return False
            self._take(endpoint)
            return True
        if self._in_use >= self._limit > 0:
            return False
        self._in_use += 1
        return True

    async def acquire(self, endpoint: Endpoint) -> None:
        """Wait for a place. A cancelled wait loses none: a place granted in the same tick is handed on."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._number += 1
        self._queues.setdefault(endpoint, OrderedDict())[place] = self._number
        self._stand(endpoint)
        self._hand_on()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.release(endpoint)
            else:
                self._leave(endpoint, place)
            raise

    def release(self, endpoint: Endpoint) -> None:
        """Give a place back; the longest waiter that fits gets it."""
        self._in_use -= 1
        if self._limit_per_host:
            self._per_host[endpoint] -= 1
            if not self._per_host[endpoint]:
                del self._per_host[endpoint]
        if self._queues:
            self._stand(endpoint)
            self._hand_on()

    def _hand_on(self) -> None:
        """Give free places to the longest waiters that fit."""
        while self._heads and not self._full():
            number, endpoint = heappop(self._heads)
            self._candidates.discard(endpoint)
            place = self._first(endpoint)
            if place is None or self._host_full(endpoint):
                continue  # it stands again with its next waiter, or with its next place
            if self._queues[endpoint][place] == number:
                self._leave(endpoint, place)
                self._take(endpoint)
                place.set_result(None)
            self._stand(endpoint)

    def _stand(self, endpoint: Endpoint) -> None:
        """Let the endpoint stand for a place in the name of its first waiter, if it has any."""
        if endpoint not in self._candidates and (place := self._first(endpoint)) is not None:
            self._candidates.add(endpoint)
            heappush(self._heads, (self._queues[endpoint][place], endpoint))

    def _first(self, endpoint: Endpoint) -> asyncio.Future[None] | None:
        """The longest waiter of the endpoint; those before it that were cancelled and did not run since are let go."""
        while queue := self._queues.get(endpoint):
            place = next(iter(queue))
            if not place.done():
                return place
            self._leave(endpoint, place)
        return None

    def _leave(self, endpoint: Endpoint, place: asyncio.Future[None]) -> None:
        if queue := self._queues.get(endpoint):
            queue.pop(place, None)
            if not queue:
                del self._queues[endpoint]

    def _full(self) -> bool:
        return bool(self._limit) and self._in_use >= self._limit

    def _host_full(self, endpoint: Endpoint) -> bool:
        return bool(self._limit_per_host) and self._per_host[endpoint] >= self._limit_per_host

    def _take(self, endpoint: Endpoint) -> None:
        self._in_use += 1
        if self._limit_per_host:
            self._per_host[endpoint] += 1
