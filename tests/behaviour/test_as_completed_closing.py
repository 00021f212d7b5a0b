"""The rule of ``as_completed`` that is given up: nothing is left of what was in flight, soon or at once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from tests.behaviour.support import Lasting, calls, cancelled, in_use, keys, lasting, soon, turns, working

from resilient_client import APIClient, Call, Response, as_completed
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._virtual_time import run_virtual


async def test_left_early_awaits_all_calls(server: FaultServer, api: APIClient) -> None:
    """Behind the ``async with`` block there is no task, no connection, and nothing is sent any more."""
    server.script(faults.hang_before_headers())
    server.route("GET", "/0", faults.reply(200))
    async with api.as_completed(calls(50), concurrency=10) as outcomes:
        async for outcome in outcomes:
            assert outcome.key == 0
            break
        await soon(server.wait_for_hits(11))
        assert in_use(api) == 10
    assert (in_use(api), working()) == (0, 0)
    await turns()
    assert server.hits == 11


async def test_bare_loop_left_early_cancels_calls(server: FaultServer, api: APIClient) -> None:
    """Python lets go of the stream, and the calls go with it, a few turns of the loop later."""
    server.script(faults.hang_before_headers())
    server.route("GET", "/0", faults.reply(200))
    async for outcome in api.as_completed(calls(50), concurrency=10):
        assert outcome.key == 0
        break
    gc.collect()  # for interpreters that count no references
    await turns(20)
    assert (in_use(api), working()) == (0, 0)


async def test_kept_stream_goes_on(server: FaultServer, api: APIClient) -> None:
    """Negative control: who keeps the stream without closing it keeps the calls, too."""
    server.script(faults.hang_before_headers())
    server.route("GET", "/0", faults.reply(200))
    stream = api.as_completed(calls(50), concurrency=10)
    async for _ in stream:
        break
    await turns(20)
    await soon(server.wait_for_hits(11))
    assert (in_use(api), working()) == (10, 11)
    await stream.aclose()
    assert (in_use(api), working()) == (0, 0)


async def test_cancelled_stream_awaits_calls(server: FaultServer, api: APIClient) -> None:
    """When the CancelledError is out of the ``async with`` block, nothing of the fan-out is left."""
    server.script(faults.hang_before_headers())

    async def consume() -> None:
        async with api.as_completed(calls(50), concurrency=10) as outcomes:
            async for _ in outcomes:
                pass

    consuming = asyncio.create_task(consume())
    await soon(server.wait_for_hits(10))
    await cancelled([consuming])
    assert consuming.cancelled()
    assert (in_use(api), working()) == (0, 0)


def test_abandoned_step_loses_nothing() -> None:
    """A step under a timeout of the consumer's may end without an outcome; the next one gives it."""

    async def consume() -> list[object]:
        async with as_completed(lasting(5, 6), client=Lasting()) as stream:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 1)  # type: ignore[arg-type]  # a coroutine
            return await keys(stream)

    assert run_virtual(consume()) == [5, 6]


async def test_closed_twice_or_unstarted(api: APIClient) -> None:
    """Closing is idempotent, and ends the stream for good."""
    stream = api.as_completed(calls(3))
    await stream.aclose()
    await stream.aclose()
    assert await keys(stream) == []
    begun = api.as_completed(calls(3))
    await soon(anext(begun))
    await begun.aclose()
    assert await keys(begun) == []


async def test_closed_by_another_task(server: FaultServer, api: APIClient) -> None:
    """Whoever waits for the next outcome comes to the end instead of waiting for ever."""
    server.script(faults.hang_before_headers())
    stream = api.as_completed(calls(3))
    consuming = asyncio.create_task(keys(stream))
    await soon(server.wait_for_hits(3))
    await stream.aclose()
    assert await soon(consuming) == []


def test_cancelled_while_closing() -> None:
    """A generator that takes its time to close is awaited; only then does the cancellation come out."""
    closed = False

    async def source() -> AsyncIterator[Call[Response]]:
        nonlocal closed
        try:
            while True:
                yield Call.get("/", key=1)
        finally:
            await asyncio.sleep(5)
            closed = True

    async def consume() -> None:
        async with as_completed(source(), client=Lasting()) as outcomes:
            await anext(outcomes)

    async def scenario() -> bool:
        consuming = asyncio.create_task(consume())
        await asyncio.sleep(3)
        consuming.cancel()
        await asyncio.wait([consuming])
        return consuming.cancelled()

    assert run_virtual(scenario())
    assert closed
