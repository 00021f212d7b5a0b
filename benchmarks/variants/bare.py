"""aiohttp with its defaults, and with options that save time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from benchmarks.variants import Call
from benchmarks.workloads import Job

JSON = {"Content-Type": "application/json"}


def call_with(client: Any, job: Job) -> Call:
    """Return the usual call with a session, or with an object that has the same interface."""
    url, data = job.url, job.data

    async def get() -> object:
        async with client.get(url) as reply:
            return await reply.read()

    async def post() -> object:
        async with client.post(url, data=data, headers=JSON) as reply:
            return await reply.read()

    async def stream() -> object:
        received = 0
        async with client.get(url) as reply:
            async for chunk in reply.content.iter_any():
                received += len(chunk)
        return received

    return stream if job.streamed else get if data is None else post


@asynccontextmanager
async def default(job: Job) -> AsyncIterator[Call]:
    """A session with its defaults."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=job.trusted)) as session:
        yield call_with(session, job)


@asynccontextmanager
async def tuned(job: Job) -> AsyncIterator[Call]:
    """A session with the options that this library sets by public means, and a timeout around each call."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=100, keepalive_timeout=15, ttl_dns_cache=10),
        timeout=aiohttp.ClientTimeout(total=None, connect=5),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
    method, url = "GET" if job.data is None else "POST", URL(job.url)
    options: dict[str, Any] = {} if job.data is None else {"data": job.data, "headers": JSON}

    async def call() -> bytes:
        async with asyncio.timeout(30):
            reply = await session.request(method, url, allow_redirects=False, **options)
            return await reply.read()

    async with session:
        yield call


@asynccontextmanager
async def by_json(job: Job) -> AsyncIterator[Call]:
    """Decode the JSON to Python objects, and these to the model."""
    url, model = job.url, job.model
    assert model is not None

    async with aiohttp.ClientSession() as session:

        async def call() -> object:
            async with session.get(url) as reply:
                return model.model_validate(await reply.json())

        yield call


@asynccontextmanager
async def by_bytes(job: Job) -> AsyncIterator[Call]:
    """Decode the JSON to the model in one step."""
    url, model = job.url, job.model
    assert model is not None

    async with aiohttp.ClientSession() as session:

        async def call() -> object:
            async with session.get(url) as reply:
                return model.model_validate_json(await reply.read())

        yield call
