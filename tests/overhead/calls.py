"""Makes calls, one after the other, for ``test_instructions`` to count what they take: ``calls.py VARIANT COUNT``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import aiohttp
from tests.overhead.upstream import upstream

from resilient_client import APIClient


async def bare(count: int) -> None:
    """What people write without this library."""
    async with upstream() as url, aiohttp.ClientSession() as session:
        for _ in range(count):
            async with session.get(f"{url}/items") as reply:
                await reply.read()


async def ours(count: int) -> None:
    """Make calls with the default chain."""
    async with upstream() as url, APIClient(url) as api:
        for _ in range(count):
            await api.get("/items")


VARIANTS: dict[str, Callable[[int], Awaitable[None]]] = {"bare": bare, "ours": ours}

if __name__ == "__main__":
    asyncio.run(VARIANTS[sys.argv[1]](int(sys.argv[2])))  # type: ignore[arg-type]  # a coroutine
