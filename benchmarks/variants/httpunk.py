"""httpunk: the Rust library hyper on connections of asyncio, which are taken from its pool by hand.

It has no timeouts and no redirects: it is the base for a client, not a client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from httpunk import Backend
from httpunk.util import connect, pool

from benchmarks.variants import Call
from benchmarks.variants.bare import JSON
from benchmarks.workloads import Job


@asynccontextmanager
async def default(job: Job) -> AsyncIterator[Call]:
    """Its pool of idle connections, and a ``Host`` header, which it leaves to its users."""
    base, path, data = job.base, job.path, job.data
    context = None if job.ca is None else job.trusted
    host = {"host": urlsplit(base).netloc}
    headers = host | JSON

    async def connector(_: object) -> Any:
        return await connect(base, backend=Backend.asyncio, ssl_context=context)

    connections = pool.Cache(connector, backend=Backend.asyncio)

    async def get() -> bytes:
        async with connections.checkout() as connection:
            return await (await connection.request("GET", path, headers=host)).read()

    async def post() -> bytes:
        async with connections.checkout() as connection:
            return await (await connection.request("POST", path, headers=headers, body=data)).read()

    async def stream() -> int:
        received = 0
        async with connections.checkout() as connection:
            async for chunk in (await connection.request("GET", path, headers=host)).aiter_bytes():
                received += len(chunk)
        return received

    try:
        yield stream if job.streamed else get if data is None else post
    finally:
        await connections.aclose()
