"""Records a client's events and checks for leaked tasks and sessions. It changes nothing that it observes."""

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

# A task that was cancelled, or a session that was closed, just before the end of the block needs a few loop iterations
# to finish. Without them a clean block would be reported as a leak.
_SETTLING_ITERATIONS = 25


@contextlib.contextmanager
def record_events(client: APIClient) -> Iterator[list[Event]]:
    """Collect the events of a client, and of its views, inside the `with` block.

    Yields:
        The list of events so far, in order. It stays filled after the block.
    """
    events: list[Event] = []
    unsubscribe = client.subscribe(events.append)
    try:
        yield events
    finally:
        unsubscribe()


@contextlib.asynccontextmanager
async def assert_no_leaks() -> AsyncIterator[None]:
    """Check that the `async with` block leaves no task running and no aiohttp session or client open.

    An exception raised in the block propagates unchanged, and the check is skipped.

    Raises:
        AssertionError: A task, a session or the connections of a client are left. The message names each one.
    """
    tasks, opened = asyncio.all_tasks(), _open_pools()
    yield
    for _ in range(_SETTLING_ITERATIONS):
        if asyncio.all_tasks() <= tasks:
            break
        await asyncio.sleep(0)
    left = [f"task {task.get_name()}: {task.get_coro()!r}" for task in asyncio.all_tasks() - tasks]
    left += [text for key, text in _open_pools().items() if key not in opened]
    if left:
        raise AssertionError(f"left behind: {'; '.join(left)}")


def _open_pools() -> dict[int, str]:
    """The aiohttp sessions, and the clients with connections of their own, that are open."""
    aiohttp = sys.modules.get("aiohttp")  # not imported: no session can exist
    direct = sys.modules.get("resilient_client._transport.http1.direct_path")
    if aiohttp is None or direct is None:
        return {}
    # type() instead of isinstance(): isinstance() reads ``__class__``, and on a lazy proxy (Django, werkzeug) that
    # would load the object behind it.
    opened: dict[int, str] = {}
    for found in gc.get_objects():
        if issubclass(type(found), aiohttp.ClientSession) and not found.closed:
            opened[id(found)] = f"open session {found!r}"
        elif type(found) is direct.DirectPath and found.open_connections:
            opened[id(found)] = f"a client that was not closed, with {found.open_connections} open connections"
    return opened
