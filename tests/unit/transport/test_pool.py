"""The places for connections: who gets one, in what order, and that none is ever lost."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resilient_client._core.endpoint import Endpoint
from resilient_client._transport.pool import Pool

A = Endpoint("http", "a", 80)
B = Endpoint("http", "b", 80)
HOSTS = [A, B, Endpoint("http", "c", 80)]


async def turns(count: int = 3) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


def waiter(pool: Pool, endpoint: Endpoint = A) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(pool.acquire(endpoint))


@contextmanager
def cpu_below(seconds: float) -> Iterator[None]:
    """What happens inside takes no more CPU; the collector, which looks at all that the suite holds, is not asked."""
    gc.collect()
    gc.disable()
    began = time.process_time()
    try:
        yield
        assert time.process_time() - began < seconds
    finally:
        gc.enable()


async def test_free_slot_is_taken_at_once() -> None:
    """What is free is taken synchronously."""
    pool = Pool(2, 0)
    assert [pool.try_acquire(A) for _ in range(3)] == [True, True, False]


async def test_unlimited_pool_never_refuses() -> None:
    """Zero means no limit."""
    pool = Pool(0, 0)
    assert all(pool.try_acquire(A) for _ in range(1000))


async def test_waiters_are_served_in_fifo_order() -> None:
    """First come, first served."""
    pool = Pool(1, 0)
    assert pool.try_acquire(A)
    served: list[int] = []

    async def wait(number: int) -> None:
        await pool.acquire(A)
        served.append(number)
        pool.release(A)

    tasks = [asyncio.create_task(wait(number)) for number in range(5)]
    await turns()
    pool.release(A)
    await asyncio.gather(*tasks)
    assert served == [0, 1, 2, 3, 4]


async def test_newcomer_does_not_overtake() -> None:
    """A place that was handed to a waiter is taken before its task runs."""
    pool = Pool(1, 0)
    assert pool.try_acquire(A)
    first = waiter(pool)
    await turns()
    pool.release(A)
    assert not pool.try_acquire(A)
    await first


async def test_limit_of_one_host_spares_others() -> None:
    """A host at its own limit holds back nobody else, not even while callers wait for it."""
    pool = Pool(10, 1)
    assert pool.try_acquire(A)
    busy = waiter(pool, A)
    await turns()
    assert pool.try_acquire(B)
    pool.release(A)
    await busy


async def test_cancelled_waiter_leaves_queue() -> None:
    """Who gives up is not served any more, and blocks nobody behind."""
    pool = Pool(1, 0)
    assert pool.try_acquire(A)
    first, second = waiter(pool), waiter(pool)
    await turns()
    first.cancel()
    await turns()
    assert pool.waiting == 1
    pool.release(A)
    await second
    assert pool.in_use == 1


async def test_cancelled_waiter_passes_slot_on() -> None:
    """A place granted to a waiter that is cancelled before it ran goes to the next one."""
    pool = Pool(1, 0)
    assert pool.try_acquire(A)
    first, second = waiter(pool), waiter(pool)
    await turns()
    pool.release(A)
    first.cancel()
    await second
    assert (pool.in_use, pool.waiting) == (1, 0)


async def test_newcomer_behind_cancelled_waiter() -> None:
    """A waiter that is cancelled, but has not run since, does not make a newcomer wait for a free place for ever."""
    for pool in (Pool(1, 0), Pool(0, 1)):
        assert pool.try_acquire(A)
        gone = waiter(pool)
        await turns()
        gone.cancel()
        pool.release(A)
        if not pool.try_acquire(A):
            async with asyncio.timeout(5):
                await pool.acquire(A)
        assert (pool.in_use, pool.waiting) == (1, 0)


@pytest.mark.parametrize("limits", [(1, 0), (0, 1), (1, 1)], ids=["altogether", "per host", "both"])
@pytest.mark.one_loop
async def test_leaving_the_queue_is_linear(limits: tuple[int, int]) -> None:
    """20 000 waiters, cancelled newest first, are gone in well under a second: none walks past the others."""
    pool = Pool(*limits)
    assert pool.try_acquire(A)
    waiters = [waiter(pool) for _ in range(20_000)]
    await turns()
    assert pool.waiting == 20_000
    with cpu_below(1):
        for task in reversed(waiters):
            task.cancel()
        await asyncio.wait(waiters)
    assert (pool.in_use, pool.waiting) == (1, 0)


@pytest.mark.one_loop
async def test_other_host_does_not_walk_the_queue() -> None:
    """20 000 waiters for one host cost the callers of 1 000 others nothing."""
    pool = Pool(0, 1)
    assert pool.try_acquire(A)
    waiters = [waiter(pool) for _ in range(20_000)]
    await turns()
    with cpu_below(0.2):
        assert all(pool.try_acquire(Endpoint("http", f"host-{number}", 80)) for number in range(1000))
    for task in waiters:
        task.cancel()
    await asyncio.wait(waiters)


@pytest.mark.one_loop
async def test_many_hosts_are_served_in_order() -> None:
    """First come, first served holds across hosts, and a place costs no look at each of them."""
    pool = Pool(1, 1)
    assert pool.try_acquire(A)
    served: list[int] = []

    async def wait(number: int) -> None:
        host = Endpoint("http", f"host-{number % 5000}", 80)
        await pool.acquire(host)
        served.append(number)
        pool.release(host)

    tasks = [asyncio.create_task(wait(number)) for number in range(10_000)]
    await turns()
    with cpu_below(2):
        pool.release(A)
        await asyncio.wait(tasks)
    assert served == list(range(10_000))


async def crowd(limit: int) -> tuple[Pool, int, int]:
    """A thousand callers on ten places, a third cancelled at random; the pool, how many were served, and cut off."""
    rng = random.Random(7)
    pool = Pool(10, 0)

    async def call() -> None:
        if not pool.try_acquire(A):
            await pool.acquire(A)
        try:
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
        finally:
            pool.release(A)

    tasks = [asyncio.create_task(call()) for _ in range(limit)]
    doomed = rng.sample(tasks, limit // 3)
    for task in doomed:
        if rng.random() < 0.5:
            await asyncio.sleep(0)
        task.cancel()
    async with asyncio.timeout(5):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    return pool, results.count(None), sum(isinstance(result, asyncio.CancelledError) for result in results)


async def test_random_cancellation_loses_no_slot() -> None:
    """1 000 callers, 10 places, a third cancelled at random: nobody else waits in vain, and no place is lost."""
    pool, served, cancelled = await crowd(1000)
    assert served + cancelled == 1000
    assert served >= 1000 - 1000 // 3
    assert (pool.in_use, pool.waiting) == (0, 0)


class PoolMachine(RuleBasedStateMachine):
    """The pool against the simplest model there is: a list of holders and a list of waiters, scanned in order."""

    limit, limit_per_host = 3, 2

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.pool = Pool(self.limit, self.limit_per_host)
        self.held: list[Endpoint] = []
        self.queue: list[tuple[Endpoint, asyncio.Task[None]]] = []

    def fits(self, endpoint: Endpoint) -> bool:
        return len(self.held) < self.limit and self.held.count(endpoint) < self.limit_per_host

    def serve(self) -> None:
        """Grant, in the model, every place that a waiter can have."""
        for entry in list(self.queue):
            if self.fits(entry[0]):
                self.queue.remove(entry)
                self.held.append(entry[0])

    def run(self, step: Callable[[], None]) -> None:
        """Do something inside the loop and let its consequences happen."""

        async def inside() -> None:
            step()
            await turns(5)

        self.loop.run_until_complete(inside())

    @rule(endpoint=st.sampled_from(HOSTS))
    def arrive(self, endpoint: Endpoint) -> None:
        def step() -> None:
            if self.pool.try_acquire(endpoint):
                assert self.fits(endpoint)
                self.held.append(endpoint)
            else:
                assert not self.fits(endpoint)
                self.queue.append((endpoint, waiter(self.pool, endpoint)))

        self.run(step)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        endpoint = data.draw(st.sampled_from(self.held))
        self.held.remove(endpoint)
        self.run(lambda: self.pool.release(endpoint))
        self.serve()

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.queue))
        self.queue.remove(entry)
        self.run(lambda: entry[1].cancel() and None)

    @precondition(lambda self: self.held and self.queue)
    @rule(data=st.data(), cancel_first=st.booleans())
    def leave_and_give_up(self, data: st.DataObject, cancel_first: bool) -> None:
        """Both within one turn of the loop, in either order."""
        endpoint = data.draw(st.sampled_from(self.held))
        entry = data.draw(st.sampled_from(self.queue))
        self.held.remove(endpoint)
        self.queue.remove(entry)

        def step() -> None:
            steps: list[Callable[[], object]] = [lambda: self.pool.release(endpoint), entry[1].cancel]
            for one in reversed(steps) if cancel_first else steps:
                one()

        self.run(step)
        self.serve()

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Counts agree, and exactly the waiters that the model still has are waiting."""
        assert self.pool.in_use == len(self.held)
        assert self.pool.waiting == len(self.queue)
        assert not any(task.done() for _, task in self.queue)

    def teardown(self) -> None:
        for _, task in self.queue:
            self.run(lambda task=task: task.cancel() and None)
        self.loop.close()


class TestPoolMachine(PoolMachine.TestCase):  # type: ignore[name-defined,misc]  # hypothesis makes the class
    settings = settings(stateful_step_count=15)
