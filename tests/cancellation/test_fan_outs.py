"""Fan-outs cancelled at each of their suspensions and those of their workers, over real sockets, in all their modes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.cancellation.support import world_of

from resilient_client import APIClient, Call, ConnectionSettings, ErrorKind, Failure, Response
from resilient_client.testing._wire import ReceivedRequest, Wire
from resilient_client.testing.cancellation import CancellationError, sweep_cancellation
from resilient_client.testing.faults import reply

Scenario = Callable[[APIClient], Awaitable[None]]
ONE_PLACE_SHORT = ConnectionSettings(pool_size=2)


async def upstream(request: ReceivedRequest, wire: Wire) -> None:
    """Slow, fast and failing answers, by path."""
    delay = 0.02 if request.path.startswith("/slow") else 0.002
    await reply(404 if request.path.startswith("/bad") else 200, delay=delay)(request, wire)


def calls(*paths: str) -> list[Call[Response]]:
    return [Call.get(path) for path in paths]


async def pages(*paths: str) -> AsyncIterator[Call[Response]]:
    """Calls that take a moment to come, and a generator that takes a moment to close."""
    try:
        for path in paths:
            await asyncio.sleep(0)
            yield Call.get(path)
    finally:
        await asyncio.sleep(0)


async def first_success(api: APIClient) -> None:
    result = await api.gather(calls("/slow/1", "/fast", "/slow/2", "/slow/3"), concurrency=3, successes=1)
    assert [outcome.ok for outcome in result] == [False, True, False, False]


async def first_failure(api: APIClient) -> None:
    result = await api.gather(calls("/slow/1", "/bad", "/slow/2", "/slow/3"), concurrency=3, stop_on_failure=True)
    assert [failure.kind for failure in result.failures].count(ErrorKind.CLIENT_ERROR) == 1
    assert len(result.values) == 0


async def watched(api: APIClient) -> None:
    told: list[object] = []
    await api.gather(calls("/a", "/b", "/c"), concurrency=2, on_outcome=told.append, progress=True)
    assert len(told) == 3


async def paged(api: APIClient) -> None:
    result = await api.gather(pages("/a", "/b", "/c"), concurrency=2, timeout=5)
    assert len(result.values) == 3


async def paged_first_success(api: APIClient) -> None:
    assert (await api.gather(pages("/slow/1", "/a", "/b"), concurrency=2, successes=1)).ok


async def as_they_come(api: APIClient) -> None:
    async with api.as_completed(iter(calls("/a", "/bad", "/c", "/d")), concurrency=2, timeout=5) as outcomes:
        assert len([outcome async for outcome in outcomes]) == 4


async def in_order(api: APIClient) -> None:
    async with api.as_completed(calls("/slow/1", "/b", "/c", "/d"), concurrency=2, ordered=True) as outcomes:
        assert (await anext(outcomes)).ok
        await asyncio.sleep(0.005)  # the workers fill the channel, and are held back
        assert len([outcome async for outcome in outcomes]) == 3


async def left_early(api: APIClient) -> None:
    async with api.as_completed(pages("/a", "/slow/1", "/slow/2"), concurrency=2) as outcomes:
        async for outcome in outcomes:
            assert not isinstance(outcome, Failure)
            break


@pytest.mark.parametrize(
    ("mode", "places"),
    [
        (first_success, ["gather", "Workers.run", "Workers._work"]),
        (first_failure, ["Workers._work"]),
        (watched, ["Workers._work"]),
        (paged, ["_AsyncIterableSource._feed", "pages", "_AsyncIterableSource._wait_for_waiter", "Workers._work"]),
        (paged_first_success, ["Workers._work", "pages"]),
        (as_they_come, ["OutcomeStream.__anext__"]),
        (in_order, ["OutcomeStream.__anext__", "_Buffer.wait_for_space"]),
        (left_early, ["OutcomeStream.aclose", "pages"]),
    ],
)
async def test_fan_out_cancelled_anywhere_leaves_nothing_and_the_next_call_works(
    mode: Scenario, places: list[str]
) -> None:
    """Whatever it is doing: its calls are cancelled and awaited, and the cancellation comes out."""
    world = world_of(lambda api: lambda: mode(api), upstream, faults=True, connection=ONE_PLACE_SHORT)
    report = await sweep_cancellation(world)
    assert [place for place in places if not report.reached(place)] == []


async def test_sweep_finds_the_calls_of_a_bare_loop_that_keeps_its_stream() -> None:
    """Negative control: a stream that is neither closed nor let go leaves its workers, and the sweep says so."""
    kept: list[Any] = []

    async def careless(api: APIClient) -> None:
        kept.append(api.as_completed(calls("/slow/1", "/slow/2")))
        async for _ in kept[-1]:
            pass

    world = world_of(lambda api: lambda: careless(api), upstream, faults=True)
    with pytest.raises(CancellationError, match="a task is left"):
        await sweep_cancellation(world)
    for stream in kept:
        await stream.aclose()
