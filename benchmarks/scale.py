"""How the cost of a call grows: with calls at once, hosts, endpoints, circuits, listeners, bodies and fan-outs.

A result is the CPU time per call of the client's process in the best round, because noise only adds to it, and its
ratio to the smallest size of the series. Calls at once and bodies go to the server of the package over loopback. The
others use an object in memory that answers at once, so that only the library is measured, and no growth is hidden.

    python -m benchmarks.scale [--large] [--only SERIES] [--rounds N] [--loop uvloop|asyncio] [--figure FILE]
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import sys
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy

from benchmarks.machine import cores, pin, processor, run
from benchmarks.server import serving
from resilient_client import APIClient, Call, ConnectionSettings, Endpoint, Outcome, Request, Response
from resilient_client.testing import run_virtual

CALLS = 2_000
"""Calls of a round, at least."""
POOL = 100
HEADERS = CIMultiDictProxy(CIMultiDict({"Content-Type": "application/json"}))
URL = "https://api.example.com"
BODIES = {1: "1 B", 1_000: "1 KB", 10_000: "10 KB", 100_000: "100 KB", 1_000_000: "1 MB"}
LARGE_BODIES = {10_000_000: "10 MB", 100_000_000: "100 MB"}

Round = Callable[[], Awaitable[None]]


class Wire:
    """A transport that answers at once."""

    async def send(self, request: Request) -> Response:
        """Return a response at once."""
        return Response(200, HEADERS, b"{}", request.url)

    async def close(self) -> None:
        """Do nothing: there is no connection to close."""


class Series(NamedTuple):
    """One quantity that grows.

    Attributes:
        name: Its name, for people.
        sizes: The values that are measured by default.
        large: Further values, with ``--large``.
        measure: Returns the microseconds of CPU per call for one of them, given the URL of the server and the rounds.
        virtual: Whether it runs in virtual time, where every reply takes equally long.
    """

    name: str
    sizes: tuple[int, ...]
    large: tuple[int, ...]
    measure: Callable[[int, str, int], Coroutine[Any, Any, float]]
    virtual: bool = False


class Point(NamedTuple):
    """One result: the series, the size, and microseconds of CPU per call."""

    series: str
    size: int
    micros: float


async def micros(work: Round, calls: int, rounds: int) -> float:
    """Return the microseconds of CPU per call, in the best round after one that fills caches and connections."""
    await work()
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        began = time.process_time()
        await work()
        best = min(best, time.process_time() - began)
    return best / calls * 1e6


async def drain(outcomes: AsyncIterable[Outcome[Response]]) -> None:
    """Take all outcomes, none of which may be a failure."""
    async for outcome in outcomes:
        if not outcome.ok:
            raise RuntimeError(str(outcome))


async def in_turn(api: APIClient, paths: Sequence[str], rounds: int) -> float:
    """Call the paths one after the other, each at least once and often enough for a round."""
    repeats = max(1, CALLS // len(paths))

    async def work() -> None:
        for _ in range(repeats):
            for path in paths:
                await api.get(path)

    return await micros(work, repeats * len(paths), rounds)


# -- the series --------------------------------------------------------------------------------------------------------


async def calls_at_once(size: int, url: str, rounds: int) -> float:
    """Calls in flight, of which a pool of 100 connections carries as many as it can."""
    count = max(CALLS, size)
    async with APIClient(url, connection=ConnectionSettings(pool_size=POOL), timeout=None) as api:

        async def work() -> None:
            calls = (Call.get("/1000") for _ in range(count))
            async with api.as_completed(calls, concurrency=size) as outcomes:
                await drain(outcomes)

        return await micros(work, count, rounds)


async def bodies(size: int, url: str, rounds: int) -> float:
    """The size of the reply, which is read as a whole."""
    count = max(2, min(CALLS, 20_000_000 // size))
    async with APIClient(url, connection=ConnectionSettings(max_response_size=None)) as api:

        async def work() -> None:
            for _ in range(count):
                reply = await api.get(f"/{size}")
                assert len(reply.content) == size

        return await micros(work, count, rounds)


async def hosts(size: int, _url: str, rounds: int) -> float:
    """Hosts that are called in turn, by absolute URLs."""
    async with APIClient(transport=Wire()) as api:
        return await in_turn(api, [f"https://host-{number}.example.com/items" for number in range(size)], rounds)


async def paths(size: int, _url: str, rounds: int) -> float:
    """Paths of one host that are called in turn."""
    async with APIClient(URL, transport=Wire()) as api:
        return await in_turn(api, [f"/items/{number}" for number in range(size)], rounds)


async def path_params(size: int, _url: str, rounds: int) -> float:
    """Values of a placeholder, none of which comes twice in a round."""
    async with APIClient(URL, transport=Wire()) as api:

        async def work() -> None:
            for number in range(max(CALLS, size)):
                await api.get("/items/{id}", path_params={"id": number % size})

        return await micros(work, max(CALLS, size), rounds)


async def endpoints(size: int, _url: str, rounds: int) -> float:
    """Endpoints among which each call is balanced. 1: a client with a single base URL, which balances nothing.

    In virtual time: the pauses of this process, thousands of times as long as a reply from memory, would pass for
    endpoints that are slow.
    """
    base = URL if size == 1 else [f"https://replica-{number}.example.com" for number in range(size)]
    async with APIClient(base, transport=Wire()) as api:
        return await in_turn(api, ["/items"], rounds)


async def circuits(size: int, _url: str, rounds: int) -> float:
    """Circuits of other hosts, next to the one that is called."""
    async with APIClient(transport=Wire()) as api:
        for number in range(size - 1):
            await api.get(f"https://host-{number}.example.com/items")
        found = await in_turn(api, [f"{URL}/items"], rounds)
        assert len(api.circuits) == size
        assert Endpoint.of(URL) in api.circuits
        return found


async def listeners(size: int, _url: str, rounds: int) -> float:
    """Listeners that get every event and do nothing."""
    async with APIClient(URL, transport=Wire()) as api:
        for _ in range(size):
            api.subscribe(lambda event: None)
        return await in_turn(api, ["/items"], rounds)


async def fan_outs(size: int, _url: str, rounds: int) -> float:
    """Calls of one ``as_completed``, 100 at once."""
    async with APIClient(URL, transport=Wire()) as api:

        async def work() -> None:
            async with api.as_completed((Call.get("/items") for _ in range(size)), concurrency=100) as outcomes:
                await drain(outcomes)

        return await micros(work, size, 1 if size > 100_000 else rounds)


ALL = (
    Series("calls at once", (1, 10, 100, 1_000, 10_000), (), calls_at_once),
    Series("hosts", (1, 10, 100, 1_000, 10_000), (), hosts),
    Series("paths", (1, 10, 100, 1_000, 10_000), (), paths),
    Series("values of path_params", (1, 100, 10_000), (), path_params),
    Series("endpoints", (1, 2, 4, 8, 16, 32, 64), (), endpoints, virtual=True),
    Series("circuits", (1, 100, 10_000), (), circuits),
    Series("listeners", (0, 1, 2, 5, 10, 50), (), listeners),
    Series("calls of a fan-out", (1_000, 10_000, 100_000), (1_000_000,), fan_outs),
    Series("bytes of the body", tuple(BODIES), tuple(LARGE_BODIES), bodies),
)


# -- the report --------------------------------------------------------------------------------------------------------


def table(points: Sequence[Point]) -> str:
    """Return the results of one series as a table of Markdown."""
    first = points[0]
    names = BODIES | LARGE_BODIES if first.series == "bytes of the body" else {}
    lines = [f"| {first.series} | µs of CPU per call | growth |", "|--:|--:|--:|"]
    for point in points:
        growth = point.micros / first.micros
        lines.append(f"| {names.get(point.size, f'{point.size:,}')} | {point.micros:,.1f} | {growth:,.2f} |")
    return "\n".join(lines) + "\n"


def draw(points: Sequence[Point], machine: str, file: Path) -> None:
    """Draw the cost of every size relative to the smallest of its series. It needs the extra ``figures``."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from resilient_client._cli.simulate.figure import GREY, STYLE, saved

    with mpl.rc_context(STYLE):
        picture = Figure(figsize=(8.4, 4.6), layout="constrained")
        FigureCanvasAgg(picture)
        axes = picture.subplots()
        for name in dict.fromkeys(point.series for point in points):
            own = [point for point in points if point.series == name]
            growth = [point.micros / own[0].micros for point in own]
            axes.plot([max(1, point.size) for point in own], growth, marker="o", markersize=4, label=name)
        axes.set(xscale="log", yscale="log", xlabel="size", ylabel="CPU per call, ratio to the smallest size")
        picture.legend(loc="outside right upper")
        picture.suptitle("how the cost of a call grows", x=0.01, ha="left", fontweight="bold")
        picture.supxlabel(f"python -m benchmarks.scale\n{machine}", x=0.01, ha="left", fontsize=7.5, color=GREY)
        file.write_bytes(saved(picture, file.suffix[1:]))


