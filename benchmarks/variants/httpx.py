"""httpx, alone and with tenacity around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from benchmarks.variants import Call
from benchmarks.variants.bare import JSON
from benchmarks.variants.tenacity import retried
from benchmarks.workloads import Job


def call_with(client: httpx.AsyncClient, job: Job) -> Call:
    """Return the usual call."""
    url, data = job.url, job.data

    async def get() -> bytes:
        return (await client.get(url)).raise_for_status().content

    async def post() -> bytes:
        return (await client.post(url, content=data, headers=JSON)).raise_for_status().content

    return get if data is None else post


@asynccontextmanager
async def default(job: Job) -> AsyncIterator[Call]:
    """A client with its defaults."""
    async with httpx.AsyncClient() as client:
        yield call_with(client, job)


@asynccontextmanager
async def with_tenacity(job: Job) -> AsyncIterator[Call]:
    """The same with retries."""
    async with httpx.AsyncClient() as client:
        yield retried(job, call_with(client, job), httpx.HTTPError)
