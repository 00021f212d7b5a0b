"""httpx2: the successor of httpx, with the same interface."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from benchmarks.variants import Call
from benchmarks.variants.httpx import call_with
from benchmarks.workloads import Job


@asynccontextmanager
async def default(job: Job) -> AsyncIterator[Call]:
    """A client with its defaults."""
    async with httpx2.AsyncClient(verify=job.trusted) as client:
        yield call_with(client, job)
