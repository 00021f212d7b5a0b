"""What a fan-out costs: memory above the start, and CPU beside a pool of workers of one's own.

The server of the package, on a core of its own, answers 1 KB of JSON over loopback; 100 calls are under way at once.
Memory is that of a fresh process each: the peak of its resident set and of what Python allocated (two runs: tracing is
slow). CPU is measured as the ratio of neighbouring slices in one process and on one loop, so that drifts of the machine
cancel out; ``bare again`` shows what the method can resolve.

    python -m benchmarks.fanout [--calls N] [--slices N] [--loop uvloop|asyncio] [--only cpu|memory]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import platform
import random
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from benchmarks.machine import cores, pin, run
from benchmarks.payloads import BODIES
from benchmarks.results import beside, interval
from benchmarks.server import serving
from resilient_client import APIClient, Call, Response

CONCURRENT = 100
CALLS_A_SLICE = 1_000
MOST_HELD = 100_000  # calls whose results are held, or whose memory is traced
PATH = "/1k"  # of the server of the package: an order in 1 KB of JSON


# -- the ways to make many calls ---------------------------------------------------------------------------------------


def calls(count: int) -> Iterator[Call[Response]]:
    """One after the other, never all at once."""
    return (Call.get(PATH) for _ in range(count))


async def pool(make: Callable[[], Awaitable[object]], count: int) -> None:
    """What people write themselves: workers that share what is left to do."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await make()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENT):
            group.create_task(worker())


def bare(session: aiohttp.ClientSession, url: str) -> Callable[[int], Awaitable[None]]:
    """That pool on bare aiohttp."""

    async def get() -> None:
        async with session.get(url) as reply:
            await reply.read()

    return lambda count: pool(get, count)


def own_pool(api: APIClient) -> Callable[[int], Awaitable[None]]:
    """That pool on our client: what a call costs without a fan-out."""
    return lambda count: pool(lambda: api.get(PATH), count)


def streamed(api: APIClient) -> Callable[[int], Awaitable[None]]:
    """``as_completed``."""

    async def fan_out(count: int) -> None:
        async with api.as_completed(calls(count), concurrency=CONCURRENT) as outcomes:
            async for outcome in outcomes:
                if not outcome.ok:
                    raise RuntimeError(str(outcome))

    return fan_out


def gathered(api: APIClient) -> Callable[[int], Awaitable[None]]:
    """``gather``, all results held to the end."""

    async def fan_out(count: int) -> None:
        result = await api.gather(calls(count), concurrency=CONCURRENT)
        if not result.ok:
            raise RuntimeError(str(result))

    return fan_out


@asynccontextmanager
async def ways(url: str) -> AsyncIterator[dict[str, Callable[[int], Awaitable[None]]]]:
    """All of them; the first is the base."""
    connector = aiohttp.TCPConnector(limit=CONCURRENT)
    async with aiohttp.ClientSession(connector=connector) as session, APIClient(url) as api:
        yield {
            "a pool of bare aiohttp": bare(session, f"{url}{PATH}"),
            "bare again": bare(session, f"{url}{PATH}"),
            "the same pool of our calls": own_pool(api),
            "as_completed": streamed(api),
            "gather": gathered(api),
        }


# -- CPU ---------------------------------------------------------------------------------------------------------------


async def cpu(work: Callable[[int], Awaitable[None]]) -> float:
    """CPU seconds of a slice that begins with nothing to collect."""
    gc.collect()
    began = time.process_time()
    await work(CALLS_A_SLICE)
    return time.process_time() - began


async def compare(url: str, slices: int) -> None:
    """Take the slices in turn and print the ratios."""
    async with ways(url) as works:
        for work in works.values():
            await work(CALLS_A_SLICE)  # connections, caches
        base = next(iter(works.values()))
        times: dict[str, list[float]] = {name: [] for name in works}
        ratios: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(slices):
            before = await cpu(base)
            for name, work in list(works.items())[1:]:
                own, after = await cpu(work), await cpu(base)
                times[name].append(own)
                ratios[name].append(beside(before, own, after))
                before = after
    print("| what | µs of CPU a call | ratio to the bare pool | 95 % interval |\n|---|---|---|---|")
    for name in list(works)[1:]:
        low, high = interval(ratios[name], random.Random(1))
        micros = statistics.median(times[name]) / CALLS_A_SLICE * 1e6
        print(f"| {name} | {micros:.0f} | {statistics.median(ratios[name]):.3f} | {low:.3f}–{high:.3f} |")


# -- memory ------------------------------------------------------------------------------------------------------------


def resident(field: str) -> float:
    """A figure of this process from the system, in MiB; ``VmHWM`` is the peak of ``VmRSS``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def begin_peak() -> None:
    """Let the peak of the resident set begin anew (``man 5 proc``)."""
    Path("/proc/self/clear_refs").write_text("5")


async def peak(url: str, way: str, count: int, *, traced: bool) -> None:
    """Print the peak above the start as JSON: what the memory run of a process of its own does."""
    async with ways(url) as works:
        await works[way](1)  # what is loaded and cached once, and one connection
        gc.collect()
        begin_peak()
        start = resident("VmRSS")
        if traced:
            tracemalloc.start()
        await works[way](count)
        above = tracemalloc.get_traced_memory()[1] / 2**20 if traced else resident("VmHWM") - start
    print(json.dumps(above))


def memory(url: str, count: int, loop: str) -> None:
    """One process for each figure."""
    print("| what | calls | peak resident set above the start, MiB | peak of what Python allocated, MiB |")
    print("|---|---|---|---|")
    held = min(count, MOST_HELD)
    for way, some in (
        ("a pool of bare aiohttp", held),
        ("as_completed", count // 10),
        ("as_completed", count),
        ("gather", held),
    ):
        command = [sys.executable, "-m", "benchmarks.fanout", "--peak", url, way, str(some), "--loop", loop]
        runs = [command, [*command, "--traced"]] if some <= MOST_HELD else [command]
        figures = [json.loads(subprocess.run(each, stdout=subprocess.PIPE, check=True).stdout) for each in runs]
        shown = [f"{figure:.1f}" for figure in figures] + ["too slow"] * (2 - len(figures))
        print(f"| {way} | {some:,} | {' | '.join(shown)} |", flush=True)


def main() -> int:
    """Parse, start the upstream, measure, end it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000, help="calls of the memory runs (default: 100,000)")
    parser.add_argument("--slices", type=int, default=40, help="slices of each way (default: 40, about 40 s)")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--only", choices=("cpu", "memory"))
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)  # what the children are asked
    parser.add_argument("--traced", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        url, way, count = given.peak
        run(peak(url, way, int(count), traced=given.traced), given.loop)
        return 0
    own = cores()
    with serving(BODIES, own.server) as server:
        pin(own.client)
        python = f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}, {given.loop}"
        print(f"{python}, {platform.machine()}; {CONCURRENT} at once, 1 KB\n")
        if given.only != "memory":
            run(compare(server.url, given.slices), given.loop)
            print()
        if given.only != "cpu":
            memory(server.url, given.calls, given.loop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
