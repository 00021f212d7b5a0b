"""tenacity around aiohttp: the best-known recipe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import tenacity

from benchmarks.variants import Call
from benchmarks.variants.bare import call_with
from benchmarks.workloads import Job


def retried(job: Job, call: Call, *errors: type[Exception]) -> Call:
    """Return the call with retries after these errors."""
    return tenacity.retry(
        stop=tenacity.stop_after_attempt(job.attempts),
        wait=tenacity.wait_fixed(job.pause),
        retry=tenacity.retry_if_exception_type(errors),
        reraise=True,
    )(call)


@asynccontextmanager
async def around_aiohttp(job: Job) -> AsyncIterator[Call]:
    """A session that raises for error replies, so that they are retried."""
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        yield retried(job, call_with(session, job), aiohttp.ClientError, TimeoutError)
