"""The rule of ``as_completed``: outcomes as they come or in order, lazily, and nothing is left of what is given up."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.rules.kit import cancelled, client, in_use, soon, turns, working

from resilient_client import (
    APIClient,
    Call,
    ClientClosedError,
    ErrorKind,
    Failure,
    InvalidRequestError,
    Outcome,
    Response,
    Success,
    as_completed,
)
from resilient_client.core.deadline import ambient_deadline
from resilient_client.testing import faults
from resilient_client.testing.fault_server import FaultServer
from resilient_client.testing.virtual_time import run_virtual


@pytest.fixture
async def api(server: FaultServer) -> AsyncIterator[APIClient]:
    """One wire request a call."""
    async with client(server) as api:
        yield api


def calls(count: int) -> list[Call[Response]]:
    return [Call.get(f"/{number}", key=number) for number in range(count)]


class Lasting:
    """A runner that takes ``key`` seconds for a call, and counts those in flight."""

    def __init__(self) -> None:
        self.active = self.peak = self.begun = 0

    async def run(self, call: Call[Any]) -> Outcome[Any]:
        assert isinstance(call.key, (int, float))
        self.begun += 1
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            await asyncio.sleep(call.key)
        finally:
            self.active -= 1
        return Success(call.key, key=call.key)


def lasting(*seconds: float) -> Iterator[Call[Response]]:
    return (Call.get("/", key=second) for second in seconds)


async def keys(outcomes: AsyncIterator[Outcome[Any]]) -> list[object]:
    return [outcome.key async for outcome in outcomes]


# --- what comes out ---


async def test_as_completed_gives_every_call_its_outcome(server: FaultServer, api: APIClient) -> None:
    """Good and bad ones, each once; a failure harms no other."""
    server.route("GET", "/3", faults.reply(404))
    server.route("GET", "/5", faults.drop())
    outcomes = {outcome.key: outcome async for outcome in api.as_completed(iter(calls(40)), concurrency=8)}
    assert sorted(outcomes) == list(range(40))  # type: ignore[type-var]  # ints all
    assert [key for key, outcome in outcomes.items() if not outcome.ok] in ([3, 5], [5, 3])
    assert (server.hits, in_use(api)) == (40, 0)
    assert server.peak <= 8


def test_as_completed_gives_outcomes_as_they_come() -> None:
    """The fastest first."""
    assert run_virtual(keys(as_completed(lasting(3, 1, 2), client=Lasting()))) == [1, 2, 3]


def test_as_completed_in_order_gives_outcomes_in_the_order_of_the_calls() -> None:
    """Each waits for those before it."""
    assert run_virtual(keys(as_completed(lasting(3, 1, 2, 5, 4), client=Lasting(), ordered=True))) == [3, 1, 2, 5, 4]


async def test_as_completed_of_nothing_ends_at_once(api: APIClient) -> None:
    """No calls, no outcomes."""
    assert await soon(keys(api.as_completed([]))) == []


async def test_as_completed_at_its_end_stays_at_its_end(api: APIClient) -> None:
    """A further step ends, too; one pass is all there is."""
    stream = api.as_completed(calls(2))
    assert len(await soon(keys(stream))) == 2
    assert await soon(keys(stream)) == []


def test_as_completed_may_be_shared_by_several_consumers() -> None:
    """Each outcome goes to one of them, and all of them come to the end."""

    async def share() -> list[object]:
        stream = as_completed(lasting(*range(30)), client=Lasting(), concurrency=5)
        first, second = await asyncio.gather(keys(stream), keys(stream))
        return first + second

    assert sorted(run_virtual(share())) == list(range(30))  # type: ignore[type-var]  # ints all


# --- lazy in, lazy out ---


@pytest.mark.parametrize("ordered", [False, True])
def test_as_completed_is_held_back_by_a_consumer_that_takes_nothing(ordered: bool) -> None:
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


def test_as_completed_in_order_begins_no_call_while_many_outcomes_wait_for_a_slow_one() -> None:
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


def test_as_completed_begins_nothing_before_its_first_step() -> None:
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


async def test_as_completed_with_hanging_calls_ends_at_its_deadline_with_all_others(server: FaultServer) -> None:
    """100 calls, 5 of them hang: 95 values as they come, and 5 failures at the deadline."""
    hanging = [3, 20, 47, 80, 99]
    for number in hanging:
        server.route("GET", f"/{number}", faults.hang_before_headers())
    loop = asyncio.get_running_loop()
    async with client(server) as api:
        began = loop.time()
        outcomes = [outcome async for outcome in api.as_completed(calls(100), timeout=0.5)]
        took = loop.time() - began
        assert in_use(api) == 0
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert (len(outcomes), {failure.kind for failure in failures}) == (100, {ErrorKind.DEADLINE})
    assert sorted(failure.key for failure in failures) == hanging  # type: ignore[type-var]  # ints all
    assert 0.49 <= took < 0.7


@pytest.mark.parametrize("ordered", [False, True])
def test_as_completed_labels_what_is_left_of_a_list_at_its_deadline(ordered: bool) -> None:
    """However slow the consumer: every call has its outcome, and none is made too late."""
    runner = Lasting()

    async def consume() -> list[bool]:
        found = []
        stream = as_completed(list(lasting(*[1] * 50)), client=runner, concurrency=5, timeout=3.5, ordered=ordered)
        async for outcome in stream:
            found.append(outcome.ok)
            await asyncio.sleep(0.05)
        return found

    found = run_virtual(consume())
    assert (len(found), found.count(True), runner.begun) == (50, 15, 20)


def test_as_completed_binds_its_calls_and_not_its_consumer_by_its_timeout() -> None:
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


# --- leaving early ---


async def test_as_completed_left_early_has_cancelled_and_awaited_all_calls(server: FaultServer, api: APIClient) -> None:
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


async def test_as_completed_in_a_bare_loop_left_early_cancels_its_calls_soon(
    server: FaultServer, api: APIClient
) -> None:
    """Python lets go of the stream, and the calls go with it, a few turns of the loop later."""
    server.script(faults.hang_before_headers())
    server.route("GET", "/0", faults.reply(200))
    async for outcome in api.as_completed(calls(50), concurrency=10):
        assert outcome.key == 0
        break
    gc.collect()  # for interpreters that count no references
    await turns(20)
    assert (in_use(api), working()) == (0, 0)


async def test_as_completed_that_is_kept_and_not_closed_goes_on(server: FaultServer, api: APIClient) -> None:
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


async def test_as_completed_cancelled_from_outside_awaits_its_calls(server: FaultServer, api: APIClient) -> None:
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


def test_as_completed_whose_step_is_given_up_loses_nothing() -> None:
    """A step under a timeout of the consumer's may end without an outcome; the next one gives it."""

    async def consume() -> list[object]:
        async with as_completed(lasting(5, 6), client=Lasting()) as stream:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 1)  # type: ignore[arg-type]  # a coroutine
            return await keys(stream)

    assert run_virtual(consume()) == [5, 6]


