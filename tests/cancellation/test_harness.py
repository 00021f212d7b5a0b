"""The harness itself: it comes by every suspension, lets what is right pass, and catches every wrong of its kind."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar

import pytest

from resilient_client.testing._virtual_time import run_virtual
from resilient_client.testing.cancellation import CancellationError, SweepReport, World, sweep, sweep_cancellation

Step = Callable[[], Awaitable[object]]


def bare(scenario: Step) -> World:
    """A world without anything to check."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        yield scenario

    return world


def told(report: SweepReport) -> list[tuple[int, str, str]]:
    """Number, moment and innermost place of each suspension."""
    return [(at.number, at.moment.name, at.stack[-1]) for at in report.suspensions]


async def pause() -> None:
    await asyncio.sleep(0.01)


async def nothing() -> None:
    pass


# --- it sees everything ---


async def test_sweep_of_three_waits_strikes_each_of_them_at_both_moments() -> None:
    """Every suspension is struck twice: while it waits, and in the tick in which it stops."""

    async def thrice() -> None:
        await pause()
        await asyncio.sleep(0)
        await pause()

    report = await sweep_cancellation(bare(thrice))
    assert [(number, moment) for number, moment, _ in told(report)] == [
        (number, moment) for number in (1, 2, 3) for moment in ("PENDING", "COMPLETING")
    ]


async def test_sweep_of_a_scenario_that_never_waits_strikes_nothing() -> None:
    """Where nothing waits, nothing can be cancelled."""
    assert len(await sweep_cancellation(bare(nothing))) == 0


async def test_sweep_tells_the_names_of_what_waited() -> None:
    """The report names the coroutines that waited, so that a test can demand that it came by."""
    report = await sweep_cancellation(bare(pause))
    assert report.reached("pause")
    assert report.reached("sleep")
    assert not report.reached("nothing")
    assert "while it waits" in str(report)


async def test_sweep_counts_the_suspensions_of_tasks_the_scenario_started() -> None:
    """The scenario is cancelled at each suspension of its children, too."""

    async def family() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(pause())
            group.create_task(pause())

    report = await sweep_cancellation(bare(family))
    assert [place for _, _, place in told(report)].count("sleep") == 4


async def test_sweep_in_the_completing_tick_withholds_a_result_that_is_there() -> None:
    """The second moment is the one where the awaited thing has happened and ``await`` raises all the same."""
    granted: list[bool] = []

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        future = asyncio.get_running_loop().create_future()

        async def scenario() -> None:
            asyncio.get_running_loop().call_soon(lambda: future.done() or future.set_result(None))
            try:
                await future
            except asyncio.CancelledError:
                granted.append(not future.cancelled())
                raise

        yield scenario

    await sweep_cancellation(world)
    assert granted == [False, True]


def test_sweep_in_virtual_time_repeats_itself() -> None:
    """On the virtual loop two sweeps come by the same places, and hours cost nothing."""

    async def hours() -> None:
        for _ in range(3):
            await asyncio.sleep(3_600)

    once, again = (run_virtual(sweep_cancellation(bare(hours))) for _ in range(2))
    assert str(once) == str(again)
    assert len(once) == 6


async def test_sweep_leaves_the_loop_as_it_found_it() -> None:
    """Afterwards the loop has its own methods, task factory and exception handler again."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory(), loop.get_exception_handler(), set(vars(loop))
    await sweep_cancellation(bare(pause))
    assert (loop.get_task_factory(), loop.get_exception_handler(), set(vars(loop))) == before


async def test_sweep_of_a_scenario_that_fails_by_itself_raises_its_error() -> None:
    """Left alone, a scenario must come to a good end; its own error is not hidden."""

    async def fails() -> None:
        await pause()
        raise LookupError("by itself")

    with pytest.raises(LookupError, match="by itself") as caught:
        await sweep_cancellation(bare(fails))
    assert caught.value.__notes__ == ["the scenario was left alone"]


async def test_sweep_of_an_endless_scenario_ends_at_its_limit() -> None:
    """A scenario that never stops waiting is told, instead of swept for ever."""

    async def endless() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(CancellationError, match="more than limit=20 times"):
        await sweep_cancellation(bare(endless), limit=20)


async def test_sweep_with_a_strike_of_its_own_asks_the_given_verdict() -> None:
    """Any other blow can be swept; what it must lead to is the caller's verdict."""
    struck: list[str] = []
    report = await sweep(bare(pause), strike=lambda task: struck.append(task.get_name()), verdict=lambda _: "")
    assert len(struck) == len(report) == 2
    with pytest.raises(CancellationError, match="so it must not be"):
        await sweep(bare(pause), strike=lambda _: None, verdict=lambda _: "so it must not be")


# --- and catches what is wrong: the negative controls ---


async def caught(world: World, *, patience: float = 0.2) -> str:
    """What the sweep says of a world that is wrong."""
    with pytest.raises(CancellationError) as wrong:
        await sweep_cancellation(world, patience=patience)
    return "; ".join([str(wrong.value), *wrong.value.__notes__])


async def test_permit_lost_in_the_completing_tick_is_caught_by_the_worlds_check() -> None:
    """A permit granted to a waiter that is cancelled in the same tick, and never given back, is noticed there."""

    class Leaky:
        """A semaphore whose waiter forgets that it may have been granted the permit when it is cancelled."""

        free = 0

        def __init__(self) -> None:
            self.waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def release(self) -> None:
            if self.waiter.done():
                self.free += 1
            else:
                self.waiter.set_result(None)

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        permits = Leaky()
        asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(permits.release))

        async def scenario() -> None:
            await permits.waiter
            permits.free += 1

        yield scenario
        async with asyncio.timeout(0.2):
            while not permits.waiter.done():
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert permits.free == 1

    with pytest.raises(AssertionError) as lost:
        await sweep_cancellation(world)
    assert "in the tick in which it stops waiting" in lost.value.__notes__[0]


