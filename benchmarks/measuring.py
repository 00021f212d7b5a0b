"""Measure one workload with every variant: short slices in turn, each between two slices of the base.

All variants run in one process and on one event loop, because separate processes differ by more than the variants do.
Garbage is collected before each slice, so that each variant pays only for its own garbage.
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from benchmarks.results import Comparison, Row, interval, ratio_to_neighbours
from benchmarks.server import Server
from benchmarks.variants import BASES, Call, Variant
from benchmarks.workloads import Job, Workload, job

MIN_ROUNDS = 5
SLICE_TIMEOUT = 60.0
"""Seconds after which a slice is considered to hang."""
EXPENSIVE = 3.0
"""A variant with a higher ratio is sampled only in every fourth round: its slices are long, and its result is clear."""


class Contender:
    """A variant with its open client, and its samples."""

    def __init__(self, variant: Variant, task: Job, workload: Workload) -> None:
        self.variant = variant
        self.task = task
        self.concurrency = workload.concurrency
        self.calls = max(workload.calls, 2 * workload.concurrency)
        self.times: list[float] = []
        self.ratios: list[float] = []
        self.fault: str | None = None

    async def open(self, stack: AsyncExitStack, *, check: bool = True) -> None:
        """Open the client, and run a first slice in which the result of every call is checked."""
        self.call: Call = await stack.enter_async_context(self.variant.make(self.task))

        async def checked() -> None:
            result = await self.call()
            if check and result != self.task.answer:
                raise ValueError(f"a call returned {result!r:.60}")

        await self.slice(checked)

    async def slice(self, call: Callable[[], Awaitable[object]]) -> None:
        """Run the calls of one slice, ``concurrency`` at a time."""
        left = self.calls

        async def worker() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await call()

        async with asyncio.timeout(SLICE_TIMEOUT), asyncio.TaskGroup() as group:
            for _ in range(self.concurrency):
                group.create_task(worker())

    async def cpu(self) -> float:
        """Run one slice, and return its CPU seconds over all threads."""
        gc.collect()
        start = time.process_time()
        await self.slice(self.call)
        self.times.append(time.process_time() - start)
        return self.times[-1]

    def is_sampled_in(self, number: int) -> bool:
        """Return whether this round has a slice of the variant."""
        return self.fault is None and (number % 4 == 0 or not self.ratios or statistics.median(self.ratios) < EXPENSIVE)

    def fail(self, error: Exception) -> None:
        """Exclude the variant after an error; the others continue."""
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        self.fault = f"{type(error).__name__}: {error}".splitlines()[0][:120]

    @property
    def micros(self) -> float:
        """CPU microseconds per call."""
        return statistics.median(self.times) / self.calls * 1e6

    def row(self, rng: random.Random) -> Row:
        """Return the row of the result."""
        if self.fault is not None:
            return Row(self.variant.name, fault=self.fault)
        low, high = interval(self.ratios, rng)
        return Row(self.variant.name, statistics.median(self.ratios), low, high, self.micros, len(self.ratios))


async def compare(workload: Workload, variants: Sequence[Variant], server: Server, seconds: float) -> Comparison:
    """Measure the CPU of each variant as a ratio to the base, in as many rounds as the time allows.

    Args:
        workload: The workload.
        variants: The variants. The base, and the base a second time, are added.
        server: The server.
        seconds: The duration, warm-up included. There are at least five rounds.
    """
    ends_at = time.monotonic() + seconds
    task, rng = job(workload, server), random.Random(1)
    bare_variant = BASES[workload.kind]
    repeated = bare_variant._replace(name=f"{bare_variant.name}, again")
    base, again, *others = (Contender(each, task, workload) for each in (bare_variant, repeated, *variants))
    async with AsyncExitStack() as stack:
        for each in (base, again):
            await each.open(stack, check=not task.failing)  # bare aiohttp does not retry, so its calls may fail
        for other in others:
            try:
                await other.open(stack)
            except Exception as error:
                other.fail(error)
        gc.collect()
        gc.freeze()  # a collection should not scan the modules of all libraries: no real program imports them all
        try:
            await run_rounds(base, [again, *others], ends_at, rng)
        finally:
            gc.unfreeze()
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    rows = [each.row(rng) for each in (again, *others)]
    return Comparison(workload, loop, bare_variant.name, base.micros, rows)


async def run_rounds(base: Contender, others: Sequence[Contender], ends_at: float, rng: random.Random) -> None:
    """Run rounds until the time is up: all variants in random order, a slice of the base before and after each."""
    number, before = 0, await base.cpu()
    while number < MIN_ROUNDS or time.monotonic() < ends_at:
        sampled = [each for each in others if each.is_sampled_in(number)]
        rng.shuffle(sampled)
        for other in sampled:
            try:
                own_cpu = await other.cpu()
            except Exception as error:
                other.fail(error)
                continue
            after = await base.cpu()
            other.ratios.append(ratio_to_neighbours(before, own_cpu, after))
            before = after
        number += 1
