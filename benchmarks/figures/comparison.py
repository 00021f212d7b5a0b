"""Draw the CPU of each variant, compared with bare aiohttp, as bars: ``python -m benchmarks --figure FILE``.

Results that were saved before can be drawn too: ``python benchmarks/figures/comparison.py RESULTS.json FILE``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from resilient_client._cli.simulate.figure import BLUE, GREY, ORANGE, STYLE, saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FARTHEST = 3.0
"""The longest bar. Longer ones are cut, and labelled with their value."""
INK = "#202124"


def write(data: dict[str, Any], path: Path) -> None:
    """Draw the results to a file, in the format of its suffix."""
    with mpl.rc_context(STYLE):
        path.write_bytes(saved(draw(data), path.suffix[1:]))


def draw(data: dict[str, Any]) -> Figure:
    """Draw a panel per workload of a quick run, or of all workloads if none of these was measured."""
    measured = [each for each in data["comparisons"] if any(row["ratio"] for row in each["rows"])]
    shown = [each for each in measured if each["workload"]["quick"]] or measured
    rows = [[row for row in each["rows"] if row["ratio"] is not None] for each in shown]
    picture = Figure(figsize=(8.6, 0.8 + sum(0.55 + 0.23 * len(each) for each in rows)), layout="constrained")
    FigureCanvasAgg(picture)
    panels = picture.subplots(len(shown), 1, squeeze=False, height_ratios=[len(each) + 1.5 for each in rows])
    for (axes,), comparison, bars in zip(panels, shown, rows, strict=True):
        panel(axes, comparison, bars)
    panels[-1][0].set_xlabel("CPU per call, compared with bare aiohttp")
    machine = data["machine"]
    about = f"{machine['machine']}, Python {machine['Python']}, aiohttp {machine['aiohttp']}"
    picture.supxlabel(
        f"python -m benchmarks --figure FILE\n{about}; the dark lines are 95 % intervals, 1 is {shown[0]['base']}",
        x=0.01, ha="left", fontsize=7.5, color=GREY,
    )  # fmt: skip  # one argument per line is harder to read
    return picture


def panel(axes: Axes, comparison: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Draw one workload: a bar and an interval per variant."""
    axes.set_title(f"{comparison['workload']['name']} ({comparison['loop']})", loc="left", fontweight="bold")
    for place, row in enumerate(rows):
        end = min(row["ratio"], FARTHEST)
        axes.barh(place, end, height=0.68, color=color(row["variant"]), alpha=0.85)
        axes.plot([min(row["low"], FARTHEST), min(row["high"], FARTHEST)], [place] * 2, color=INK, linewidth=1.3)
        label = f"{row['ratio']:.2f}" if row["ratio"] <= FARTHEST else f"{row['ratio']:.1f} →"
        beyond = max(end, min(row["high"], FARTHEST))
        axes.annotate(
            label, (beyond, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
        )  # fmt: skip  # one argument per line is harder to read
    axes.axvline(1, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.set(yticks=range(len(rows)), yticklabels=[row["variant"] for row in rows], xlim=(0, FARTHEST * 1.12))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()


def color(variant: str) -> str:
    """Return the colour of this library, of bare aiohttp, or of another library."""
    return BLUE if variant.startswith("resilient_client") else GREY if variant.startswith("bare") else ORANGE


if __name__ == "__main__":
    write(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
