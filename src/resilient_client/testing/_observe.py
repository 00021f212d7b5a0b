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
_SETTLING_ITERATIONS = 3


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
    """Check that the `async with` block leaves no task that it started running and no aiohttp session that it opened.

    An exception raised in the block propagates unchanged, and the check is skipped.

    Raises:
        AssertionError: A task or a session is left. The message names each one.
    """
    tasks, sessions = asyncio.all_tasks(), _open_sessions()
    yield
    for _ in range(_SETTLING_ITERATIONS):
        await asyncio.sleep(0)
    left = [f"task {task.get_name()}: {task.get_coro()!r}" for task in asyncio.all_tasks() - tasks]
    left += [f"open session {session!r}" for key, session in _open_sessions().items() if key not in sessions]
    if left:
        raise AssertionError(f"left behind: {'; '.join(left)}")


def _open_sessions() -> dict[int, object]:
    aiohttp = sys.modules.get("aiohttp")  # not imported: no session can exist
    if aiohttp is None:
        return {}
    # type() instead of isinstance(): isinstance() reads ``__class__``, and on a lazy proxy (Django, werkzeug) that
    # would load the object behind it.
    return {
        id(found): found
        for found in gc.get_objects()
        if issubclass(type(found), aiohttp.ClientSession) and not found.closed
    }
