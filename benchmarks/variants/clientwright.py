"""clientwright: an aiohttp session with retry, deadline and circuit breaker as its middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from clientwright import ClientConfig, RetryConfig, build

from benchmarks.variants import Call
from benchmarks.variants.bare import call_with
from benchmarks.workloads import Job


@asynccontextmanager
async def default(job: Job) -> AsyncIterator[Call]:
    """The default policies, with a retry budget that suffices for one failure in ten, like the default here."""
    retry = RetryConfig(max_attempts=job.attempts, initial_backoff=job.pause, multiplier=1.0, budget_ratio=0.2)
    async with build("aiohttp", ClientConfig(service_name="benchmark", retry=retry)) as session:
        yield call_with(session, job)
