"""What a fan-out holds while it runs: as many tasks as calls in flight, and of what is over only what was asked for."""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from tests.behaviour.support import cancelled, soon, turns

from resilient_client import APIClient, Call, Outcome, Response, Success, as_completed, gather
from resilient_client.testing import MockRequest, MockUpstream, reply
from resilient_client.testing._scripted import Answer

CONCURRENCY = 50
FanOut = Callable[[APIClient, int], Awaitable[None]]


def calls(count: int) -> Iterator[Call[Response]]:
    return (Call.get("/", key=number) for number in range(count))


async def streamed(api: APIClient, count: int) -> None:
    async with api.as_completed(calls(count), concurrency=CONCURRENCY) as outcomes:
        assert len([None async for outcome in outcomes if outcome.ok]) == count


async def gathered(api: APIClient, count: int) -> None:
    assert len((await api.gather(calls(count), concurrency=CONCURRENCY)).values) == count


async def naive(api: APIClient, count: int) -> None:
    await asyncio.gather(*(api.send(call) for call in calls(count)))


class Watch:
    """An upstream in memory that forgets what it was asked, and sees how much there is at the time."""

    def __init__(self) -> None:
        self.tasks = self.blocks = 0
        self.upstream = MockUpstream()
        self.upstream.script(self._answer)

    async def _answer(self, request: MockRequest) -> Answer:
        if len(self.upstream.requests) > CONCURRENCY:
            self.upstream.requests.clear()
            self.tasks = max(self.tasks, len(asyncio.all_tasks()))
            self.blocks = max(self.blocks, sys.getallocatedblocks())
        await asyncio.sleep(0)
        return reply(200, content=b"x" * 1000)

    async def during(self, fan_out: FanOut, count: int) -> Watch:
        async with APIClient("http://api.test", transport=self.upstream) as api:
            await api.get("/")
            before = sys.getallocatedblocks()
            await fan_out(api, count)
        self.blocks -= before
        return self


@pytest.mark.parametrize("fan_out", [streamed, gathered])
async def test_tasks_are_bounded_by_concurrency(fan_out: FanOut) -> None:
    """Never a task a call: beside the workers there is who asks, and who drives them."""
    seen = await Watch().during(fan_out, 20 * CONCURRENCY)
    assert CONCURRENCY < seen.tasks <= CONCURRENCY + 2


async def test_naive_fan_out_has_a_task_per_call() -> None:
    """Negative control: what people write, and what the watch sees then."""
    assert (await Watch().during(naive, 20 * CONCURRENCY)).tasks > 15 * CONCURRENCY


def test_stream_memory_is_constant() -> None:
    """Through a real client: neither it nor the stream keeps anything of a call that is over."""
    asyncio.run(Watch().during(streamed, 500))  # what is loaded and cached once
    few = asyncio.run(Watch().during(streamed, 2_000)).blocks
    many = asyncio.run(Watch().during(streamed, 10_000)).blocks
    assert many < few + 2_000  # one block per call would be 8,000; garbage waits for the collector


def test_gather_holds_all_results() -> None:
    """Negative control: results that are to be had at the end are held, and the watch sees them."""
    few = asyncio.run(Watch().during(gathered, 500)).blocks
    assert asyncio.run(Watch().during(gathered, 5_000)).blocks > few + 4_500


async def test_workers_start_within_seven_iterations() -> None:
    """Each starts two more: a hundred stand after seven turns of the loop, not after a hundred."""
    begun = 0

    class Runner:
        async def run(self, call: Call[Any]) -> Outcome[Any]:
            nonlocal begun
            begun += 1
            await asyncio.sleep(3600)
            raise AssertionError("it was never meant to end")

    task = asyncio.create_task(gather(list(calls(200)), client=Runner(), concurrency=100))
    await turns(8)
    assert begun == 100
    await cancelled([task])


async def test_released_outcome_is_freed() -> None:
    """A worker keeps nothing of the call before: bodies may be large."""
    under_way = asyncio.Event()

    class Value:
        pass

    class Runner:
        async def run(self, call: Call[Any]) -> Outcome[Any]:
            if call.key:
                under_way.set()
                await asyncio.Event().wait()
            return Success(Value(), key=call.key)

    async with as_completed(calls(2), client=Runner(), concurrency=1) as outcomes:
        first: Outcome[Any] | None = await anext(outcomes)
        assert isinstance(first, Success)
        freed = weakref.ref(first.value)
        first = None
        await soon(under_way.wait())
        assert freed() is None


class Waiting:
    """A runner that takes two turns of the loop for a call."""

    async def run(self, call: Call[Any]) -> Outcome[Any]:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return Success(None, key=call.key)


def test_stream_adds_no_loop_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker goes on at once from a call that waited to the next one: only the first of them come one by one."""
    count, taken = 200 * CONCURRENCY, 0
    loop = asyncio.new_event_loop()
    once = loop._run_once  # type: ignore[attr-defined]  # the loop of the standard library has it

    def run_once() -> None:
        nonlocal taken
        taken += 1
        once()

    async def consume() -> None:
        async with as_completed(calls(count), client=Waiting(), concurrency=CONCURRENCY) as outcomes:
            async for _ in outcomes:
                pass

    monkeypatch.setattr(loop, "_run_once", run_once)
    try:
        loop.run_until_complete(consume())
    finally:
        loop.close()
    assert taken < 2 * count / CONCURRENCY + 2 * CONCURRENCY
