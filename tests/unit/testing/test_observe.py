"""Watching a client: its events, and what a block leaves behind."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from resilient_client import APIClient, Retry
from resilient_client._core.events import CallFinished, RetryScheduled
from resilient_client.testing import MockUpstream, assert_no_leaks, record_events, reply

AT_ONCE = Retry(backoff={"kind": "fixed", "initial": 0.001})


async def test_record_events_collects_inside_its_block_only() -> None:
    """What happens in the block is kept, what comes after is not."""
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


async def test_assert_no_leaks_around_a_clean_call_is_content() -> None:
    """A client that was closed leaves neither task nor session."""
    async with assert_no_leaks(), APIClient("http://127.0.0.1:9"):
        pass


async def test_assert_no_leaks_names_a_task_left_running() -> None:
    """A task that outlives the block is named."""
    with pytest.raises(AssertionError, match="task the forgotten one"):
        async with assert_no_leaks():
            task = asyncio.create_task(asyncio.sleep(60), name="the forgotten one")
    task.cancel()
    await asyncio.wait((task,))


async def test_assert_no_leaks_names_a_session_left_open() -> None:
    """An aiohttp session that was not closed is named."""
    with pytest.raises(AssertionError, match="open session"):
        async with assert_no_leaks():
            session = aiohttp.ClientSession()
    await session.close()


async def test_assert_no_leaks_lets_an_error_through() -> None:
    """The first failure is the news: what it left behind is not looked at."""
    with pytest.raises(LookupError):
        async with assert_no_leaks():
            task = asyncio.create_task(asyncio.sleep(60))
            raise LookupError
    task.cancel()
    await asyncio.wait((task,))
