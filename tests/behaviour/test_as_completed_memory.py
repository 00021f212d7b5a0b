"""The rule of ``as_completed`` at length: memory does not grow with the number of calls."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from resilient_client import Call, Outcome, Response, Success, as_completed, gather

CONCURRENCY = 50


class Answering:
    """A runner that answers with something to hold, after a turn of the loop."""

    async def run(self, call: Call[Any]) -> Outcome[Any]:
        await asyncio.sleep(0)
        return Success(bytes(1000), key=call.key)


def calls(count: int) -> Iterator[Call[Response]]:
    return (Call.get("/", key=number) for number in range(count))


async def streamed(count: int, *, ordered: bool) -> None:
    async with as_completed(calls(count), client=Answering(), concurrency=CONCURRENCY, ordered=ordered) as outcomes:
        taken = 0
        async for _ in outcomes:
            taken += 1
    assert taken == count


def peak(count: int, *, ordered: bool) -> int:
    """The most bytes at once, above the start."""
    tracemalloc.start()
    try:
        asyncio.run(streamed(count, ordered=ordered))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("ordered", [False, True])
def test_as_completed_memory_is_constant(ordered: bool) -> None:
    """What it needs depends on how many are in flight, not on how many there are."""
    peak(100, ordered=ordered)  # what is loaded and cached once
    few, many = peak(1_000, ordered=ordered), peak(10_000, ordered=ordered)
    assert many < few + 50_000
    assert many < 1_000_000  # 1 KB held for each of the 10,000 would be 10 MB


def test_gather_holds_all_outcomes() -> None:
    """Negative control: a result that can be looked at holds them all, and the measurement sees it."""
    tracemalloc.start()
    try:
        asyncio.run(gather(calls(3_000), client=Answering(), concurrency=CONCURRENCY))
        assert tracemalloc.get_traced_memory()[1] > 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_million_calls_hold_no_more_objects() -> None:
    """From the first thousand to the last nothing is piled up: no task, no future, no outcome."""
    held: list[int] = []

    async def consume() -> int:
        taken = 0
        async with as_completed(calls(1_000_000), client=Answering(), concurrency=CONCURRENCY) as outcomes:
            async for _ in outcomes:
                taken += 1
                if taken % 100_000 == 1_000:
                    held.append(sys.getallocatedblocks())
        return taken

    assert asyncio.run(consume()) == 1_000_000
    assert len(held) == 10
    assert max(held) - min(held) < 20 * CONCURRENCY
