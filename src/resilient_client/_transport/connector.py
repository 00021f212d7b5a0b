"""The connector of a client's own session: it bounds idle connections, and resolves names by ``SystemResolver``."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from resilient_client._transport.aiohttp_internals import ConnectionKey, ResponseHandler
from resilient_client._transport.resolver import SystemResolver


class BoundedConnector(aiohttp.TCPConnector):
    """Opens a connection only within ``limit``: idle connections make room for it, the oldest first.

    aiohttp bounds the connections in use only. A client that calls many hosts would keep one idle connection to each
    of them, until the process has no file left. Only a new connection can exceed the limit, so calls on connections
    that are kept alive pay nothing.
    """

    def __init__(self, limit: int, dns_ttl: float | None, **options: Any) -> None:
        """Belongs to the running loop.

        Args:
            limit: Connections, in use or idle. 0: no limit. No call waits for it here: ``Pool`` bounds those in use.
            dns_ttl: Seconds for which the addresses of a name are kept, or ``None``.
            **options: For ``aiohttp.TCPConnector``.
        """
        self._own_resolver = SystemResolver(dns_ttl)
        super().__init__(limit=0, use_dns_cache=False, resolver=self._own_resolver, **options)
        self._most = limit

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close all connections and drop all lookups."""
        self._own_resolver.shut()
        await super().close(abort_ssl=abort_ssl)

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        """Make room for a connection, which is counted among those in use already, and open it."""
        if self._most and self._make_room():
            await asyncio.sleep(0)  # the loop closes the sockets in its next iteration
        return await super()._create_connection(req, traces, timeout)

    def _make_room(self) -> bool:
        """Close idle connections above the limit; returns whether there were any."""
        idle = self._conns
        excess = len(self._acquired) + sum(map(len, idle.values())) - self._most
        closed = False
        while excess > 0 and idle:
            self._close_oldest()
            excess -= 1
            closed = True
        return closed

    def _close_oldest(self) -> None:
        key: ConnectionKey = min(self._conns, key=lambda each: self._conns[each][0][1])
        protocol, _ = self._conns[key].popleft()
        if not self._conns[key]:
            del self._conns[key]
        transport = protocol.transport
        protocol.close()
        if key.is_ssl and transport is not None:
            transport.abort()  # the closure alert is sent; see WireTrace.release