def cost(series: Series, size: int, url: str, args: argparse.Namespace) -> float:
    """Measure one size on a new event loop."""
    work = series.measure(size, url, args.rounds)
    return run_virtual(work) if series.virtual else run(work, args.loop)


def main() -> int:
    """Parse the command line, measure, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--large", action="store_true", help="also bodies up to 100 MB and a fan-out of a million calls"
    )
    parser.add_argument("--only", action="append", metavar="SERIES", help="part of the name of a series; repeatable")
    parser.add_argument("--rounds", type=int, default=5, help="the best of so many counts (default: 5)")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--compiler", default=os.environ.get("CC", "cc"), help="of the server; '' for the Python one")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the results (.svg or .png; extra: figures)")
    args = parser.parse_args()
    chosen = [each for each in ALL if not args.only or any(part in each.name for part in args.only)]
    machine = f"{processor()}, Python {platform.python_version()}, {args.loop}"
    own_cores = cores()
    pin(own_cores.client)
    points: list[Point] = []
    contents = {str(size): b"x" * size for size in (BODIES | LARGE_BODIES if args.large else BODIES)}
    print(f"{machine}\n")
    with serving(contents, own_cores.server, args.compiler or None) as server:
        for series in chosen:
            sizes = series.sizes + (series.large if args.large else ())
            costs = [cost(series, size, server.url, args) for size in sizes]
            own = [
                Point(series.name, size, micros_per_call) for size, micros_per_call in zip(sizes, costs, strict=True)
            ]
            points += own
            print(table(own), flush=True)
    if args.figure:
        draw(points, machine, args.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
