"""aiosonic: a client in Python on asyncio's streams. Its pool has thirty connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiosonic

from benchmarks.variants import Call
from benchmarks.variants.bare import JSON
from benchmarks.workloads import Job


@asynccontextmanager
async def default(job: Job) -> AsyncIterator[Call]:
    """A client with its defaults."""
    url, data = job.url, job.data
    options: dict[str, Any] = {} if job.ca is None else {"ssl": job.trusted}
    async with aiosonic.HTTPClient() as client:

        async def get() -> bytes:
            return await (await client.get(url, **options)).content()

        async def post() -> bytes:
            return await (await client.post(url, data=data, headers=JSON, **options)).content()

        async def stream() -> int:
            received = 0
            async with client.stream("GET", url, **options) as reply:
                async for chunk in reply.read_chunks():
                    received += len(chunk)
            return received

        yield stream if job.streamed else get if data is None else post