async def test_as_completed_closed_twice_or_never_begun_is_closed(api: APIClient) -> None:
    """Closing is idempotent, and ends the stream for good."""
    stream = api.as_completed(calls(3))
    await stream.aclose()
    await stream.aclose()
    assert await keys(stream) == []
    begun = api.as_completed(calls(3))
    await soon(anext(begun))
    await begun.aclose()
    assert await keys(begun) == []


async def test_as_completed_closed_by_another_task_ends_its_consumer(server: FaultServer, api: APIClient) -> None:
    """Whoever waits for the next outcome comes to the end instead of waiting for ever."""
    server.script(faults.hang_before_headers())
    stream = api.as_completed(calls(3))
    consuming = asyncio.create_task(keys(stream))
    await soon(server.wait_for_hits(3))
    await stream.aclose()
    assert await soon(consuming) == []


def test_as_completed_cancelled_while_it_closes_closes_all_the_same() -> None:
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


# --- what goes wrong ---


def test_as_completed_whose_iterable_raises_gives_what_was_finished_first() -> None:
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


def test_as_completed_whose_iterable_raises_while_calls_are_held_back_gives_what_was_finished_first() -> None:
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


async def test_as_completed_of_a_closed_client_is_refused_before_anything_starts(server: FaultServer) -> None:
    """One clear sentence, at once."""
    api = client(server)
    await api.close()
    with pytest.raises(ClientClosedError, match="is closed; make a new one"):
        api.as_completed(calls(3))


@pytest.mark.parametrize("limits", [{"concurrency": 0}, {"timeout": -1}], ids=str)
async def test_as_completed_with_limits_that_make_no_sense_is_refused(api: APIClient, limits: dict[str, Any]) -> None:
    """At once, naming the limit."""
    with pytest.raises(InvalidRequestError, match=next(iter(limits))):
        api.as_completed(calls(3), **limits)
