"""Negative controls of the sweep: each kind of fault is detected.

Faults that depend on the loop (timers, tasks, reported errors) run on both loops, the others in virtual time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar

import pytest
from tests.cancellation.support import Scenario, bare_world, pause

from resilient_client.testing._virtual_time import run_virtual
from resilient_client.testing.cancellation import CancellationError, World, sweep_cancellation


async def fault_of(world: World, *, grace: float = 0.2) -> str:
    """Return what a sweep reports about a faulty world."""
    with pytest.raises(CancellationError) as caught:
        await sweep_cancellation(world, grace=grace)
    return "; ".join([str(caught.value), *caught.value.__notes__])


def test_permit_lost_in_completing_tick_is_detected() -> None:
    """A permit granted to a waiter that is cancelled in the same tick, and never released, fails the world's check."""

    class Leaky:
        """A semaphore whose waiter does not release a permit that it was granted when it is cancelled."""

        free = 0

        def __init__(self) -> None:
            self.waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def release(self) -> None:
            if self.waiter.done():
                self.free += 1
            else:
                self.waiter.set_result(None)

    @asynccontextmanager
    async def world() -> AsyncIterator[Scenario]:
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

    with pytest.raises(AssertionError) as caught:
        run_virtual(sweep_cancellation(world))
    assert "in the tick in which it stops waiting" in caught.value.__notes__[0]


def test_permit_held_over_unguarded_wait_is_detected() -> None:
    """A permit acquired before a wait outside ``try`` fails the world's check."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Scenario]:
        permits = asyncio.Semaphore(1)

        async def scenario() -> None:
            await permits.acquire()
            await pause()  # cancelled here, it never reaches the try block
            try:
                await pause()
            finally:
                permits.release()

        yield scenario
        assert not permits.locked()

    with pytest.raises(AssertionError) as caught:
        run_virtual(sweep_cancellation(world))
    assert "interrupted at suspension 1, while it waits" in caught.value.__notes__[0]


def test_swallowed_cancellation_is_detected() -> None:
    """A scenario must not return a result when it is cancelled."""

    async def swallows() -> str:
        try:
            await pause()
        except asyncio.CancelledError:
            return "a default"
        return "a value"

    assert "the cancellation was lost in 'a default'" in run_virtual(fault_of(bare_world(swallows)))


def test_translated_cancellation_is_detected() -> None:
    """A scenario must not raise another exception when it is cancelled."""

    async def translates() -> None:
        try:
            await pause()
        except asyncio.CancelledError:
            raise TimeoutError("took too long") from None

    assert "the cancellation became TimeoutError" in run_virtual(fault_of(bare_world(translates)))


def test_retried_cancellation_is_detected() -> None:
    """A scenario must not go on after it was cancelled."""

    async def stubborn() -> None:
        left = 2
        while left:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                left -= 1

    assert "the scenario was still running 0.2 s later" in run_virtual(fault_of(bare_world(stubborn)))


def test_cancelled_probe_counted_as_failure_is_detected() -> None:
    """Code that counts everything but success as a failure also counts cancellations, which fails the check."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Scenario]:
        failures: list[str] = []

        async def scenario() -> None:
            success = False
            try:
                await pause()
                success = True
            finally:
                if not success:
                    failures.append("probe")

        yield scenario
        assert not failures

    with pytest.raises(AssertionError):
        run_virtual(sweep_cancellation(world))


async def test_leaked_timer_is_detected() -> None:
    """A timer that outlives the scenario is reported, on every kind of loop."""

    async def leaks() -> None:
        loop = asyncio.get_running_loop()
        handle = loop.call_later(60, print)
        try:
            await pause()
        except asyncio.CancelledError:
            loop.call_soon(handle.cancel)  # cancelled late, but not leaked
            loop.call_at(loop.time() + 60, print)
            raise
        handle.cancel()

    assert "a timer is left: print in 60 s" in await fault_of(bare_world(leaks))


async def test_timer_below_a_millisecond_is_accepted() -> None:
    """On uvloop ``call_later`` returns no timer for less than half a millisecond, so its handle has no time."""

    async def hurries() -> None:
        asyncio.get_running_loop().call_later(0.0001, str)
        await pause()

    assert len(await sweep_cancellation(bare_world(hurries))) == 2


async def test_leaked_timer_of_a_callback_is_detected() -> None:
    """A timer that is set in a callback belongs to the scenario that scheduled the callback."""

    async def leaks() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: loop.call_later(60, print))
        await pause()

    assert "a timer is left: print" in await fault_of(bare_world(leaks))


async def test_leaked_task_is_detected() -> None:
    """A task that outlives the scenario is reported with its name."""

    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    tasks: list[asyncio.Task[None]] = []

    async def leaks() -> None:
        tasks.append(asyncio.create_task(forever()))
        await pause()
        tasks[-1].cancel()

    assert f"a task is left: {forever.__qualname__}" in await fault_of(bare_world(leaks))
    for task in tasks:
        task.cancel()


async def test_leaked_task_in_empty_context_is_detected() -> None:
    """A task belongs to the scenario that started it, whichever context it runs in."""
    tasks: list[asyncio.Task[None]] = []

    async def leaks() -> None:
        tasks.append(asyncio.get_running_loop().create_task(asyncio.sleep(60), context=Context()))
        await pause()
        tasks[-1].cancel()

    assert "a task is left: sleep" in await fault_of(bare_world(leaks))
    for task in tasks:
        task.cancel()


def test_context_variable_left_set_is_detected() -> None:
    """A context variable that a cancelled scenario does not reset is reported."""
    mode: ContextVar[str] = ContextVar("mode")

    async def leaks() -> None:
        token = mode.set("busy")
        await pause()
        mode.reset(token)

    assert "a context variable is left changed: mode" in run_virtual(fault_of(bare_world(leaks)))


def test_uncancel_of_outside_cancellation_is_detected() -> None:
    """Code that calls ``uncancel()`` for a cancellation it did not request breaks the timeouts around it."""

    async def takes_back() -> None:
        try:
            await pause()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            raise

    assert "task.cancelling() is 0 instead of 1" in run_virtual(fault_of(bare_world(takes_back)))


async def test_unretrieved_exception_is_detected() -> None:
    """An exception that was never retrieved, which asyncio can only log, is reported."""

    async def fails() -> None:
        raise LookupError("unseen")

    async def leaks() -> None:
        task = asyncio.create_task(fails())
        await pause()
        await asyncio.wait((task,))
        task.exception()

    fault = await fault_of(bare_world(leaks))
    assert "the event loop reported" in fault
    assert "unseen" in fault
