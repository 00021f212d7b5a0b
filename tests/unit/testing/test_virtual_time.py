"""The virtual loop: waiting takes no real time, and a deadlock is reported at once."""

import asyncio
import math
import threading

import pytest

from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._virtual_time import DeadlockError, VirtualTimeLoop, run_virtual
from resilient_client.testing.faults import reply


def now() -> float:
    return asyncio.get_running_loop().time()


def test_sleep_of_an_hour_moves_the_clock_by_an_hour() -> None:
    """A sleep ends at its exact virtual time."""

    async def main() -> float:
        await asyncio.sleep(3600)
        return now()

    assert run_virtual(main()) == 3600.0


def test_clock_begins_at_start() -> None:
    """`start` is the initial time of the loop."""

    async def main() -> float:
        return now()

    assert run_virtual(main(), start=1000.0) == 1000.0


def test_clock_work_without_waiting_stands_still() -> None:
    """Iterations of the loop take no virtual time."""

    async def main() -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return now()

    assert run_virtual(main()) == 0.0


def test_timers_of_many_tasks_run_in_order_of_time() -> None:
    """Timers fire in the order of their times, not of their creation."""

    async def main() -> list[tuple[float, int]]:
        seen: list[tuple[float, int]] = []

        async def sleeper(number: int, delay: float) -> None:
            await asyncio.sleep(delay)
            seen.append((now(), number))

        await asyncio.gather(*(sleeper(number, delay) for number, delay in enumerate([5, 1, 3, 0.5])))
        return seen

    assert run_virtual(main()) == [(0.5, 3), (1, 1), (3, 2), (5, 0)]


def test_program_run_twice_gives_the_same_events() -> None:
    """The order of events, ties included, depends on the program alone."""

    async def main() -> list[tuple[float, int]]:
        seen: list[tuple[float, int]] = []

        async def ticker(number: int) -> None:
            for _ in range(20):
                await asyncio.sleep(1 + number % 3)
                seen.append((now(), number))

        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(ticker(number))
        return seen

    assert run_virtual(main()) == run_virtual(main())


def test_timeout_of_a_waiting_task_ends_at_its_deadline() -> None:
    """`asyncio.timeout` uses the virtual clock."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return now()

    assert run_virtual(main()) == 30.0


@pytest.mark.parametrize("start", [0.0, 1e-3, 1e3, 2.0**24, 1e9, 1e12])
def test_timer_far_from_zero_fires_and_never_early(start: float) -> None:
    """At times where a float cannot represent a nanosecond, timers still fire, and not early."""

    async def main() -> None:
        for delay in (0.1, 0.3, 1.7, 86_400.0 * 3, 1e-9):
            due = now() + delay
            await asyncio.sleep(delay)
            assert due <= now() <= math.nextafter(due, math.inf)
        called = asyncio.Event()
        asyncio.get_running_loop().call_later(0, called.set)
        await called.wait()

    run_virtual(main(), start=start)


def test_deadlock_raises_and_names_the_waiting_tasks() -> None:
    """When nothing can wake any task, the error names the waiting tasks and where they wait."""

    async def waits_forever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.create_task(waits_forever(), name="orphan")

    with pytest.raises(DeadlockError, match=r"no timer is set: .*main, line \d+, orphan in .*waits_forever"):
        run_virtual(main())


def test_sleep_forever_with_nothing_else_is_a_deadlock() -> None:
    """A timer at infinity does not prevent a deadlock."""
    with pytest.raises(DeadlockError):
        run_virtual(asyncio.sleep(math.inf))


def test_timer_at_infinity_can_be_cancelled() -> None:
    """A timer at infinity returns a handle that can be cancelled."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(math.inf)
        return now()

    assert run_virtual(main()) == 1.0


def test_thread_before_next_timer_takes_no_time() -> None:
    """While a thread works, the loop waits in real time instead of jumping."""

    async def main() -> tuple[str, float]:
        started = threading.Event()
        worker = asyncio.create_task(asyncio.to_thread(lambda: started.wait() and "done"))
        timer = asyncio.create_task(asyncio.sleep(3600))
        asyncio.get_running_loop().call_soon(started.set)
        return str(await worker), now() + 0 * timer.cancel()

    assert run_virtual(main()) == ("done", 0.0)


def test_thread_after_next_timer_times_out() -> None:
    """A thread that hangs does not stop the virtual clock."""

    async def main() -> float:
        finish = threading.Event()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.to_thread(finish.wait)
        finish.set()
        return now()

    assert run_virtual(main()) == 0.01


def test_unknown_thread_wakes_the_loop() -> None:
    """A thread that the loop did not start can wake it with `call_soon_threadsafe`."""

    async def main() -> str:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(answer.set_result, "hello"))
        loop.call_soon(thread.start)
        try:
            return await answer
        finally:
            thread.join()

    assert run_virtual(main()) == "hello"


def test_socket_is_read_before_the_clock_jumps() -> None:
    """Loopback sockets work, and a reply on its way arrives before the timeout fires."""

    async def main() -> tuple[bytes, float]:
        async with FaultServer() as server, asyncio.timeout(60):
            server.script(reply(delay=5, keep_alive=False))
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return line, now()

    assert run_virtual(main()) == (b"HTTP/1.1 200 OK\r\n", 5.0)


def test_loop_is_marked_as_virtual() -> None:
    """The library recognises a virtual loop by its attribute, without importing this module."""
    assert VirtualTimeLoop.virtual is True


def test_run_from_a_running_loop_is_rejected() -> None:
    """Like `asyncio.run`, `run_virtual` does not nest."""

    async def inner() -> None:
        raise AssertionError("never runs")

    async def main() -> None:
        coroutine = inner()
        with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
            run_virtual(coroutine)
        coroutine.close()

    run_virtual(main())


def test_timers_counts_pending_timers() -> None:
    """`timers` counts timers that are neither cancelled nor at infinity."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        timers = [loop.call_later(delay, print) for delay in (1, 2, math.inf)]
        counts = [loop.timers]
        for timer in timers:
            timer.cancel()
            counts.append(loop.timers)
        return counts

    assert run_virtual(main()) == [2, 1, 0, 0]
