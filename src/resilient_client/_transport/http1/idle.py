"""The idle connections of a client: the newest is reused first, the oldest is closed first.

Reusing the newest lets the others grow old, so a burst leaves no connections behind. One timer for all of them closes
those that were idle for too long. It is set at most once per keep-alive period, not per call.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import OrderedDict
from typing import Final

from resilient_client._core.endpoint import Endpoint
from resilient_client._transport.http1.connection import Connection

_JUST_READ: Final = 0.001  # seconds for which the loop cannot have been blocked, so that a system call is not worth it
_HINT: Final = re.compile(r"timeout\s*=\s*(\d{1,9})", re.ASCII | re.IGNORECASE)


def idle_limit(hint: str | None) -> float:
    """Seconds for which a connection may be idle before it is not used again.

    Args:
        hint: The field ``Keep-Alive`` of the last response, such as ``timeout=5`` (RFC 2068 section 19.7.1.1). The
            server closes the connection then, so the last second of it, or the second half, is not used.
    """
    found = None if hint is None else _HINT.search(hint)
    if found is None:
        return math.inf
    seconds = int(found[1])
    return max(seconds - 1.0, seconds / 2)


class IdleConnections:
    """Keeps connections between requests. Belongs to one event loop; ``close`` closes all of them."""

    __slots__ = ("_endpoints", "_keepalive", "_loop", "_oldest_first", "_timer")

    def __init__(self, keepalive: float) -> None:
        """Keep each connection for ``keepalive`` seconds; 0 keeps none."""
        self._keepalive = keepalive
        self._loop = asyncio.get_running_loop()
        self._endpoints: dict[Endpoint, dict[Connection, None]] = {}  # newest last; never an empty one
        self._oldest_first: OrderedDict[Connection, Endpoint] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._oldest_first)

    def transports(self) -> list[asyncio.Transport]:
        """The transports of all connections."""
        return [connection.transport for connection in self._oldest_first if connection.transport is not None]

    def take(self, endpoint: Endpoint) -> Connection | None:
        """The newest usable connection to ``endpoint``, or ``None``."""
        while stack := self._endpoints.get(endpoint):
            connection = next(reversed(stack))
            self.discard(connection)
            idle = self._loop.time() - connection.idle_since
            kept = idle < self._keepalive and idle < connection.idle_limit and connection.usable
            if kept and (idle < _JUST_READ or connection.is_quiet()):
                return connection
            connection.close()
        return None

    def put(self, endpoint: Endpoint, connection: Connection) -> None:
        """Keep ``connection`` for the next request, or close it if it is not usable."""
        if not self._keepalive or not connection.usable:
            connection.close()
            return
        connection.idle_since = self._loop.time()
        connection.idle_limit = idle_limit(connection.headers.get("Keep-Alive"))
        self._endpoints.setdefault(endpoint, {})[connection] = None
        self._oldest_first[connection] = endpoint
        if self._timer is None:
            self._timer = self._loop.call_later(self._keepalive, self._close_expired)

    def discard(self, connection: Connection) -> None:
        """Forget ``connection``, if it is here; it is taken or lost."""
        endpoint = self._oldest_first.pop(connection, None)
        if endpoint is not None:
            stack = self._endpoints[endpoint]
            del stack[connection]
            if not stack:
                del self._endpoints[endpoint]

    def close_oldest(self) -> bool:
        """Close the connection that has been idle for longest; returns whether there was one."""
        if not self._oldest_first:
            return False
        connection = next(iter(self._oldest_first))
        self.discard(connection)
        connection.close()
        return True

    def close(self) -> None:
        """Close all connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self.close_oldest():
            pass

    def _close_expired(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._oldest_first:
            left = next(iter(self._oldest_first)).idle_since + self._keepalive - now
            if left > 0:
                self._timer = self._loop.call_later(left, self._close_expired)
                return
            self.close_oldest()
