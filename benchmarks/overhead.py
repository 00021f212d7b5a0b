"""What the default chain costs beside bare aiohttp: CPU per request, as a ratio inside one interleaved run.

A server in a process of its own, on a core of its own, answers 1 KB of JSON over loopback. One client process makes
short slices of calls, bare and ours in turn, and compares neighbours: machines drift, neighbours drift together. The
row ``bare again`` compares bare aiohttp with itself and shows what the method can resolve.

    python benchmarks/overhead.py [--slices N] [--loop uvloop|asyncio]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import random
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp

from resilient_client import APIClient, BearerAuth

CALLS_A_SLICE = 200
CONCURRENT = 32
BODY = b'{"items":[' + b",".join(b'{"id":%d,"name":"item %d"}' % (n, n) for n in range(36)) + b"]}"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)

Slice = Callable[[], Awaitable[object]]


class Upstream(asyncio.Protocol):
    """Answers every request head at once; knows no other HTTP than this benchmark needs."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = transport
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        """Answer every head that is complete."""
        *heads, self.rest = (self.rest + data).split(b"\r\n\r\n")
        self.transport.write(REPLY * len(heads))  # type: ignore[attr-defined]  # a TCP transport can write


def serve(listener: socket.socket, core: int | None) -> None:
    """Run the upstream until the process is ended."""
    pin(core)

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, sock=listener)
        await server.serve_forever()

    run(forever(), "uvloop")


def pin(core: int | None) -> None:
    """Keep this process on one core, where the system can."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def run(main: Awaitable[None], loop: str) -> None:
    """Run ``main`` on the named event loop."""
    if loop == "uvloop":
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)  # type: ignore[arg-type]  # a coroutine
    else:
        asyncio.run(main)  # type: ignore[arg-type]  # a coroutine


async def in_parallel(call: Callable[[], Awaitable[object]]) -> None:
    """A slice: the calls, some at once."""
    left = CALLS_A_SLICE

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    await asyncio.gather(*(worker() for _ in range(CONCURRENT)))


def bare(session: aiohttp.ClientSession, url: str) -> Slice:
    """What people write today."""

    async def call() -> None:
        async with session.get(url) as reply:
            await reply.read()

    return lambda: in_parallel(call)


def ours(client: APIClient) -> Slice:
    """The same through the chain."""
    return lambda: in_parallel(lambda: client.get("/items"))


async def cpu(work: Slice) -> float:
    """CPU seconds of one slice."""
    start = time.process_time()
    await work()
    return time.process_time() - start


def interval(ratios: list[float], rng: random.Random) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median."""
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(1000))
    return medians[25], medians[974]


async def measure(url: str, slices: int, loop: str) -> None:
    """Take the slices in turn, print the table."""
    async with (
        aiohttp.ClientSession() as session,
        APIClient(url) as default,
        APIClient(url, auth=BearerAuth("secret")) as authenticated,
    ):
        base = bare(session, f"{url}/items")
        variants = {
            "bare again": base,
            "resilient_client, default chain": ours(default),
            "resilient_client, default chain and bearer auth": ours(authenticated),
        }
        ratios: dict[str, list[float]] = {name: [] for name in variants}
        base_times: list[float] = []
        for work in (base, *variants.values()):
            await work()  # connections, caches
        for _ in range(slices):
            for name, work in variants.items():
                before, own, after = await cpu(base), await cpu(work), await cpu(base)
                base_times += [before, after]
                ratios[name].append(2 * own / (before + after))
    python = f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}, {loop}, {platform.machine()}"
    micros = statistics.median(base_times) / CALLS_A_SLICE * 1e6
    print(f"{python}; {CONCURRENT} at once, 1 KB; bare aiohttp: {micros:.0f} µs of CPU a request\n")
    print("| what | CPU per request, ratio to bare | 95 % interval |\n|---|---|---|")
    rng = random.Random(1)
    for name, values in ratios.items():
        low, high = interval(values, rng)
        print(f"| {name} | {statistics.median(values):.3f} | {low:.3f}–{high:.3f} |")


def main() -> int:
    """Parse, start the upstream, measure, end it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]  # it has one
    parser.add_argument("--slices", type=int, default=60, help="slices of each variant (default: 60, about 15 s)")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    two = len(cores) > 1
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        upstream = multiprocessing.get_context("fork").Process(
            target=serve, args=(listener, cores[1] if two else None), daemon=True
        )
        upstream.start()
        pin(cores[0] if two else None)
        try:
            run(measure(f"http://127.0.0.1:{listener.getsockname()[1]}", given.slices, given.loop), given.loop)
        finally:
            upstream.terminate()
            upstream.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
