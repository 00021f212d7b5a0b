"""aiohttp_retry: a session that repeats."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp_retry import ExponentialRetry, RetryClient

from benchmarks.variants import Call
from benchmarks.variants.bare import ask
from benchmarks.workloads import Job


@asynccontextmanager
async def default(job: Job) -> AsyncIterator[Call]:
    """Its usual policy."""
    options = ExponentialRetry(attempts=job.attempts, start_timeout=job.pause, factor=1)
    async with RetryClient(retry_options=options) as client:
        yield ask(client, job)
