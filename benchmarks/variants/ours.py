"""This library: with its defaults, with a token, with every limit, and with metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

from benchmarks.variants import Call
from benchmarks.variants.bare import JSON
from benchmarks.workloads import Job
from resilient_client import APIClient, Backoff, BearerAuth, Bulkhead, ConnectionSettings, RateLimit, Retry
from resilient_client._transport import transport
from resilient_client.events import AttemptFinished, CallFinished


def call_with(client: APIClient, job: Job) -> Call:
    """Return the call that returns the body, its length, or the decoded value."""
    path, data, model = job.path, job.data, job.model

    async def get() -> bytes:
        return (await client.get(path)).content

    async def post() -> bytes:
        return (await client.post(path, content=data, headers=JSON)).content

    async def stream() -> int:
        received = 0
        async with client.stream("GET", path) as reply:
            async for chunk in reply.iter_bytes():
                received += len(chunk)
        return received

    async def value() -> object:
        return await client.get(path, response_model=model)

    if model is not None:
        return value
    return stream if job.streamed else get if data is None else post


def client_for(job: Job, **settings: Any) -> APIClient:
    """Return a client with the defaults. Where replies fail, it has the delay and the attempts of all variants."""
    if job.failing:
        backoff = Backoff(kind="fixed", initial=job.pause)
        settings["retry"] = Retry(max_attempts=job.attempts, backoff=backoff)
    return APIClient(job.base, connection=ConnectionSettings(tls=job.trusted), **settings)


@asynccontextmanager
async def defaults(job: Job) -> AsyncIterator[Call]:
    """``APIClient(url)``: deadline, attempt timeout, retry, budget, circuit breaker."""
    async with client_for(job) as client:
        yield call_with(client, job)


@asynccontextmanager
async def through_session(job: Job) -> AsyncIterator[Call]:
    """The defaults on the session path: as with proxies, cookies and aiohttp's middlewares."""
    async with client_for(job) as client:
        call = call_with(client, job)
        with patch.object(transport, "needs_session", lambda _settings: "this row"):
            await call()  # the path is chosen with the first call
        yield call


@asynccontextmanager
async def authenticated(job: Job) -> AsyncIterator[Call]:
    """The defaults, and a token."""
    async with client_for(job, auth=BearerAuth("secret")) as client:
        yield call_with(client, job)


@asynccontextmanager
async def limited(job: Job) -> AsyncIterator[Call]:
    """The defaults, a token, a bulkhead of the size of the pool, and a rate limit that is never reached."""
    async with client_for(
        job,
        auth=BearerAuth("secret"),
        bulkhead=Bulkhead(max_concurrent=100, max_queue=1000),
        rate_limit=RateLimit(rate=1_000_000, burst=10_000),
    ) as client:
        yield call_with(client, job)


@asynccontextmanager
async def observed(job: Job) -> AsyncIterator[Call]:
    """The defaults, and Prometheus metrics of every call and attempt."""
    from benchmarks.variants.prometheus import Metrics

    async with client_for(job) as client:
        client.subscribe(Metrics(), AttemptFinished, CallFinished)
        yield call_with(client, job)
