"""`record_events` and `assert_no_leaks`."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from resilient_client import APIClient, Retry
from resilient_client._core.events import CallFinished, RetryScheduled
from resilient_client.testing import FaultServer, MockUpstream, assert_no_leaks, record_events, reply

AT_ONCE = Retry(backoff={"kind": "fixed", "initial": 0.001})


async def test_record_events_collects_inside_its_block_only() -> None:
    """Events inside the block are recorded, later ones are not."""
    upstream = MockUpstream()
    upstream.script(reply(503), reply())
    async with APIClient("https://api.example.com", transport=upstream, retry=AT_ONCE) as api:
        with record_events(api) as events:
            await api.get("/")
        await api.get("/")
    assert [type(event) for event in events if isinstance(event, RetryScheduled | CallFinished)] == [
        RetryScheduled,
        CallFinished,
    ]


async def test_assert_no_leaks_around_a_clean_block_passes() -> None:
    """A closed client leaves neither a task nor a session."""
    async with assert_no_leaks(), APIClient("http://127.0.0.1:9"):
        pass


async def test_assert_no_leaks_names_a_task_left_running() -> None:
    """The message names a task that outlives the block."""
    with pytest.raises(AssertionError, match="task leaked-task"):
        async with assert_no_leaks():
            task = asyncio.create_task(asyncio.sleep(60), name="leaked-task")
    task.cancel()
    await asyncio.wait((task,))


async def test_assert_no_leaks_names_a_session_left_open() -> None:
    """The message names an aiohttp session that was not closed."""
    with pytest.raises(AssertionError, match="open session"):
        async with assert_no_leaks():
            session = aiohttp.ClientSession()
    await session.close()


async def test_assert_no_leaks_names_a_client_left_open() -> None:
    """The message says that a client keeps connections open."""
    async with FaultServer() as server:
        with pytest.raises(AssertionError, match="a client that was not closed, with 1 open connection"):
            async with assert_no_leaks():
                api = APIClient(server.url)
                await api.get("/")
        await api.close()


async def test_assert_no_leaks_propagates_an_error() -> None:
    """An exception in the block propagates, and the check is skipped."""
    with pytest.raises(LookupError):
        async with assert_no_leaks():
            task = asyncio.create_task(asyncio.sleep(60))
            raise LookupError
    task.cancel()
    await asyncio.wait((task,))
