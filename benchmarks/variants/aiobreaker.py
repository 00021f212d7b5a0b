"""tenacity around aiobreaker around aiohttp: retries and a circuit breaker, combined by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiobreaker import CircuitBreaker

from benchmarks.variants import Call
from benchmarks.variants.bare import call_with
from benchmarks.variants.tenacity import retried
from benchmarks.workloads import Job


@asynccontextmanager
async def default(job: Job) -> AsyncIterator[Call]:
    """A circuit breaker around every attempt."""
    breaker = CircuitBreaker()
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        once = call_with(session, job)

        async def guarded() -> object:
            return await breaker.call_async(once)

        yield retried(job, guarded, aiohttp.ClientError, TimeoutError)
