"""An abandoned ``as_completed`` leaves no call in flight, either soon or at once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from tests.behaviour.support import Lasting, calls, cancelled, in_use, keys, lasting, soon, turns, working

from resilient_client import APIClient, Call, CallCancelledError, Response, as_completed
from resilient_client._fanout.stream import _Buffer
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._virtual_time import run_virtual


async def test_left_early_awaits_all_calls(server: FaultServer, api: APIClient) -> None:
    """After the ``async with`` block there is no task and no connection, and nothing is sent any more."""
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
    """Python frees the stream, and its calls are cancelled a few iterations of the loop later."""
    server.script(faults.hang_before_headers())
    server.route("GET", "/0", faults.reply(200))
    async for outcome in api.as_completed(calls(50), concurrency=10):
        assert outcome.key == 0
        break
    gc.collect()  # for interpreters that count no references
    await turns(20)
    assert (in_use(api), working()) == (0, 0)


async def test_kept_stream_goes_on(server: FaultServer, api: APIClient) -> None:
    """Negative control: a stream that is referenced and not closed keeps its calls running."""
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
    """A step under a timeout of the consumer may end without an outcome. The next step gives it."""

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
    """A consumer that waits for the next outcome comes to the end instead of waiting for ever."""
    server.script(faults.hang_before_headers())
    stream = api.as_completed(calls(3))
    consuming = asyncio.create_task(keys(stream))
    await soon(server.wait_for_hits(3))
    await stream.aclose()
    assert await soon(consuming) == []


def test_cancelled_while_closing() -> None:
    """A generator that is slow to close is awaited before the cancellation is raised."""
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


# --- a consumer that is cancelled, without ``async with`` ---


async def bare(api: APIClient, body: asyncio.Event | None = None) -> None:
    """Consume a fan-out in a bare loop. ``body``: what the body of the loop waits for."""
    stream = api.as_completed(calls(50), concurrency=10)  # kept by this frame, and so by the traceback of its error
    async for _ in stream:
        if body is not None:
            await body.wait()


async def test_cancelled_step_awaits_calls(server: FaultServer, api: APIClient) -> None:
    """When the CancelledError is out of a bare loop, no task and no connection of the fan-out is left."""
    server.script(faults.hang_before_headers())
    consuming = asyncio.create_task(bare(api))
    await soon(server.wait_for_hits(10))
    consuming.cancel()
    (error,) = await asyncio.gather(consuming, return_exceptions=True)
    assert isinstance(error, asyncio.CancelledError)
    assert (in_use(api), working()) == (0, 0)


async def test_cancelled_body_ends_calls(server: FaultServer, api: APIClient) -> None:
    """The stream may outlive its consumer: the error that is kept here refers to its frame."""
    server.script(faults.hang_before_headers())
    server.route("GET", "/0", faults.reply(200))
    consuming = asyncio.create_task(bare(api, asyncio.Event()))
    await soon(server.wait_for_hits(11))
    consuming.cancel()
    with pytest.raises(asyncio.CancelledError) as kept:
        await consuming
    await turns(20)
    assert (in_use(api), working()) == (0, 0)
    assert server.hits == 11
    del kept


def test_step_under_timeout_ends_bare_stream() -> None:
    """As with an async generator. The next step does not pass for the end: it tells that outcomes are missing."""

    async def consume() -> None:
        stream = as_completed(lasting(5, 6), client=Lasting())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await anext(stream)
        assert working() == 0
        with pytest.raises(CallCancelledError, match="async with"):
            await anext(stream)

    run_virtual(consume())


def test_one_of_several_consumers_is_cancelled() -> None:
    """The others go on, and the last one that is cancelled ends the calls."""

    async def consume() -> list[object]:
        stream = as_completed(lasting(5, 6, 7, 100), client=Lasting())
        consumers = [asyncio.create_task(keys(stream)) for _ in range(3)]
        await asyncio.sleep(1)
        await cancelled(consumers[:1])
        await asyncio.sleep(9)
        assert working() > 0
        await cancelled(consumers[1:2])
        assert working() > 0
        await cancelled(consumers[2:])
        assert working() == 0
        return [task.cancelled() for task in consumers]

    assert run_virtual(consume()) == [True, True, True]


def test_long_lived_consumer_keeps_nothing() -> None:
    """A task that consumes one stream after the other does not collect callbacks."""

    async def consume() -> None:
        for _ in range(3):
            assert len(await keys(as_completed(lasting(1, 2), client=Lasting()))) == 2
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, _Buffer)]

    run_virtual(consume())
