"""tenacity around aiohttp: the recipe most people know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import tenacity

from benchmarks.variants import Call
from benchmarks.variants.bare import ask
from benchmarks.workloads import Job


def retried(job: Job, call: Call, *errors: type[Exception]) -> Call:
    """The call, repeated after these errors."""
    return tenacity.retry(
        stop=tenacity.stop_after_attempt(job.attempts),
        wait=tenacity.wait_fixed(job.pause),
        retry=tenacity.retry_if_exception_type(errors),
        reraise=True,
    )(call)


@asynccontextmanager
async def around_aiohttp(job: Job) -> AsyncIterator[Call]:
    """A session whose error replies raise, so that there is something to repeat."""
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        yield retried(job, ask(session, job), aiohttp.ClientError, TimeoutError)
