"""Watch what a client does, and what it leaves behind. Never changes either."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilient_client._client.client import APIClient
    from resilient_client._core.events import Event

_TURNS = 3  # of the event loop: what was cancelled or closed just now gets its end


@contextlib.contextmanager
def record_events(client: APIClient) -> Iterator[list[Event]]:
    """Collect the events of a client, and of its views, inside the `with` block.

    Yields:
        The events so far, in order; it keeps them after the block.
    """
    events: list[Event] = []
    unsubscribe = client.subscribe(events.append)
    try:
        yield events
    finally:
        unsubscribe()


@contextlib.asynccontextmanager
async def assert_no_leaks() -> AsyncIterator[None]:
    """Hold the `async with` block to leave no task of its own running and no aiohttp session of its own open.

    An exception that leaves the block goes on as it is, unchecked.

    Raises:
        AssertionError: Something is left; the message names it.
    """
    tasks, sessions = asyncio.all_tasks(), _open_sessions()
    yield
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    left = [f"task {task.get_name()}: {task.get_coro()!r}" for task in asyncio.all_tasks() - tasks]
    left += [f"open session {session!r}" for key, session in _open_sessions().items() if key not in sessions]
    if left:
        raise AssertionError(f"left behind: {'; '.join(left)}")


def _open_sessions() -> dict[int, object]:
    aiohttp = sys.modules.get("aiohttp")  # who has not imported it has no session
    if aiohttp is None:
        return {}
    # Not isinstance(): a lazy proxy among the objects would wake up.
    return {
        id(thing): thing
        for thing in gc.get_objects()
        if issubclass(type(thing), aiohttp.ClientSession) and not thing.closed
    }
