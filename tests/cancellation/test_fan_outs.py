"""Fan-outs in all modes, cancelled at each suspension of the caller and of the workers, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.cancellation.support import client_world, one_loop

from resilient_client import APIClient, Call, ConnectionSettings, ErrorKind, Failure, Response
from resilient_client._fanout.stream import OutcomeStream
from resilient_client.testing._wire import ReceivedRequest, Wire
from resilient_client.testing.cancellation import CancellationError, sweep_cancellation
from resilient_client.testing.faults import reply

Scenario = Callable[[APIClient], Awaitable[None]]
TWO_SLOTS = ConnectionSettings(pool_size=2)  # one slot fewer than the concurrency of some modes

pytestmark = one_loop


async def upstream(request: ReceivedRequest, wire: Wire) -> None:
    """Answer slowly, fast, never (within a test) or with an error, depending on the path."""
    delay = {"slow": 0.02, "hang": 60.0}.get(request.path.split("/")[1], 0.002)
    await reply(404 if request.path.startswith("/bad") else 200, delay=delay)(request, wire)


def calls(*paths: str) -> list[Call[Response]]:
    return [Call.get(path) for path in paths]


async def pages(*paths: str) -> AsyncIterator[Call[Response]]:
    """Yield calls from a generator that waits before each call and while it is closed."""
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


async def observed(api: APIClient) -> None:
    outcomes: list[object] = []
    await api.gather(calls("/a", "/b", "/c"), concurrency=2, on_outcome=outcomes.append, progress=True)
    assert len(outcomes) == 3


async def paged(api: APIClient) -> None:
    result = await api.gather(pages("/a", "/b", "/c"), concurrency=2, timeout=5)
    assert len(result.values) == 3


async def paged_first_success(api: APIClient) -> None:
    assert (await api.gather(pages("/slow/1", "/a", "/b"), concurrency=2, successes=1)).ok


async def unordered(api: APIClient) -> None:
    async with api.as_completed(iter(calls("/a", "/bad", "/c", "/d")), concurrency=2, timeout=5) as outcomes:
        assert len([outcome async for outcome in outcomes]) == 4


async def in_order(api: APIClient) -> None:
    async with api.as_completed(calls("/slow/1", "/b", "/c", "/d"), concurrency=2, ordered=True) as outcomes:
        assert (await anext(outcomes)).ok
        await asyncio.sleep(0.005)  # the workers fill the channel and then have to wait
        assert len([outcome async for outcome in outcomes]) == 3


async def left_early(api: APIClient) -> None:
    # On a busy machine a slow call could be done before the block is left, and aclose() would have nothing to await.
    async with api.as_completed(pages("/a", "/hang/1", "/hang/2"), concurrency=2) as outcomes:
        async for outcome in outcomes:
            assert not isinstance(outcome, Failure)
            break


kept_streams: list[OutcomeStream[Response]] = []


async def bare(api: APIClient) -> None:
    # The stream is kept, so its workers end because of the cancellation and not because Python deletes it.
    kept_streams[:] = [api.as_completed(calls("/slow/1", "/slow/2"))]
    async for _ in kept_streams[0]:
        pass


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (first_success, ["gather", "Workers.run", "Workers._work"]),
        (first_failure, ["Workers._work"]),
        (observed, ["Workers._work"]),
        (paged, ["_AsyncIterableSource._feed", "pages", "_AsyncIterableSource._wait_for_waiter", "Workers._work"]),
        (paged_first_success, ["Workers._work", "pages"]),
        (unordered, ["OutcomeStream.__anext__"]),
        (in_order, ["OutcomeStream.__anext__", "_Buffer.wait_for_space"]),
        (left_early, ["OutcomeStream.aclose", "pages"]),
        (bare, ["OutcomeStream._arrival"]),
    ],
)
async def test_fan_out_cancelled_anywhere_leaves_nothing(mode: Scenario, names: list[str]) -> None:
    """The calls of a cancelled fan-out are cancelled and awaited, and the next call works."""
    world = client_world(lambda api: lambda: mode(api), upstream, faults=True, connection=TWO_SLOTS)
    report = await sweep_cancellation(world)
    assert [name for name in names if not report.reached(name)] == []


async def test_unclosed_outcome_stream_is_detected() -> None:
    """Negative control: a stream that is entered, and then neither closed nor released, leaves its workers running."""
    kept: list[Any] = []

    async def careless(api: APIClient) -> None:
        kept.append(await api.as_completed(calls("/slow/1", "/slow/2")).__aenter__())
        async for _ in kept[-1]:
            pass

    world = client_world(lambda api: lambda: careless(api), upstream, faults=True)
    with pytest.raises(CancellationError, match="a task is left"):
        await sweep_cancellation(world)
    for stream in kept:
        await stream.aclose()
