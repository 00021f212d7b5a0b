"""tenacity around aiobreaker around aiohttp: retries and a circuit breaker, put together by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiobreaker import CircuitBreaker

from benchmarks.variants import Call
from benchmarks.variants.bare import ask
from benchmarks.variants.tenacity import retried
from benchmarks.workloads import Job


@asynccontextmanager
async def default(job: Job) -> AsyncIterator[Call]:
    """A breaker that sees every attempt."""
    breaker = CircuitBreaker()
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        once = ask(session, job)

        async def guarded() -> object:
            return await breaker.call_async(once)

        yield retried(job, guarded, aiohttp.ClientError, TimeoutError)
