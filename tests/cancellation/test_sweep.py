"""The sweep itself: it interrupts at every suspension, reports them and restores the loop."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.cancellation.support import Scenario, bare_world, pause

from resilient_client.testing._virtual_time import run_virtual
from resilient_client.testing.cancellation import CancellationError, Moment, SweepReport, sweep, sweep_cancellation


def summary(report: SweepReport) -> list[tuple[int, str, str]]:
    """Return number, moment and innermost coroutine of each suspension."""
    return [(at.number, at.moment.name, at.stack[-1]) for at in report.suspensions]


async def nothing() -> None:
    pass


async def left() -> None:
    await asyncio.sleep(0)


async def right() -> None:
    await asyncio.sleep(0)


async def test_sweep_interrupts_each_wait_at_both_moments() -> None:
    """Every suspension is interrupted twice: while it waits, and in the tick in which it stops waiting."""

    async def thrice() -> None:
        await pause()
        await asyncio.sleep(0)
        await pause()

    report = await sweep_cancellation(bare_world(thrice))
    assert [(number, moment) for number, moment, _ in summary(report)] == [
        (number, moment) for number in (1, 2, 3) for moment in ("PENDING", "COMPLETING")
    ]


def test_sweep_without_waits_interrupts_nothing() -> None:
    """A scenario that never waits cannot be cancelled."""
    assert len(run_virtual(sweep_cancellation(bare_world(nothing)))) == 0


def test_sweep_report_names_the_waiting_coroutines() -> None:
    """A test can check with the report that a coroutine was interrupted."""
    report = run_virtual(sweep_cancellation(bare_world(pause)))
    assert report.reached("pause")
    assert report.reached("sleep")
    assert not report.reached("nothing")
    assert "while it waits" in str(report)


async def test_sweep_includes_child_tasks() -> None:
    """The scenario is cancelled at each suspension of the tasks that it started, too."""

    async def family() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(pause())
            group.create_task(pause())

    report = await sweep_cancellation(bare_world(family))
    assert [innermost for _, _, innermost in summary(report)].count("sleep") == 4


async def test_sweep_reaches_waits_whose_order_varies() -> None:
    """If two waits change places between runs, as connections do on real sockets, both are interrupted."""
    runs = itertools.count()

    @asynccontextmanager
    async def world() -> AsyncIterator[Scenario]:
        order = (left, right) if next(runs) < len(Moment) else (right, left)

        async def scenario() -> None:
            for wait in order:
                await wait()

        yield scenario

    report = await sweep_cancellation(world)
    assert report.reached("left")
    assert report.reached("right")


async def test_sweep_in_completing_tick_withholds_the_result() -> None:
    """At the second moment the awaited operation has completed, but ``await`` raises."""
    completed: list[bool] = []

    @asynccontextmanager
    async def world() -> AsyncIterator[Scenario]:
        future = asyncio.get_running_loop().create_future()

        async def scenario() -> None:
            asyncio.get_running_loop().call_soon(lambda: future.done() or future.set_result(None))
            try:
                await future
            except asyncio.CancelledError:
                completed.append(not future.cancelled())
                raise

        yield scenario

    await sweep_cancellation(world)
    assert completed == [False, True]


def test_sweep_in_virtual_time_is_repeatable() -> None:
    """On the virtual loop two sweeps interrupt at the same suspensions, and hours take no real time."""

    async def hours() -> None:
        for _ in range(3):
            await asyncio.sleep(3_600)

    first, second = (run_virtual(sweep_cancellation(bare_world(hours))) for _ in range(2))
    assert str(first) == str(second)
    assert len(first) == 6


async def test_sweep_restores_the_loop() -> None:
    """After a sweep the loop has its own methods, task factory and exception handler again."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory(), loop.get_exception_handler(), set(vars(loop))
    await sweep_cancellation(bare_world(pause))
    assert (loop.get_task_factory(), loop.get_exception_handler(), set(vars(loop))) == before


def test_sweep_of_failing_scenario_raises_its_error() -> None:
    """A scenario must succeed when it is not interrupted. Its own error is not hidden."""

    async def fails() -> None:
        await pause()
        raise LookupError("by itself")

    with pytest.raises(LookupError, match="by itself") as caught:
        run_virtual(sweep_cancellation(bare_world(fails)))
    assert caught.value.__notes__ == ["the scenario was not interrupted"]


def test_sweep_of_endless_scenario_stops_at_limit() -> None:
    """A scenario that never stops waiting is reported instead of being run for ever."""

    async def endless() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(CancellationError, match="more than limit=20 times"):
        run_virtual(sweep_cancellation(bare_world(endless), limit=20))


def test_sweep_with_own_injection_uses_its_verdict() -> None:
    """Any interruption can be injected. The caller's verdict decides what it must lead to."""
    injected: list[str] = []
    world = bare_world(pause)
    report = run_virtual(sweep(world, inject=lambda task: injected.append(task.get_name()), verdict=lambda _: ""))
    assert len(injected) == len(report) == 2
    with pytest.raises(CancellationError, match="not allowed"):
        run_virtual(sweep(world, inject=lambda _: None, verdict=lambda _: "not allowed"))
