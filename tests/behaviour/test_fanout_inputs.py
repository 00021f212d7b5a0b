"""The rule of what a fan-out draws from: lazily, in one task and context, closed at the end, its own errors told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar

import pytest
from tests.behaviour.support import FanOut, Lasting, client, gathered, in_use, soon, streamed

from resilient_client import (
    Call,
    CallCancelledError,
    DeadlineExceededError,
    ErrorKind,
    Failure,
    Response,
    deadline,
    gather,
)
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._virtual_time import run_virtual

both_fan_outs = pytest.mark.parametrize("fan_out", [gathered, streamed])


def call(seconds: float = 0) -> Call[Response]:
    return Call.get("/", key=seconds)


# --- async iterables ---


@both_fan_outs
def test_fan_out_takes_an_async_generator(fan_out: FanOut) -> None:
    """Each call it gives gets its outcome."""

    async def source() -> AsyncIterator[Call[Response]]:
        for number in range(50):
            yield call(number)
            await asyncio.sleep(0.5)

    outcomes = run_virtual(fan_out(source(), client=Lasting(), concurrency=7))
    assert sorted(outcome.key for outcome in outcomes) == list(range(50))  # type: ignore[type-var]  # ints all


async def test_async_generator_keeps_order(server: FaultServer) -> None:
    """As of any other input."""
    server.route("GET", "/0", faults.reply(200, delay=0.05))

    async def source() -> AsyncIterator[Call[Response]]:
        for number in range(5):
            yield Call.get(f"/{number}", key=number)

    async with client(server) as api:
        result = await soon(api.gather(source()))
    assert [outcome.key for outcome in result] == [0, 1, 2, 3, 4]


@both_fan_outs
def test_draws_only_what_has_a_slot(fan_out: FanOut) -> None:
    """No more than ``concurrency`` are drawn while the first ones are in flight."""
    drawn = 0

    async def source() -> AsyncIterator[Call[Response]]:
        nonlocal drawn
        for _ in range(20):
            drawn += 1
            yield call(10)

    async def scenario() -> int:
        task = asyncio.ensure_future(fan_out(source(), client=Lasting(), concurrency=4))
        await asyncio.sleep(5)
        seen = drawn
        assert len(await task) == 20
        return seen

    assert run_virtual(scenario()) == 4


@both_fan_outs
def test_draws_one_call_at_a_time(fan_out: FanOut) -> None:
    """An async iterator that is no generator does not have to stand two draws at once."""

    class Source:
        def __init__(self) -> None:
            self.left, self.busy = 10, False

        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> Call[Response]:
            assert not self.busy
            self.busy = True
            await asyncio.sleep(1)
            self.busy = False
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return call()

    assert len(run_virtual(fan_out(Source(), client=Lasting()))) == 10


@both_fan_outs
def test_generator_may_hold_a_timeout(fan_out: FanOut) -> None:
    """``asyncio.timeout`` across yields needs one and the same task on both sides; no call is harmed by it."""

    async def source() -> AsyncIterator[Call[Response]]:
        async with asyncio.timeout(100), asyncio.TaskGroup():
            for _ in range(10):
                yield call(1)
                await asyncio.sleep(0.1)

    outcomes = run_virtual(fan_out(source(), client=Lasting(), concurrency=3))
    assert [outcome.ok for outcome in outcomes] == [True] * 10


@both_fan_outs
@pytest.mark.parametrize("is_async", [False, True])
def test_generator_may_hold_a_variable(fan_out: FanOut, is_async: bool) -> None:
    """What a generator sets before a yield it finds after it, whichever worker asked, and can take back."""
    held: ContextVar[str] = ContextVar("held")

    def source() -> Iterator[Call[Response]]:
        token = held.set("mine")
        with deadline(after=100):
            for _ in range(10):
                yield call(1)
                assert held.get() == "mine"
        held.reset(token)

    async def async_source() -> AsyncIterator[Call[Response]]:
        for drawn in source():
            yield drawn
            await asyncio.sleep(0)

    outcomes = run_virtual(fan_out(async_source() if is_async else source(), client=Lasting(), concurrency=3))
    assert [outcome.ok for outcome in outcomes] == [True] * 10


# --- the end of an async iterable ---


class Closing:
    """An endless async generator that tells whether it was closed."""

    def __init__(self, pause: float = 0, last: float = 0) -> None:
        self.closed = False
        self.pause = pause
        self.last = last

    async def calls(self) -> AsyncIterator[Call[Response]]:
        try:
            while True:
                yield call(self.last)
                await asyncio.sleep(self.pause)
        finally:
            await asyncio.sleep(0.001)  # it takes a moment
            self.closed = True


def test_success_closes_generator() -> None:
    """Its ``finally`` has run when ``gather`` returns."""
    source = Closing()
    run_virtual(gather(source.calls(), client=Lasting(), successes=3))
    assert source.closed


@both_fan_outs
def test_deadline_closes_generator_in_draw(fan_out: FanOut) -> None:
    """One that would have waited for ever; a failure without a key tells that there may have been more."""
    source = Closing(pause=1e9)
    outcomes = run_virtual(fan_out(source.calls(), client=Lasting(), timeout=3))
    assert source.closed
    assert [outcome.ok for outcome in outcomes] == [True, False]
    assert isinstance(outcomes[1], Failure)
    assert (type(outcomes[1].error), outcomes[1].key) == (DeadlineExceededError, None)
    assert "iterable" in str(outcomes[1].error)


@both_fan_outs
def test_deadline_closes_idle_generator(fan_out: FanOut) -> None:
    """One that had calls enough, while all places were taken."""
    source = Closing(last=9)
    outcomes = run_virtual(fan_out(source.calls(), client=Lasting(), concurrency=2, timeout=3))
    assert source.closed
    assert [isinstance(outcome, Failure) and outcome.kind for outcome in outcomes] == [ErrorKind.DEADLINE] * 3


@both_fan_outs
@pytest.mark.virtual_time
async def test_generator_at_same_deadline(server: FaultServer, fan_out: FanOut) -> None:
    """A generator that pages through a listing makes calls under the fan-out's deadline; its timeout is no bug."""
    server.route("GET", "/pages/2", faults.hang_before_headers())

    async with client(server) as api:

        async def pages() -> AsyncIterator[Call[Response]]:
            for number in range(3):
                await api.get(f"/pages/{number}")
                yield Call.get(f"/items/{number}", key=number)

        outcomes = await soon(fan_out(pages(), client=api, timeout=0.2))
        assert in_use(api) == 0
    assert [(outcome.key, outcome.ok) for outcome in outcomes] == [(0, True), (1, True), (None, False)]


