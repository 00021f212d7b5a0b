"""CPU and memory of calls with large bodies, with each allocator that can be had: ``python -m benchmarks.allocators``.

The C library gives the memory of a large body back to the system, and takes it again for the next one. Other
allocators keep it. A process has one allocator from its start, so each allocator runs in processes of its own, in
random order, against one server. The least CPU of these processes counts, since it was disturbed least, and the highest
peak of memory. Processes differ by more than slices of one process do: a difference of a tenth has no meaning. Page
faults show the reason, and hardly depend on what else the machine does: each is memory taken from the system again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from ctypes.util import find_library

from benchmarks.machine import cores, pin, processor, resident, run, versions
from benchmarks.measuring import Contender, compare
from benchmarks.payloads import BODIES
from benchmarks.report import about
from benchmarks.server import Server, serving
from benchmarks.variants import VARIANTS
from benchmarks.workloads import Workload, job

OURS = [variant for variant in VARIANTS if variant.home == "ours:defaults"]
WORKLOADS = {
    each.name: each
    for each in (
        Workload("GET 1 KB, 32 at once"),
        Workload("GET 100 KB, 32 at once", size="100k", calls=100),
        Workload("GET 1 MB, 4 at once", size="1m", concurrency=4, calls=40),
        Workload("GET 1 MB streamed, 4 at once", kind="streamed", size="1m", concurrency=4, calls=40),
    )
}
LIBRARIES = ("mimalloc", "jemalloc", "tcmalloc")
THRESHOLDS = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(128 * 2**20))
"""glibc keeps freed memory up to these sizes. Setting only one of the two is worse than none (``man 3 mallopt``)."""

Result = dict[str, float]


def allocators() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each allocator that works here: its name, and the environment variables that choose it."""
    libraries = [path for name in LIBRARIES if (path := find_library(name))]
    for name, variables in (
        ("default", {}),
        ("PYTHONMALLOC=mimalloc", {"PYTHONMALLOC": "mimalloc"}),
        *((f"LD_PRELOAD={path}", {"LD_PRELOAD": path}) for path in libraries),
        (" and ".join(THRESHOLDS) + " of 128 MiB", THRESHOLDS),
    ):
        if is_accepted(variables):
            yield name, variables
        else:
            print(f"{name} cannot be used with this Python", file=sys.stderr)


def is_accepted(variables: dict[str, str]) -> bool:
    """Return whether Python starts with these variables: before 3.13, it does not know mimalloc."""
    probe = subprocess.run([sys.executable, "-c", ""], env=os.environ | variables, check=False, capture_output=True)
    return probe.returncode == 0 and not probe.stderr


def measure(name: str, server: Server, seconds: float, loop: str) -> Result:
    """Measure one workload in this process: CPU per call in microseconds, page faults per call, and memory in MiB."""
    found = run(compare(WORKLOADS[name], OURS, server, seconds), loop)
    faults = run(page_faults(WORKLOADS[name], server), loop)
    ours = found.rows[-1]
    if ours.micros is None:
        raise RuntimeError(ours.fault)
    return {"bare": found.micros, "ours": ours.micros, "faults": faults, "peak": resident("VmHWM")}


async def page_faults(workload: Workload, server: Server) -> float:
    """Return the page faults per call of this library, over one slice."""
    ours = Contender(OURS[0], job(workload, server), workload)
    async with AsyncExitStack() as stack:
        await ours.open(stack)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        await ours.slice(ours.call)
        return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / ours.calls


def measure_in_process(name: str, variables: dict[str, str], server: Server, options: argparse.Namespace) -> Result:
    """Measure one workload in a new process with these environment variables."""
    command = [sys.executable, "-m", "benchmarks.allocators", "--seconds", str(options.seconds), "--loop", options.loop]
    command += ["--child", name, server.url]
    child = subprocess.run(command, env=os.environ | variables, check=True, stdout=subprocess.PIPE)
    result: Result = json.loads(child.stdout)
    return result


def table(name: str, results: dict[str, list[Result]]) -> str:
    """Return the table of one workload, a line per allocator."""
    lines = [
        f"| {name} | bare aiohttp, µs | resilient_client, µs | its page faults per call | peak memory, MiB |",
        "|---|--:|--:|--:|--:|",
    ]
    for allocator, runs in results.items():
        bare, ours = (min(each[key] for each in runs) for key in ("bare", "ours"))
        faults = statistics.median(each["faults"] for each in runs)
        peak = max(each["peak"] for each in runs)
        lines.append(f"| {allocator} | {bare:.0f} | {ours:.0f} | {faults:.1f} | {peak:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Parse the command line, measure, and print a table per workload."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.allocators", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="processes per allocator and workload (default: 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="per process (default: 3)")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, url = options.child
        print(json.dumps(measure(name, Server(url, ""), options.seconds, options.loop)))
        return 0
    own_cores, rng, found = cores(), random.Random(1), dict(allocators())
    pin(own_cores.client)
    print(about({"machine": processor(), **versions()}))
    with serving(BODIES, own_cores.server) as server:
        for name in WORKLOADS:
            results: dict[str, list[Result]] = {allocator: [] for allocator in found}
            for _ in range(options.rounds):
                for allocator in rng.sample(list(found), len(found)):
                    results[allocator].append(measure_in_process(name, found[allocator], server, options))
            print(table(name, results), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
