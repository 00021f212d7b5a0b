"""httpx, alone and with tenacity around it. Its successor httpx2 has the same interface."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from benchmarks.variants import Call
from benchmarks.variants.bare import JSON
from benchmarks.variants.tenacity import retried
from benchmarks.workloads import Job


def call_with(client: Any, job: Job) -> Call:
    """Return the usual call with a client of httpx or httpx2."""
    url, data = job.url, job.data

    async def get() -> object:
        return (await client.get(url)).raise_for_status().content

    async def post() -> object:
        return (await client.post(url, content=data, headers=JSON)).raise_for_status().content

    async def stream() -> object:
        received = 0
        async with client.stream("GET", url) as reply:
            async for chunk in reply.raise_for_status().aiter_bytes():
                received += len(chunk)
        return received

    return stream if job.streamed else get if data is None else post


@asynccontextmanager
async def default(job: Job) -> AsyncIterator[Call]:
    """A client with its defaults."""
    async with httpx.AsyncClient(verify=job.trusted) as client:
        yield call_with(client, job)


@asynccontextmanager
async def with_tenacity(job: Job) -> AsyncIterator[Call]:
    """The same with retries."""
    async with httpx.AsyncClient() as client:
        yield retried(job, call_with(client, job), httpx.HTTPError)
