"""The slots of the connection pool: how many connections are in use at once, in all and per endpoint. FIFO.

aiohttp's connector has such limits too, but a wait for them cannot be told from a slow host. So the transport counts by
itself, and a wait for a slot is known as one.

A slot that a waiter can take is handed to it at once. So a free slot belongs to the next caller, and no step walks
through the waiters: there may be many thousands of them, and all may give up at the same time.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from heapq import heappop, heappush
from typing import TypeAlias

from resilient_client._core.endpoint import Endpoint

Queue: TypeAlias = "OrderedDict[asyncio.Future[None], int]"
"""The waiters of one endpoint with their numbers. A plain dict would be slow at its front after many removals."""


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
        self._queues: dict[Endpoint, Queue] = {}  # never an empty one
        self._heads: list[tuple[int, Endpoint]] = []  # heap; the number of the first waiter, or of one that left
        self._candidates: set[Endpoint] = set()  # those in the heap: with waiters, and below their own limit

    @property
    def in_use(self) -> int:
        """Slots taken."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """Callers that wait for a slot."""
        return sum(map(len, self._queues.values()))

    def try_acquire(self, endpoint: Endpoint) -> bool:
        """Take a slot if one is free. It overtakes no waiter: one that could take the slot would have it already."""
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
        """Wait for a slot. A cancelled wait loses none: a slot granted in the same loop iteration is handed on."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._number += 1
        self._queues.setdefault(endpoint, OrderedDict())[waiter] = self._number
        self._enter(endpoint)
        self._hand_on()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release(endpoint)
            else:
                self._leave(endpoint, waiter)
            raise

    def release(self, endpoint: Endpoint) -> None:
        """Release a slot; the longest waiter that can take it gets it."""
        self._in_use -= 1
        if self._limit_per_host:
            self._per_host[endpoint] -= 1
            if not self._per_host[endpoint]:
                del self._per_host[endpoint]
        if self._queues:
            self._enter(endpoint)
            self._hand_on()

    def _hand_on(self) -> None:
        """Give free slots to the longest waiters that can take them."""
        while self._heads and not self._full():
            number, endpoint = heappop(self._heads)
            self._candidates.discard(endpoint)
            waiter = self._first(endpoint)
            if waiter is None or self._host_full(endpoint):
                continue  # the endpoint enters the heap again with its next waiter or its next free slot
            if self._queues[endpoint][waiter] == number:
                self._leave(endpoint, waiter)
                self._take(endpoint)
                waiter.set_result(None)
            self._enter(endpoint)

    def _enter(self, endpoint: Endpoint) -> None:
        """Enter the endpoint into the heap with its first waiter, if it has any."""
        if endpoint not in self._candidates and (waiter := self._first(endpoint)) is not None:
            self._candidates.add(endpoint)
            heappush(self._heads, (self._queues[endpoint][waiter], endpoint))

    def _first(self, endpoint: Endpoint) -> asyncio.Future[None] | None:
        """The longest waiter of the endpoint. Cancelled waiters before it, which have not run yet, are removed."""
        while queue := self._queues.get(endpoint):
            waiter = next(iter(queue))
            if not waiter.done():
                return waiter
            self._leave(endpoint, waiter)
        return None

    def _leave(self, endpoint: Endpoint, waiter: asyncio.Future[None]) -> None:
        if queue := self._queues.get(endpoint):
            queue.pop(waiter, None)
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
