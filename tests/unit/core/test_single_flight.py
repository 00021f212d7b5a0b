"""Single flight: shared work, its cancellation when the last waiter is gone, and its cleanup."""

import asyncio
import gc

import pytest

from resilient_client._core.errors import APIError
from resilient_client._core.single_flight import Flight, SingleFlight


async def test_outcome_is_shared_and_not_kept() -> None:
    """Tasks that wait at the same time share one run of the work. A later task starts another run."""
    flight: SingleFlight[int] = SingleFlight()
    runs = 0

    async def work() -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0)
        return runs

    assert await asyncio.gather(*(flight.join(work) for _ in range(10))) == [1] * 10
    assert await flight.join(work) == 2


async def test_unawaited_failure_is_not_reported() -> None:
    """If work without a waiter fails, asyncio does not report an unretrieved exception."""
    reports: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    flight: SingleFlight[None] = SingleFlight()

    async def work() -> None:
        raise OSError

    flight.start(work)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    assert reports == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_end_stops_unawaited_work_only() -> None:
    """``end`` cancels work without a waiter, and leaves work with a waiter alone."""
    flight: SingleFlight[str] = SingleFlight()
    gate = asyncio.Event()

    async def work() -> str:
        await gate.wait()
        return "done"

    flight.start(work)
    await flight.end()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    waiter = asyncio.create_task(flight.join(work))
    await asyncio.sleep(0)
    await flight.end()
    gate.set()
    assert await waiter == "done"


async def test_work_cancelled_outside_is_an_error() -> None:
    """If the work is cancelled from outside, the waiter gets an error and not a cancellation of its own."""
    flight: SingleFlight[None] = SingleFlight()

    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(APIError, match="cancelled from outside"):
        await flight.join(work)


def test_work_of_another_loop_is_left_alone() -> None:
    """Work in flight on another event loop cannot be awaited here, so it is started again."""
    flight: SingleFlight[str] = SingleFlight()

    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    async def work() -> str:
        return "done"

    async def begin() -> None:
        flight.start(hang)

    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(begin())
        second.run(flight.end())
        assert second.run(flight.join(work)) == "done"


async def test_ended_flight_cannot_be_joined() -> None:
    """A flight cannot be joined once its last waiter is gone or its work is finished."""
    gate = asyncio.Event()
    flight: Flight[bool] = Flight(gate.wait())
    assert flight.joinable
    waiter = asyncio.create_task(flight.wait())
    await asyncio.sleep(0)
    assert flight.waiters == 1
    waiter.cancel()
    await asyncio.sleep(0)
    assert not flight.task.done()
    assert not flight.joinable
    await asyncio.wait((waiter,))
    assert flight.task.cancelled()
    finished: Flight[bool] = Flight(gate.wait())
    gate.set()
    await finished.wait()
    assert not finished.joinable


async def test_flight_ended_twice_is_cancelled_once() -> None:
    """A second ``end`` does not cancel the work again while it cleans up."""
    cleaned = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned.set()

    flight = Flight(work())
    await asyncio.sleep(0)
    await asyncio.gather(flight.end(), flight.end())
    assert cleaned.is_set()
    assert flight.task.cancelling() == 1