async def test_permit_held_over_an_unguarded_wait_is_caught_by_the_worlds_check() -> None:
    """A permit acquired before a wait outside ``try`` is noticed."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        permits = asyncio.Semaphore(1)

        async def scenario() -> None:
            await permits.acquire()
            await pause()  # cancelled here, it never comes to the try
            try:
                await pause()
            finally:
                permits.release()

        yield scenario
        assert not permits.locked()

    with pytest.raises(AssertionError) as lost:
        await sweep_cancellation(world)
    assert "suspension 1, while it waits" in lost.value.__notes__[0]


async def test_swallowed_cancellation_is_caught() -> None:
    """A scenario that returns instead of being cancelled is noticed."""

    async def swallows() -> str:
        try:
            await pause()
        except asyncio.CancelledError:
            return "a default"
        return "a value"

    assert "the cancellation was lost in 'a default'" in await caught(bare(swallows))


async def test_cancellation_turned_into_a_failure_is_caught() -> None:
    """A scenario that raises something else instead is noticed."""

    async def translates() -> None:
        try:
            await pause()
        except asyncio.CancelledError:
            raise TimeoutError("took too long") from None

    assert "the cancellation became TimeoutError" in await caught(bare(translates))


async def test_cancellation_that_is_retried_is_caught() -> None:
    """A scenario that goes on after the cancellation is noticed even if it never ends."""

    async def stubborn() -> None:
        left = 2
        while left:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                left -= 1

    assert "the scenario goes on 0.2 s later" in await caught(bare(stubborn))


async def test_cancelled_probe_counted_as_a_failure_is_caught_by_the_worlds_check() -> None:
    """Whoever counts everything but success as a failure counts cancellations, and is noticed."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        failures: list[str] = []

        async def scenario() -> None:
            good = False
            try:
                await pause()
                good = True
            finally:
                if not good:
                    failures.append("probe")

        yield scenario
        assert not failures

    with pytest.raises(AssertionError):
        await sweep_cancellation(world)


async def test_leaked_timer_is_caught() -> None:
    """A timer that outlives the scenario is noticed, on every kind of loop."""

    async def leaks() -> None:
        loop = asyncio.get_running_loop()
        handle = loop.call_later(60, print)
        try:
            await pause()
        except asyncio.CancelledError:
            loop.call_soon(handle.cancel)  # late, but gone: no leak
            loop.call_at(loop.time() + 60, print)
            raise
        handle.cancel()

    assert re.search(r"a timer is left: print in (60|59\.\d) s", await caught(bare(leaks)))


async def test_timer_for_next_to_no_time_is_no_trouble() -> None:
    """On uvloop there are no timers below half a millisecond: what it gives knows no time."""

    async def hurries() -> None:
        asyncio.get_running_loop().call_later(0.0001, str)
        await pause()

    assert len(await sweep_cancellation(bare(hurries))) == 2


async def test_leaked_timer_of_a_callback_is_caught() -> None:
    """A timer that re-arms itself from its own callback belongs to the scenario that set it first."""

    async def leaks() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: loop.call_later(60, print))
        await pause()

    assert "a timer is left: print" in await caught(bare(leaks))


async def test_leaked_task_is_caught() -> None:
    """A task that outlives the scenario is noticed and named."""

    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    tasks: list[asyncio.Task[None]] = []

    async def leaks() -> None:
        tasks.append(asyncio.create_task(forever()))
        await pause()
        tasks[-1].cancel()

    assert f"a task is left: {forever.__qualname__}" in await caught(bare(leaks))
    for task in tasks:
        task.cancel()


async def test_leaked_task_in_an_empty_context_is_caught() -> None:
    """A task is the scenario's by who started it, whatever context it runs in."""
    from contextvars import Context

    tasks: list[asyncio.Task[None]] = []

    async def leaks() -> None:
        tasks.append(asyncio.get_running_loop().create_task(asyncio.sleep(60), context=Context()))
        await pause()
        tasks[-1].cancel()

    assert "a task is left: sleep" in await caught(bare(leaks))
    for task in tasks:
        task.cancel()


async def test_context_variable_that_stays_set_is_caught() -> None:
    """A context variable that a cancellation leaves set is noticed."""
    mood: ContextVar[str] = ContextVar("mood")

    async def leaks() -> None:
        token = mood.set("busy")
        await pause()
        mood.reset(token)

    assert "a context variable is left changed: mood" in await caught(bare(leaks))


async def test_uncancelling_somebody_elses_cancellation_is_caught() -> None:
    """Whoever takes back a cancellation that was not his own breaks the timeouts around him, and is noticed."""

    async def takes_back() -> None:
        try:
            await pause()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            raise

    assert "task.cancelling() is 0 instead of 1" in await caught(bare(takes_back))


async def test_failure_that_nobody_retrieves_is_caught() -> None:
    """What asyncio could only log, because nobody looked at it, is noticed."""

    async def fails() -> None:
        raise LookupError("unseen")

    async def leaks() -> None:
        task = asyncio.create_task(fails())
        await pause()
        await asyncio.wait((task,))
        task.exception()

    report = await caught(bare(leaks))
    assert "the event loop complained" in report
    assert "unseen" in report
