"""A client on a `MockUpstream`, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from resilient_client import (
    APIClient,
    Retry,
)
from resilient_client.testing import MockUpstream, run_virtual

STEADY = Retry(max_attempts=3, backoff={"kind": "fixed", "initial": 1.0})


def now() -> float:
    return asyncio.get_running_loop().time()


def using(
    upstream: MockUpstream, main: Callable[[APIClient], Awaitable[Any]], base: str = "https://api.example.com", **o: Any
) -> Any:
    """Run ``main`` in virtual time with a client on ``upstream``."""

    async def run() -> Any:
        async with APIClient(base, transport=upstream, **({"retry": STEADY} | o)) as api:
            return await main(api)

    return run_virtual(run())


def scripted(*steps: Any) -> MockUpstream:
    upstream = MockUpstream()
    upstream.script(*steps)
    return upstream
