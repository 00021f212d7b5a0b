import asyncio
import gc

import pytest

from resilient_client._core.errors import APIError
from resilient_client._core.single_flight import Flight, SingleFlight


async def test_outcome_is_shared_and_not_kept() -> None:
    """Those who wait together share one piece of work; whoever comes later starts another."""
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
    """Work that was only started fails in silence: asyncio has nothing to complain about."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    flight: SingleFlight[None] = SingleFlight()

    async def work() -> None:
        raise OSError

    flight.start(work)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    assert complaints == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_end_stops_unawaited_work_only() -> None:
    """Ending never takes the work away from somebody who waits."""
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
    """A waiter that nobody cancelled must not believe that it was."""
    flight: SingleFlight[None] = SingleFlight()

    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(APIError, match="cancelled from outside"):
        await flight.join(work)


def test_work_of_another_loop_is_left_alone() -> None:
    """What another event loop has under way cannot be waited for here, so the work is started anew."""
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
    """Whoever finds a flight that everybody has left, or that has landed, must start another."""
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
    landed: Flight[bool] = Flight(gate.wait())
    gate.set()
    await landed.wait()
    assert not landed.joinable


async def test_flight_ended_twice_is_cancelled_once() -> None:
    """Work that cleans up after its cancellation is not disturbed by a second one."""
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
