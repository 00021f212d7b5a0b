"""Alarms and the one timer behind them, attacked in virtual time."""

from __future__ import annotations

import asyncio
import math
from random import Random

import pytest

from resilient_client._core.deadline import RESOLUTION, SharedTimer, TaskTimeout
from resilient_client.testing._virtual_time import run_virtual


def state(timer: SharedTimer) -> tuple[int, int, int, float]:
    return timer.active, len(timer.pending), len(timer._heap), timer.armed_for


async def rings(timeout: TaskTimeout) -> tuple[bool, float]:
    """Sleep until cancelled: whether it was the alarm's doing, and when."""
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        return timeout.uncancel(), asyncio.get_running_loop().time()
    raise AssertionError("the alarm never rang")


@pytest.mark.parametrize("seed", range(5))
def test_random_timeouts_fire_once(seed: int) -> None:
    """Two hundred tasks with alarms one after the other: each rings exactly once, and at the right time."""

    async def one(timer: SharedTimer, rng: Random) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(rng.randint(1, 5)):
            timeout = TaskTimeout(timer, loop.time() + rng.choice([0.01, 0.5, 1.0, 2, 5]))
            try:
                if rng.random() < 0.3:
                    await asyncio.sleep(0.005)  # done before its end
                else:
                    assert await rings(timeout) == (True, pytest.approx(timeout.ends_at, abs=2 * RESOLUTION))
            finally:
                timeout.close()

    async def main() -> tuple[int, int, int, float]:
        timer = SharedTimer(asyncio.get_running_loop())
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(one(timer, Random(seed * 1000 + number)))
        return state(timer)

    assert run_virtual(main()) == (0, 0, 0, math.inf)


def test_closed_timeout_never_fires() -> None:
    """Neither an entry nor the loop's timer outlives the last alarm."""

    async def main() -> tuple[int, int, int, float]:
        timer = SharedTimer(asyncio.get_running_loop())
        TaskTimeout(timer, 1.0).close()
        await asyncio.sleep(2)
        return state(timer)

    assert run_virtual(main()) == (0, 0, 0, math.inf)


@pytest.mark.parametrize("seed", range(5))
def test_postponed_timeouts_fire_once(seed: int) -> None:
    """Wherever an alarm stands when it gets more time, it rings at its last end, and one without end never does."""

    async def one(timer: SharedTimer, rng: Random) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        timeout = TaskTimeout(timer, start + 1.0)
        for _ in range(rng.randint(1, 4)):
            seconds = rng.choice([0.5, 1.0, 1.5, 3.0, math.inf])  # the shorter ones change nothing
            loop.call_at(start + rng.uniform(0, 0.99), timeout.postpone, start + seconds)
        loop.call_at(start + 10, lambda: None if timeout.ends_at < math.inf else timeout.fire())
        try:
            uncancel, at = await rings(timeout)
        finally:
            timeout.close()
        assert uncancel
        assert at == pytest.approx(min(timeout.ends_at, start + 10), abs=2 * RESOLUTION)

    async def main() -> tuple[int, int, int, float]:
        timer = SharedTimer(asyncio.get_running_loop())
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(one(timer, Random(seed * 1000 + number)))
        return state(timer)

    assert run_virtual(main()) == (0, 0, 0, math.inf)


def test_timeout_keeps_callers_cancellation() -> None:
    """Both at once: what comes out is the caller's cancellation."""

    async def victim(timer: SharedTimer) -> bool:
        timeout = TaskTimeout(timer, 1.0)
        try:
            return (await rings(timeout))[0]
        finally:
            timeout.close()

    async def main() -> tuple[bool, int]:
        timer = SharedTimer(asyncio.get_running_loop())
        task = asyncio.create_task(victim(timer))
        asyncio.get_running_loop().call_at(1.0, task.cancel)
        return await task, task.cancelling()

    assert run_virtual(main()) == (False, 1)


def test_timeouts_share_one_loop_timer() -> None:
    """A thousand alarms of the same length set the loop's timer once."""
    calls = 0

    async def main() -> None:
        nonlocal calls
        loop = asyncio.get_running_loop()
        original = loop.call_at

        def counting(when: float, callback: object, *args: object, **options: object) -> asyncio.TimerHandle:
            nonlocal calls
            calls += 1
            return original(when, callback, *args, **options)  # type: ignore[arg-type]  # passed through

        timer = SharedTimer(loop)
        loop.call_at = counting  # type: ignore[method-assign]  # counted, not replaced
        first = TaskTimeout(timer, 30.0)
        for _ in range(1000):
            TaskTimeout(timer, 30.0).close()
        first.close()
        del loop.call_at

    run_virtual(main())
    assert calls == 1
