"""The rule of stray cancellations: what cancels itself within a fan-out costs no call its outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from tests.behaviour.support import FanOut, Lasting, gathered, lasting, streamed

from resilient_client import Call, CallCancelledError, Outcome, Response, as_completed, gather
from resilient_client.testing._virtual_time import run_virtual

both_fan_outs = pytest.mark.parametrize("fan_out", [gathered, streamed])
one_or_many = pytest.mark.parametrize("concurrency", [1, 3])


def cancel_self() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def time_out_as_of_old() -> None:
    """What timeouts did before ``Task.uncancel``: cancel the task, catch that, and never take it back."""
    cancel_self()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        pass


def ask_what_was_cancelled() -> None:
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    gone.cancel()
    gone.result()


class Careless(Lasting):
    """A runner with a middleware that cancels its own task on the way."""

    def __init__(self, *, awaits: bool) -> None:
        super().__init__()
        self.awaits = awaits

    async def run(self, call: Call[Any]) -> Outcome[Any]:
        if self.awaits:
            await time_out_as_of_old()
        outcome = await super().run(call)
        if not self.awaits:
            cancel_self()
        return outcome


@both_fan_outs
@one_or_many
@pytest.mark.parametrize("awaits", [True, False])
def test_self_cancelled_call_keeps_outcome(fan_out: FanOut, concurrency: int, awaits: bool) -> None:
    """Such as one with a timeout of old style in a middleware: it came to an end, and so do those behind it."""
    runner = Careless(awaits=awaits)
    outcomes = run_virtual(fan_out(lasting(1, 2, 3, 4), client=runner, concurrency=concurrency))
    assert sorted(outcome.key for outcome in outcomes if outcome.ok) == [1, 2, 3, 4]  # type: ignore[type-var]  # ints


def test_outer_cancel_after_self_cancel() -> None:
    """The caller's cancellation is told from theirs."""

    async def scenario() -> float:
        gathering = asyncio.create_task(gather(lasting(1, 9, 9), client=Careless(awaits=True), concurrency=1))
        await asyncio.sleep(2)
        gathering.cancel()
        await asyncio.wait([gathering])
        assert gathering.cancelled()
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario()) == 2


def test_gather_in_cancelled_task() -> None:
    """A cancellation that is due comes out at the first chance."""

    async def scenario() -> float:
        cancel_self()
        with pytest.raises(asyncio.CancelledError):
            await gather(lasting(9, 9), client=Lasting(), concurrency=1)
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario()) == 0


@both_fan_outs
@one_or_many
def test_iterable_awaiting_cancelled_future(fan_out: FanOut, concurrency: int) -> None:
    """It does not pass for the end of the iterable, nor for a cancellation of the fan-out."""

    def source() -> Iterator[Call[Response]]:
        yield from lasting(1)
        ask_what_was_cancelled()
        yield from lasting(2)

    with pytest.raises(CallCancelledError, match="iterable of calls was cancelled from within"):
        run_virtual(fan_out(source(), client=Lasting(), concurrency=concurrency))


@both_fan_outs
@one_or_many
def test_self_cancelled_generator_goes_on(fan_out: FanOut, concurrency: int) -> None:
    """A listing read under a timeout of old style gives all its pages."""

    async def source() -> AsyncIterator[Call[Response]]:
        for drawn in lasting(1, 2, 3):
            await time_out_as_of_old()
            yield drawn

    outcomes = run_virtual(fan_out(source(), client=Lasting(), concurrency=concurrency, timeout=9))
    assert sorted(outcome.key for outcome in outcomes) == [1, 2, 3]  # type: ignore[type-var]  # ints


@both_fan_outs
def test_self_cancelled_generator_is_reported(fan_out: FanOut) -> None:
    """Nobody else cancelled it, so the fan-out does not end as if there were no more calls."""

    async def source() -> AsyncIterator[Call[Response]]:
        yield Call.get("/", key=1)
        cancel_self()
        await asyncio.sleep(0)

    with pytest.raises(CallCancelledError, match="iterable of calls was cancelled from within"):
        run_virtual(fan_out(source(), client=Lasting()))


@one_or_many
def test_callback_awaiting_cancelled_future(concurrency: int, caplog: pytest.LogCaptureFixture) -> None:
    """That is a failure of the callback like any other: logged once."""

    def callback(_outcome: Outcome[Any]) -> None:
        ask_what_was_cancelled()

    result = run_virtual(gather(lasting(1, 2, 3), client=Lasting(), concurrency=concurrency, on_outcome=callback))
    assert (len(result.values), len(caplog.records)) == (3, 1)


@pytest.mark.parametrize("step", [anext, lambda stream: stream.__aenter__()])
def test_cancelled_workers_are_reported(
    step: Callable[[Any], Any],
) -> None:
    """Whoever cancels all tasks but its own still learns that outcomes are missing."""

    async def consume() -> None:
        stream = as_completed(lasting(1, 9, 9), client=Lasting())
        await step(stream)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(2)
        while True:
            await anext(stream)

    with pytest.raises(CallCancelledError, match="fan-out was cancelled from outside"):
        run_virtual(consume())


def test_iterable_error_is_not_a_stray_cancel() -> None:
    """The calls in flight end with it: they have no outcome, and nothing more is made in their places."""
    runner, told = Lasting(), list[Outcome[Any]]()

    class Broken:
        """Raises once, and would give more."""

        def __init__(self) -> None:
            self.drawn = 0

        def __iter__(self) -> Iterator[Call[Response]]:
            return self

        def __next__(self) -> Call[Response]:
            self.drawn += 1
            if self.drawn == 3:
                raise KeyError("a bug of the user's")
            return Call.get("/", key=9)

    with pytest.raises(KeyError):
        run_virtual(gather(Broken(), client=runner, on_outcome=told.append, concurrency=3, timeout=99))
    assert (runner.begun, told) == (2, [])
