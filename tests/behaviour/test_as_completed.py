"""The rule of ``as_completed``: outcomes as they come or in order, lazily, by the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.behaviour.support import Lasting, calls, client, in_use, keys, lasting, soon

from resilient_client import (
    APIClient,
    Call,
    ClientClosedError,
    ErrorKind,
    Failure,
    InvalidRequestError,
    Outcome,
    Response,
    as_completed,
)
from resilient_client._core.deadline import ambient_deadline
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._virtual_time import run_virtual

# --- what comes out ---


async def test_as_completed_gives_every_outcome(server: FaultServer, api: APIClient) -> None:
    """Good and bad ones, each once; a failure harms no other."""
    server.route("GET", "/3", faults.reply(404))
    server.route("GET", "/5", faults.drop())
    outcomes = {outcome.key: outcome async for outcome in api.as_completed(iter(calls(40)), concurrency=8)}
    assert sorted(outcomes) == list(range(40))  # type: ignore[type-var]  # ints all
    assert [key for key, outcome in outcomes.items() if not outcome.ok] in ([3, 5], [5, 3])
    assert (server.hits, in_use(api)) == (40, 0)
    assert server.peak <= 8


def test_as_completed_in_order_of_completion() -> None:
    """The fastest first."""
    assert run_virtual(keys(as_completed(lasting(3, 1, 2), client=Lasting()))) == [1, 2, 3]


def test_as_completed_ordered() -> None:
    """Each waits for those before it."""
    assert run_virtual(keys(as_completed(lasting(3, 1, 2, 5, 4), client=Lasting(), ordered=True))) == [3, 1, 2, 5, 4]


async def test_as_completed_of_no_calls(api: APIClient) -> None:
    """No calls, no outcomes."""
    assert await soon(keys(api.as_completed([]))) == []


async def test_as_completed_stays_ended(api: APIClient) -> None:
    """A further step ends, too; one pass is all there is."""
    stream = api.as_completed(calls(2))
    assert len(await soon(keys(stream))) == 2
    assert await soon(keys(stream)) == []


def test_as_completed_shared_by_consumers() -> None:
    """Each outcome goes to one of them, and all of them come to the end."""

    async def share() -> list[object]:
        stream = as_completed(lasting(*range(30)), client=Lasting(), concurrency=5)
        first, second = await asyncio.gather(keys(stream), keys(stream))
        return first + second

    assert sorted(run_virtual(share())) == list(range(30))  # type: ignore[type-var]  # ints all


# --- lazy in, lazy out ---


@pytest.mark.parametrize("ordered", [False, True])
def test_as_completed_backpressure(ordered: bool) -> None:
    """No call is begun while ``concurrency`` outcomes wait: those and what was in flight are all that was drawn."""
    runner, drawn = Lasting(), 0

    def source() -> Iterator[Call[Response]]:
        nonlocal drawn
        for drawn in range(1, 1001):
            yield Call.get("/", key=drawn / 1000)

    async def consume() -> int:
        async with as_completed(source(), client=runner, concurrency=10, ordered=ordered) as stream:
            await anext(stream)
            await asyncio.sleep(1000)
            seen = drawn
            assert len(await keys(stream)) == 999
            return seen

    assert 10 <= run_virtual(consume()) <= 21
    assert runner.peak == 10


def test_as_completed_ordered_backpressure() -> None:
    """Head-of-line blocking is bounded: the window is the calls in flight and as many outcomes that wait."""
    runner = Lasting()

    async def consume() -> None:
        stream = as_completed(lasting(100, *[1] * 200), client=runner, concurrency=10, ordered=True)
        first = asyncio.create_task(anext(stream))  # type: ignore[arg-type]  # a coroutine
        await asyncio.sleep(99)
        assert 11 <= runner.begun <= 20
        assert (await first).key == 100
        assert len(await keys(stream)) == 200

    run_virtual(consume())


def test_as_completed_starts_lazily() -> None:
    """A stream that nobody looks at draws no call; entering it is the first step."""
    runner = Lasting()

    async def scenario() -> list[int]:
        begun = []
        async with as_completed(lasting(*[1] * 5), client=runner) as stream:
            begun.append(runner.begun)
            await asyncio.sleep(0.5)
            begun.append(runner.begun)
            assert len(await keys(stream)) == 5
        as_completed(lasting(1), client=runner)
        await asyncio.sleep(1)
        return [*begun, runner.begun]

    assert run_virtual(scenario()) == [0, 5, 5]


# --- the deadline ---


@pytest.mark.virtual_time
async def test_as_completed_ends_at_its_deadline(server: FaultServer) -> None:
    """100 calls, 5 of them hang: 95 values as they come, and 5 failures at the deadline."""
    hanging = [3, 20, 47, 80, 99]
    for number in hanging:
        server.route("GET", f"/{number}", faults.hang_before_headers())
    loop = asyncio.get_running_loop()
    async with client(server) as api:
        began = loop.time()
        outcomes = [outcome async for outcome in api.as_completed(calls(100), timeout=1)]
        took = loop.time() - began
        assert in_use(api) == 0
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert (len(outcomes), {failure.kind for failure in failures}) == (100, {ErrorKind.DEADLINE})
    assert sorted(failure.key for failure in failures) == hanging  # type: ignore[type-var]  # ints all
    assert took == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("ordered", [False, True])
def test_as_completed_deadline_labels_rest(ordered: bool) -> None:
    """However slow the consumer: every call has its outcome, and none is made too late."""
    runner = Lasting()

    async def consume() -> list[bool]:
        found = []
        stream = as_completed(lasting(*[1] * 50), client=runner, concurrency=5, timeout=3.5, ordered=ordered)
        async for outcome in stream:
            found.append(outcome.ok)
            await asyncio.sleep(0.05)
        return found

    found = run_virtual(consume())
    assert (len(found), found.count(True), runner.begun) == (50, 15, 20)


def test_as_completed_timeout_spares_consumer() -> None:
    """Calls that the loop's body makes itself are not under the deadline of the fan-out."""
    seen = []

    class Looking(Lasting):
        async def run(self, call: Call[Any]) -> Outcome[Any]:
            seen.append(ambient_deadline())
            return await super().run(call)

    async def consume() -> None:
        async with as_completed(lasting(1, 2), client=Looking(), timeout=7) as stream:
            await anext(stream)
            seen.append(ambient_deadline())
            assert await keys(stream) == [2]

    run_virtual(consume())
    assert seen == [7, 7, float("inf")]


