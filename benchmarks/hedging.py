"""The effect of hedging on a real tail: latencies, extra requests and CPU, hedged and unhedged in interleaved slices.

A server in its own process answers over loopback after 2 ms, and 1 % of all requests after 200 ms. Eight callers send
one call after the other, in slices that alternate between ``Hedging()`` and no hedging. The server counts the requests.

    python -m benchmarks.hedging [--slices N] [--loop uvloop|asyncio]
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import multiprocessing
import os
import platform
import random
import socket
import statistics
import sys
import time
from typing import Any

import aiohttp

from benchmarks.machine import pin, run
from benchmarks.results import interval, ratio_to_neighbours
from resilient_client import APIClient, Hedging

CALLS_PER_SLICE = 1000
CALLERS = 8
NORMAL, SLOW, SHARE = 0.002, 0.2, 0.01
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

GATES = {"p99": 0.010, "p99.9": 0.015, "extra": 0.02, "cpu": 1.1}
"""Upper bounds: seconds, the share of extra requests, CPU compared with unhedged."""


class Upstream(asyncio.Protocol):
    """Answers each request head after a delay. It supports only the HTTP that this benchmark needs."""

    def __init__(self, rng: random.Random, hits: Any) -> None:
        self.rng = rng
        self.hits = hits

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the replies."""
        self.transport = transport
        self.remainder = b""

    def data_received(self, data: bytes) -> None:
        """Schedule a reply for every complete head."""
        *heads, self.remainder = (self.remainder + data).split(b"\r\n\r\n")
        for _ in heads:
            self.hits.value += 1
            seconds = SLOW if self.rng.random() < SHARE else NORMAL
            asyncio.get_running_loop().call_later(seconds, self.answer)

    def answer(self) -> None:
        """Write the reply, unless the client has left."""
        if not self.transport.is_closing():
            self.transport.write(REPLY)  # type: ignore[attr-defined]  # a TCP transport can write


def serve(listener: socket.socket, core: int | None, hits: Any) -> None:
    """Run the upstream until the process is terminated."""
    pin(core)
    rng = random.Random(1)

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: Upstream(rng, hits), sock=listener)
        await server.serve_forever()

    run(forever(), "asyncio")  # the clock of uvloop advances in steps of one millisecond


class Variant:
    """A client, and the results of its slices."""

    def __init__(self, client: APIClient, hits: Any) -> None:
        self.client = client
        self.hits = hits
        self.latencies: list[float] = []
        self.requests = 0
        self.cpu: list[float] = []

    async def slice(self) -> float:
        """Send the calls of a slice, and return its CPU seconds. Garbage is collected before it starts."""
        left = CALLS_PER_SLICE

        async def caller() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                began = time.perf_counter()
                await self.client.get("/items")
                self.latencies.append(time.perf_counter() - began)

        gc.collect()
        before, start = self.hits.value, time.process_time()
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        self.cpu.append(time.process_time() - start)
        self.requests += self.hits.value - before
        return self.cpu[-1]

    def quantile(self, share: float) -> float:
        """Return this quantile of the latencies, in seconds."""
        return sorted(self.latencies)[int(share * len(self.latencies))]

    @property
    def extra(self) -> float:
        """Requests beyond one per call, as a share of the calls."""
        return self.requests / len(self.latencies) - 1


async def measure(url: str, slices: int, loop: str, hits: Any) -> dict[str, float]:
    """Run the slices in turn, print the table, and return the values that have gates."""
    async with APIClient(url) as plain, APIClient(url, hedging=Hedging()) as hedging:
        unhedged, hedged = Variant(plain, hits), Variant(hedging, hits)
        for variant in (unhedged, hedged):
            await variant.slice()  # warm up connections, caches, and the learnt percentile
            variant.__init__(variant.client, hits)  # type: ignore[misc]  # forget that slice
        ratios, before = [], await unhedged.slice()
        for _ in range(slices):
            own_cpu, after = await hedged.slice(), await unhedged.slice()
            ratios.append(ratio_to_neighbours(before, own_cpu, after))
            before = after
    cpu, (low, high) = statistics.median(ratios), interval(ratios, random.Random(1))
    python = f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}, {loop}, {platform.machine()}"
    print(f"{python}; {slices * CALLS_PER_SLICE} calls each, {CALLERS} callers; 2 ms, and 1 % of 200 ms\n")
    print("| what | p50 | p95 | p99 | p99.9 | extra requests | CPU per call |\n|---|---|---|---|---|---|---|")
    for name, variant in (("unhedged", unhedged), ("Hedging()", hedged)):
        times = " | ".join(f"{variant.quantile(share) * 1000:.1f} ms" for share in (0.5, 0.95, 0.99, 0.999))
        micros = statistics.median(variant.cpu) / CALLS_PER_SLICE * 1e6
        print(f"| {name} | {times} | {variant.extra:.2%} | {micros:.0f} µs |")
    print(f"\nCPU, hedged compared with unhedged: {cpu:.3f}, 95 % interval {low:.3f}–{high:.3f}")
    return {"p99": hedged.quantile(0.99), "p99.9": hedged.quantile(0.999), "extra": hedged.extra, "cpu": cpu}


def main() -> int:
    """Parse the command line, start the upstream, measure, and stop it. Return 1 if a gate is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]  # it has one
    parser.add_argument("--slices", type=int, default=20, help="slices of each variant (default: 20, about 20 s)")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    two = len(cores) > 1
    context = multiprocessing.get_context("fork")
    hits = context.Value(ctypes.c_long, 0, lock=False)
    found: dict[str, float] = {}

    async def benchmark() -> None:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        found.update(await measure(url, args.slices, args.loop, hits))

    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        upstream = context.Process(target=serve, args=(listener, cores[1] if two else None, hits), daemon=True)
        upstream.start()
        pin(cores[0] if two else None)
        try:
            run(benchmark(), args.loop)
        finally:
            upstream.terminate()
            upstream.join()
    missed = {name: (value, GATES[name]) for name, value in found.items() if value > GATES[name]}
    for name, (value, gate) in missed.items():
        print(f"missed: {name} is {value:.4g}, above {gate:g}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
