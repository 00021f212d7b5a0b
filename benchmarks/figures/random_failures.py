"""An upstream with random failures, at rates from 0 to 100 %; draws the figure of docs/reliability.md.

It shows the gains and costs of the default retries, compared with clients that never and that always repeat. The
circuit is off in all three, to show the effect of the budget. The argument is the file to draw.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from resilient_client import CircuitBreaker, ClientConfig
from resilient_client._cli.simulate.figure import BLUE, GREY, ORANGE, STYLE, saved
from resilient_client.simulation import DEFAULT, NAIVE, NONE, Callers, Scenario, Totals, Upstream, simulate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RATES = (0.0, 0.01, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SEEDS = range(1, 4)
CLIENTS = {
    "one attempt": (NONE, {"color": GREY, "linestyle": (0, (4, 2)), "linewidth": 1.4, "marker": "^"}),
    "naive: three attempts": (NAIVE, {"color": ORANGE, "linewidth": 1.4, "marker": "s"}),
    "default": (DEFAULT, {"color": BLUE, "linewidth": 2.2, "marker": "o"}),
}


def totals(config: ClientConfig, rate: float, seed: int) -> Totals:
    """Run five clients with ten calls per second each, for a minute."""
    upstream = Upstream(name="api", service=0.05, error_rate=rate)
    callers = Callers(name="shop", calls="api", clients=5, arrivals=10)
    over = config.merge(ClientConfig(circuit_breaker=CircuitBreaker(mode="disabled")))
    return simulate(Scenario(upstreams=[upstream], callers=[callers], duration=60).with_config(over), seed=seed).totals


def draw() -> Figure:
    """Draw, left, the share of calls that succeed, and right, the requests per call."""
    picture = Figure(figsize=(8.4, 4.0), layout="constrained")
    FigureCanvasAgg(picture)
    success, load = picture.subplots(1, 2)
    percent = [100 * rate for rate in RATES]
    for name, (config, style) in CLIENTS.items():
        runs = [[totals(config, rate, seed) for seed in SEEDS] for rate in RATES]
        line(success, percent, [[100 * run.success for run in each] for each in runs], name, style)
        line(load, percent, [[run.amplification for run in each] for each in runs], name, style)
    success.set(xlabel="requests that fail, %", ylabel="calls that succeed, %", ylim=(0, 103), xlim=(0, 100))
    load.set(xlabel="requests that fail, %", ylabel="requests for each call", ylim=(0.9, 3.1), xlim=(0, 100))
    handles, labels = success.get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    picture.suptitle("random failures", x=0.01, ha="left", fontweight="bold")
    picture.supxlabel(
        f"python benchmarks/figures/random_failures.py FILE\nmedian of {len(SEEDS)} seeds, the band reaches from the "
        "lowest to the highest; circuit breaker off", x=0.01, ha="left", fontsize=7.5, color=GREY,
    )  # fmt: skip  # one argument per line is harder to read
    return picture


def line(axes: Axes, x: list[float], runs: list[list[float]], name: str, style: dict[str, object]) -> None:
    """Draw the median of the runs, and the band from the lowest to the highest."""
    axes.plot(x, [statistics.median(each) for each in runs], label=name, markersize=4, **style)
    axes.fill_between(
        x, [min(each) for each in runs], [max(each) for each in runs], color=str(style["color"]), alpha=0.2
    )


if __name__ == "__main__":
    path = Path(sys.argv[1])
    with mpl.rc_context(STYLE):
        path.write_bytes(saved(draw(), path.suffix[1:]))
