"""pyresilience around aiohttp: its policies for HTTP, and its limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
from pyresilience import BulkheadConfig, RateLimiterConfig, RetryBudgetConfig, http_policy, resilient

from benchmarks.variants import Call
from benchmarks.variants.bare import call_with
from benchmarks.workloads import Job


@asynccontextmanager
async def everything(job: Job) -> AsyncIterator[Call]:
    """Timeout, retry, budget, circuit breaker, bulkhead, and a rate limit that is never reached."""
    policy = http_policy(max_attempts=job.attempts, retry_delay=job.pause)
    policy["retry"] = replace(policy["retry"], backoff_factor=1.0)
    policy["retry_budget"] = RetryBudgetConfig(max_retries=1000, refill_rate=1_000_000)
    policy["bulkhead"] = BulkheadConfig(max_concurrent=100, max_wait=10)
    policy["rate_limiter"] = RateLimiterConfig(max_calls=1_000_000)
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        yield resilient(**policy)(call_with(session, job))
