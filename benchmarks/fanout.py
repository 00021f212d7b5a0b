"""The cost of a fan-out: memory above the start, and CPU compared with a hand-written pool of workers.

The server of the package, on its own core, answers 1 KB of JSON over loopback, to 100 concurrent calls. Each memory
figure is measured in a new process: the peak of its resident set, and the peak of what Python allocated (in another
process, because tracing is slow). CPU is measured as the ratio of neighbouring slices in one process and on one loop,
so that drift of the machine cancels out. ``bare again`` shows the resolution of this method.

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

from benchmarks.machine import cores, pin, resident, run
from benchmarks.payloads import BODIES
from benchmarks.results import interval, ratio_to_neighbours
from benchmarks.server import serving
from resilient_client import APIClient, Call, Response

CONCURRENT = 100
CALLS_PER_SLICE = 1_000
MAX_HELD = 100_000  # calls of a run that keeps all results, or that traces memory
PATH = "/1k"  # of the server of the package: an order in 1 KB of JSON


# -- the methods -------------------------------------------------------------------------------------------------------


def calls(count: int) -> Iterator[Call[Response]]:
    """Yield the calls lazily, so that they are never in memory all at once."""
    return (Call.get(PATH) for _ in range(count))


async def pool(send: Callable[[], Awaitable[object]], count: int) -> None:
    """Send the calls with a hand-written pool: workers that share an iterator."""
    remaining = iter(range(count))

    async def worker() -> None:
        for _ in remaining:
            await send()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENT):
            group.create_task(worker())


def bare(session: aiohttp.ClientSession, url: str) -> Callable[[int], Awaitable[None]]:
    """Return this pool with bare aiohttp."""

    async def get() -> None:
        async with session.get(url) as reply:
            await reply.read()

    return lambda count: pool(get, count)


def client_pool(api: APIClient) -> Callable[[int], Awaitable[None]]:
    """Return this pool with ``APIClient``: the cost of its calls without a fan-out."""
    return lambda count: pool(lambda: api.get(PATH), count)


def streamed(api: APIClient) -> Callable[[int], Awaitable[None]]:
    """Return ``as_completed``."""

    async def fan_out(count: int) -> None:
        async with api.as_completed(calls(count), concurrency=CONCURRENT) as outcomes:
            async for outcome in outcomes:
                if not outcome.ok:
                    raise RuntimeError(str(outcome))

    return fan_out


def gathered(api: APIClient) -> Callable[[int], Awaitable[None]]:
    """Return ``gather``, which keeps all results to the end."""

    async def fan_out(count: int) -> None:
        result = await api.gather(calls(count), concurrency=CONCURRENT)
        if not result.ok:
            raise RuntimeError(str(result))

    return fan_out


@asynccontextmanager
async def methods(url: str) -> AsyncIterator[dict[str, Callable[[int], Awaitable[None]]]]:
    """Open the clients, and yield all methods by name. The first one is the base."""
    connector = aiohttp.TCPConnector(limit=CONCURRENT)
    async with aiohttp.ClientSession(connector=connector) as session, APIClient(url) as api:
        yield {
            "a pool of bare aiohttp": bare(session, f"{url}{PATH}"),
            "bare again": bare(session, f"{url}{PATH}"),
            "the same pool with resilient_client": client_pool(api),
            "as_completed": streamed(api),
            "gather": gathered(api),
        }


# -- CPU ---------------------------------------------------------------------------------------------------------------


async def cpu(work: Callable[[int], Awaitable[None]]) -> float:
    """Return the CPU seconds of a slice. Garbage is collected before it starts."""
    gc.collect()
    began = time.process_time()
    await work(CALLS_PER_SLICE)
    return time.process_time() - began


async def compare(url: str, slices: int) -> None:
    """Run the slices of all methods in turn, and print the ratios."""
    async with methods(url) as works:
        for work in works.values():
            await work(CALLS_PER_SLICE)  # warm up connections and caches
        base = next(iter(works.values()))
        times: dict[str, list[float]] = {name: [] for name in works}
        ratios: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(slices):
            before = await cpu(base)
            for name, work in list(works.items())[1:]:
                own_cpu, after = await cpu(work), await cpu(base)
                times[name].append(own_cpu)
                ratios[name].append(ratio_to_neighbours(before, own_cpu, after))
                before = after
    print("| method | µs of CPU per call | ratio to the bare pool | 95 % interval |\n|---|---|---|---|")
    for name in list(works)[1:]:
        low, high = interval(ratios[name], random.Random(1))
        micros = statistics.median(times[name]) / CALLS_PER_SLICE * 1e6
        print(f"| {name} | {micros:.0f} | {statistics.median(ratios[name]):.3f} | {low:.3f}–{high:.3f} |")


# -- memory ------------------------------------------------------------------------------------------------------------


def reset_peak() -> None:
    """Reset the peak of the resident set (``man 5 proc``)."""
    Path("/proc/self/clear_refs").write_text("5")


async def peak(url: str, method: str, count: int, *, traced: bool) -> None:
    """Print the peak above the start as JSON. This is the main function of a memory process."""
    async with methods(url) as works:
        await works[method](1)  # warm up: modules, caches, and one connection
        gc.collect()
        reset_peak()
        start = resident("VmRSS")
        if traced:
            tracemalloc.start()
        await works[method](count)
        above = tracemalloc.get_traced_memory()[1] / 2**20 if traced else resident("VmHWM") - start
    print(json.dumps(above))


def memory(url: str, count: int, loop: str) -> None:
    """Measure each figure in a new process, and print the table."""
    print("| method | calls | peak resident set above the start, MiB | peak of what Python allocated, MiB |")
    print("|---|---|---|---|")
    held = min(count, MAX_HELD)
    for method, some in (
        ("a pool of bare aiohttp", held),
        ("as_completed", count // 10),
        ("as_completed", count),
        ("gather", held),
    ):
        command = [sys.executable, "-m", "benchmarks.fanout", "--peak", url, method, str(some), "--loop", loop]
        runs = [command, [*command, "--traced"]] if some <= MAX_HELD else [command]
        figures = [json.loads(subprocess.run(each, stdout=subprocess.PIPE, check=True).stdout) for each in runs]
        shown = [f"{figure:.1f}" for figure in figures] + ["too slow"] * (2 - len(figures))
        print(f"| {method} | {some:,} | {' | '.join(shown)} |", flush=True)


def main() -> int:
    """Parse the command line, start the server, measure, and stop it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000, help="calls of the memory runs (default: 100,000)")
    parser.add_argument("--slices", type=int, default=40, help="slices of each method (default: 40, about 40 s)")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--only", choices=("cpu", "memory"))
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)  # for the memory processes
    parser.add_argument("--traced", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        url, method, count = args.peak
        run(peak(url, method, int(count), traced=args.traced), args.loop)
        return 0
    pinned = cores()
    with serving(BODIES, pinned.server) as server:
        pin(pinned.client)
        python = f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}, {args.loop}"
        print(f"{python}, {platform.machine()}; {CONCURRENT} at once, 1 KB\n")
        if args.only != "memory":
            run(compare(server.url, args.slices), args.loop)
            print()
        if args.only != "cpu":
            memory(server.url, args.calls, args.loop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
