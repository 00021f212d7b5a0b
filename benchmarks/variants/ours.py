"""This library: as it comes, with a token, with every limit, and watched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

from benchmarks.variants import Call
from benchmarks.variants.bare import JSON
from benchmarks.workloads import Job
from resilient_client import APIClient, Backoff, BearerAuth, Bulkhead, RateLimit, Retry
from resilient_client._transport import fast_path


def ask(client: APIClient, job: Job) -> Call:
    """A call for the body, or for the value."""
    path, data, model = job.path, job.data, job.model

    async def get() -> bytes:
        return (await client.get(path)).content

    async def post() -> bytes:
        return (await client.post(path, content=data, headers=JSON)).content

    async def value() -> object:
        return await client.get(path, response_model=model)

    if model is not None:
        return value
    return get if data is None else post


def client_for(job: Job, **settings: Any) -> APIClient:
    """A client of the defaults; where replies fail, with the pause and the patience everybody has there."""
    if job.failing:
        backoff = Backoff(kind="fixed", initial=job.pause)
        settings["retry"] = Retry(max_attempts=job.attempts, backoff=backoff)
    return APIClient(job.base, **settings)


@asynccontextmanager
async def defaults(job: Job) -> AsyncIterator[Call]:
    """``APIClient(url)``: deadline, attempt timeout, retry, budget, circuit breaker."""
    async with client_for(job) as client:
        yield ask(client, job)


@asynccontextmanager
async def through_session(job: Job) -> AsyncIterator[Call]:
    """The defaults, by documented means alone: as with a release of aiohttp that is not known inside."""
    async with client_for(job) as client:
        call = ask(client, job)
        with patch.object(fast_path, "is_tested_release", lambda: False):
            await call()  # the way is chosen when the session is made
        yield call


@asynccontextmanager
async def authenticated(job: Job) -> AsyncIterator[Call]:
    """The defaults, and a token."""
    async with client_for(job, auth=BearerAuth("secret")) as client:
        yield ask(client, job)


@asynccontextmanager
async def limited(job: Job) -> AsyncIterator[Call]:
    """The defaults, a token, a bulkhead of the size of the pool, and a rate limit that is never reached."""
    async with client_for(
        job,
        auth=BearerAuth("secret"),
        bulkhead=Bulkhead(max_concurrent=100, max_queue=1000),
        rate_limit=RateLimit(rate=1_000_000, burst=10_000),
    ) as client:
        yield ask(client, job)


@asynccontextmanager
async def observed(job: Job) -> AsyncIterator[Call]:
    """The defaults, and Prometheus metrics of every call and attempt."""
    from benchmarks.variants.prometheus import Metrics

    async with client_for(job) as client:
        client.subscribe(Metrics())
        yield ask(client, job)
