"""An upstream in the same process that costs next to nothing and is the same for every request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

BODY = b'{"items":[' + b",".join(b'{"id":%d,"name":"item %d"}' % (n, n) for n in range(36)) + b"]}"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class _Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer. One piece is one request: requests here are small and not pipelined."""
        self._transport.write(REPLY)  # type: ignore[attr-defined]  # a TCP transport can write


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    """Serve, and yield the base URL."""
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
