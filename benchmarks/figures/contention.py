"""A hundred clients change one row at once, with five kinds of backoff; draws the figure of docs/reliability.md.

This is the experiment of *Exponential Backoff And Jitter* (Brooker, AWS, 2015) with the real chain. Each client reads a
version, and writes if the version is unchanged. If it has changed, the client waits and starts again. The argument is
the file to draw.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from resilient_client import Backoff, ClientConfig, Retry
from resilient_client._cli.simulate.figure import BLUE, GREY, ORANGE, STYLE, saved
from resilient_client.simulation import Callers, Herd, Network, Scenario, Upstream, Visit, simulate
from resilient_client.simulation._presets import at_once

CLIENTS = 100
SEEDS = range(1, 9)
BACKOFFS: dict[str, Backoff | Callable[[object], float]] = {
    "no pause": at_once,
    "exponential": Backoff(kind="exponential", initial=0.010, max_delay=2),
    "decorrelated": Backoff(kind="decorrelated", initial=0.005, max_delay=2),
    "equal jitter": Backoff(kind="equal_jitter", initial=0.010, max_delay=2),
    "full jitter (default)": Backoff(kind="full_jitter", initial=0.010, max_delay=2),
}


class Contest(NamedTuple):
    """The result of a run: the time of each write, and when the last client had succeeded."""

    writes: list[float]
    settled: float


class Row:
    """A row of a database, with a version."""

    def __init__(self) -> None:
        self.version = 0
        self.writes: list[float] = []
        self.settled = 0.0

    async def update(self, visit: Visit) -> int:
        """Read, and write if the version is unchanged.

        The arrival of the request is one hop. The answer to the read, the write and its answer are one hop each.
        """
        seen = self.version
        await asyncio.sleep(hop_delay(visit.rng) + hop_delay(visit.rng))
        self.writes.append(asyncio.get_running_loop().time())
        won = self.version == seen
        if won:
            self.version += 1
            self.settled = self.writes[-1]
        await asyncio.sleep(hop_delay(visit.rng))
        return 200 if won else 409


def hop_delay(rng: Random, _in_flight: int = 1) -> float:
    """Draw the time of one way over the network: about 10 ms."""
    return abs(rng.normalvariate(0.010, 0.002))


def contend(backoff: Backoff | Callable[[object], float], seed: int) -> Contest:
    """Run the experiment until all clients have succeeded."""
    row = Row()
    retry = Retry(max_attempts=100, statuses={409}, backoff=backoff)
    config = ClientConfig(timeout=None, retry=retry, retry_budget=None, circuit_breaker=None)
    upstream = Upstream(name="row", service=hop_delay, handler=row.update)
    writers = Callers(name="writer", calls="row", clients=CLIENTS, arrivals=Herd(), method="PUT", config=config)
    simulate(Scenario(upstreams=[upstream], callers=[writers], network=Network(round_trip=0), duration=1), seed=seed)
    return Contest(row.writes, row.settled)


def draw(contests: dict[str, Sequence[Contest]]) -> Figure:
    """Draw the times of the writes in the first run, and the number of writes and the time over all runs."""
    picture = Figure(figsize=(9.2, 4.4), layout="constrained")
    FigureCanvasAgg(picture)
    when, calls, seconds = picture.subplots(1, 3, sharey=True, width_ratios=(3, 1.4, 1.4))
    for place, (name, runs) in enumerate(contests.items()):
        color = BLUE if "default" in name else GREY if name != "no pause" and name != "exponential" else ORANGE
        jitter = Random(place)
        writes = [max(0.02, at) for at in runs[0].writes]
        when.plot(
            writes,
            [place + jitter.uniform(-0.3, 0.3) for _ in writes],
            ".",
            ms=2.5,
            alpha=0.5,
            color=color,
            rasterized=True,
        )
        for axes, values in ((calls, [len(run.writes) for run in runs]), (seconds, [run.settled for run in runs])):
            middle = statistics.median(values)
            axes.barh(place, middle, height=0.6, color=color, alpha=0.85)
            axes.plot([min(values), max(values)], [place, place], color="#202124", linewidth=1.2)
            label = f"{middle:.0f}" if middle >= 100 else f"{middle:.1f}"
            axes.annotate(
                label, (max(values), place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5
            )
    when.set(yticks=range(len(contests)), yticklabels=list(contests), xscale="log", xlim=(0.02, 100))
    when.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    when.set_xlabel("time of each write, s (seed 1)")
    when.invert_yaxis()
    calls.set(xlabel="writes until all have won", xlim=(0, 3000))
    seconds.set(xlabel="seconds until all have won", xlim=(0, 85))
    picture.suptitle(f"{CLIENTS} clients change one row at once", x=0.01, ha="left", fontweight="bold")
    picture.supxlabel(
        f"python benchmarks/figures/contention.py FILE\nmedian of {len(SEEDS)} seeds; the dark lines reach from the "
        "lowest to the highest", x=0.01, ha="left", fontsize=7.5, color=GREY,
    )  # fmt: skip  # one argument per line is harder to read
    return picture


if __name__ == "__main__":
    path = Path(sys.argv[1])
    with mpl.rc_context(STYLE):
        path.write_bytes(
            saved(draw({n: [contend(backoff, s) for s in SEEDS] for n, backoff in BACKOFFS.items()}), path.suffix[1:])
        )