# --- what goes wrong ---


def test_as_completed_iterable_error_comes_last() -> None:
    """Finished outcomes that wait are given, then the error, once, then the end."""

    def source() -> Iterator[Call[Response]]:
        yield from lasting(1, 1, 9)
        yield Call.get("/", key=2)
        raise KeyError("a bug of the user's")

    async def consume() -> list[object]:
        found: list[object] = []
        stream = as_completed(source(), client=Lasting(), concurrency=2)
        await anext(stream)
        await asyncio.sleep(20)
        with pytest.raises(KeyError):
            while True:
                found.append((await anext(stream)).key)
        return found + await keys(stream)

    assert run_virtual(consume()) == [1, 2, 9]


def test_as_completed_iterable_error_held_back() -> None:
    """A worker that waited for room is gone by then, and need not be told that there is some."""

    async def source() -> AsyncIterator[Call[Response]]:
        for drawn in lasting(1, 2, 3):
            yield drawn
        await asyncio.sleep(5)
        raise KeyError("a bug of the user's")

    async def consume() -> list[object]:
        found: list[object] = []
        async with as_completed(source(), client=Lasting(), concurrency=3) as stream:
            await asyncio.sleep(20)
            with pytest.raises(KeyError):
                while True:
                    found.append((await anext(stream)).key)
        return found

    assert run_virtual(consume()) == [1, 2, 3]


async def test_as_completed_of_closed_client(server: FaultServer) -> None:
    """One clear sentence, at once."""
    api = client(server)
    await api.close()
    with pytest.raises(ClientClosedError, match="is closed; make a new one"):
        api.as_completed(calls(3))


@pytest.mark.parametrize("limits", [{"concurrency": 0}, {"timeout": -1}, {"ordered": "no"}], ids=str)
async def test_as_completed_invalid_limits(api: APIClient, limits: dict[str, Any]) -> None:
    """At once, naming the limit."""
    with pytest.raises(InvalidRequestError, match=next(iter(limits))):
        api.as_completed(calls(3), **limits)
