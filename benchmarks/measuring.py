"""One workload through every variant, in short slices in turn, each between two slices of the base.

All in one process and on one event loop: separate processes differ by more than the variants do. Each slice begins with
nothing to collect, so that nobody pays for another's garbage, and everybody for his own.
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from benchmarks.results import Comparison, Row, beside, interval
from benchmarks.variants import BASES, Call, Variant
from benchmarks.workloads import Job, Workload, job

CALLS = 200
"""In a slice; twice the concurrency where that is more."""
LEAST_ROUNDS = 5
PATIENCE = 60.0
"""Seconds a slice may take; what takes longer hangs."""
DEAR = 3.0
"""Who costs more than this takes part in every fourth round only: such slices are long, and no close call."""


class Contender:
    """A variant at work, and what came of it."""

    def __init__(self, variant: Variant, task: Job, concurrency: int) -> None:
        self.variant = variant
        self.task = task
        self.concurrency = concurrency
        self.calls = max(CALLS, 2 * concurrency)
        self.times: list[float] = []
        self.ratios: list[float] = []
        self.fault: str | None = None

    async def open(self, stack: AsyncExitStack, *, check: bool = True) -> None:
        """Make the client, and a first slice of calls, which have to give what they shall."""
        self.call: Call = await stack.enter_async_context(self.variant.make(self.task))

        async def checked() -> None:
            given = await self.call()
            if check and given != self.task.answer:
                raise ValueError(f"a call gave {given!r:.60}")

        await self.slice(checked)

    async def slice(self, call: Callable[[], Awaitable[object]]) -> None:
        """Make the calls, so many at once."""
        left = self.calls

        async def worker() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await call()

        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            for _ in range(self.concurrency):
                group.create_task(worker())

    async def cpu(self) -> float:
        """CPU seconds of one slice, of all threads."""
        gc.collect()
        start = time.process_time()
        await self.slice(self.call)
        self.times.append(time.process_time() - start)
        return self.times[-1]

    def takes_part(self, number: int) -> bool:
        """Whether a slice is wanted in this round."""
        return self.fault is None and (number % 4 == 0 or not self.ratios or statistics.median(self.ratios) < DEAR)

    def fail(self, error: Exception) -> None:
        """Leave; the others go on."""
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        self.fault = f"{type(error).__name__}: {error}".splitlines()[0][:120]

    @property
    def micros(self) -> float:
        """CPU microseconds of a call."""
        return statistics.median(self.times) / self.calls * 1e6

    def row(self, rng: random.Random) -> Row:
        """What came of it."""
        if self.fault is not None:
            return Row(self.variant.name, fault=self.fault)
        low, high = interval(self.ratios, rng)
        return Row(self.variant.name, statistics.median(self.ratios), low, high, self.micros, len(self.ratios))


async def compare(workload: Workload, variants: Sequence[Variant], url: str, seconds: float) -> Comparison:
    """The CPU of each variant beside that of the base, in as many rounds as the time allows.

    Args:
        workload: What is asked.
        variants: Who asks; the base, and the base once more, come by themselves.
        url: Of the server.
        seconds: How long, warming up included; five rounds are taken in any case.
    """
    ends_at = time.monotonic() + seconds
    task, rng = job(workload, url), random.Random(1)
    usual = BASES[workload.kind]
    twin = usual._replace(name=f"{usual.name}, again")
    base, again, *others = (Contender(each, task, workload.concurrency) for each in (usual, twin, *variants))
    async with AsyncExitStack() as stack:
        for bare in (base, again):
            await bare.open(stack, check=not task.failing)  # without retries it has failures to show
        for other in others:
            try:
                await other.open(stack)
            except Exception as error:
                other.fail(error)
        gc.collect()
        gc.freeze()  # the modules of all of them together are no program's heap; collections should not scan them
        try:
            await take_turns(base, [again, *others], ends_at, rng)
        finally:
            gc.unfreeze()
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    rows = [each.row(rng) for each in (again, *others)]
    return Comparison(workload, loop, usual.name, base.micros, rows)


async def take_turns(base: Contender, others: Sequence[Contender], ends_at: float, rng: random.Random) -> None:
    """Rounds until the time is up; in each, everybody once, in an order of chance, and the base before and after."""
    number, before = 0, await base.cpu()
    while number < LEAST_ROUNDS or time.monotonic() < ends_at:
        taking_part = [each for each in others if each.takes_part(number)]
        rng.shuffle(taking_part)
        for other in taking_part:
            try:
                own = await other.cpu()
            except Exception as error:
                other.fail(error)
                continue
            after = await base.cpu()
            other.ratios.append(beside(before, own, after))
            before = after
        number += 1