@both_fan_outs
def test_generator_timeout_is_raised(fan_out: FanOut) -> None:
    """A TimeoutError before the deadline is the generator's own."""

    async def source() -> AsyncIterator[Call[Response]]:
        yield call()
        async with asyncio.timeout(1):
            await asyncio.sleep(9)

    with pytest.raises(TimeoutError):
        run_virtual(fan_out(source(), client=Lasting(), timeout=5))


@both_fan_outs
@pytest.mark.parametrize("is_async", [False, True])
def test_iterable_error_cancels_calls(fan_out: FanOut, is_async: bool) -> None:
    """A bug in the caller's generator is the caller's; what was in flight is cancelled and awaited before."""

    def source() -> Iterator[Call[Response]]:
        yield call(9)
        yield call(9)
        raise KeyError("a bug of the user's")

    async def async_source() -> AsyncIterator[Call[Response]]:
        for drawn in source():
            yield drawn

    async def scenario() -> int:
        runner = Lasting()
        with pytest.raises(KeyError):
            await fan_out(async_source() if is_async else source(), client=runner)
        assert len(asyncio.all_tasks()) == 1
        return runner.active

    assert run_virtual(scenario()) == 0


@both_fan_outs
def test_generator_cancelled_inside_is_reported(fan_out: FanOut) -> None:
    """Nobody cancelled the fan-out, so it does not end as if somebody had."""

    async def source() -> AsyncIterator[Call[Response]]:
        yield call()
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone

    with pytest.raises(CallCancelledError, match="iterable of calls was cancelled from within"):
        run_virtual(fan_out(source(), client=Lasting()))


def test_generator_swallowing_cancel_ends() -> None:
    """What it gives instead of ending is not made any more."""

    async def source() -> AsyncIterator[Call[Response]]:
        yield call()
        while True:
            try:
                await asyncio.sleep(1e9)
            except asyncio.CancelledError:
                yield call()

    result = run_virtual(gather(source(), client=Lasting(), timeout=3))
    assert [outcome.ok for outcome in result] == [True, False]
