"""aiohttp_retry: a session with retries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp_retry import ExponentialRetry, RetryClient

from benchmarks.variants import Call
from benchmarks.variants.bare import call_with
from benchmarks.workloads import Job


@asynccontextmanager
async def default(job: Job) -> AsyncIterator[Call]:
    """The exponential policy, with a fixed delay."""
    options = ExponentialRetry(attempts=job.attempts, start_timeout=job.pause, factor=1)
    async with RetryClient(retry_options=options) as client:
        yield call_with(client, job)
