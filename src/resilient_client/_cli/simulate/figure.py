"""A comparison as a picture: one panel per variant, loads above, circuits below, all on the same scales.

Only this module imports matplotlib. The colours are those of Okabe and Ito, which can be distinguished with any colour
vision. Lines also differ in dashes and width. The same results give the same bytes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from resilient_client._cli.simulate.experiment import Experiment, Result
from resilient_client._cli.simulate.numbers import MEASURES, Spread, describe_seeds, format_spread, spread
from resilient_client._cli.simulate.series import Incident, Series, focus_upstream, incidents_of, series_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY: Final = "#5f6368"
BLUE: Final = "#0072b2"
ORANGE: Final = "#d55e00"
GREEN: Final = "#009e73"
PURPLE: Final = "#a0407a"
STYLE: Final[dict[Any, Any]] = {  # matplotlib types it as a literal of every name there is
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": "#202124",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e6e8",
    "grid.linewidth": 0.6,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "svg.hashsalt": "resilient-client",  # without it the identifiers differ from run to run
}
_BAND: Final = "#eceff1"


def figure(experiment: Experiment, results: Sequence[Result]) -> Figure:
    """Draw a comparison. Over several seeds, lines are medians and bands reach from the lowest to the highest."""
    with mpl.rc_context(STYLE):
        return _figure(experiment, results)


def saved(picture: Figure, kind: str) -> bytes:
    """Return a figure as the bytes of a ``png`` or ``svg`` file, without a date, so that a repeat is identical."""
    taken = BytesIO()
    with mpl.rc_context(STYLE):
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        picture.savefig(taken, format=kind, dpi=150, facecolor="white", metadata=metadata)
    return taken.getvalue()


def _figure(experiment: Experiment, results: Sequence[Result]) -> Figure:
    scenario = experiment.scenario
    focus = focus_upstream(scenario)
    across = 2 if len(results) == 4 else min(3, len(results))
    down = math.ceil(len(results) / across)
    picture = Figure(figsize=(max(5.6, 3.9 * across), 3.3 * down + 0.9), layout="constrained")
    FigureCanvasAgg(picture)
    heights = [row for _ in range(down) for row in (4.0, 1.0)]
    grid = picture.subplots(2 * down, across, squeeze=False, sharex=True, height_ratios=heights)
    top = 1.0
    for number, result in enumerate(results):
        row, column = 2 * (number // across), number % across
        runs = [series_of(run, focus) for run in result.runs]
        top = max(top, *(max(*one.attempts, *one.offered) for one in runs))
        _panel(grid[row][column], grid[row + 1][column], result, runs, incidents_of(scenario, focus))
        if column == 0:
            grid[row][column].set_ylabel(f"requests to {focus} per second")
            grid[row + 1][column].set_ylabel("circuits\nopen, %")
        if row + 2 == 2 * down or number + across >= len(results):
            grid[row + 1][column].set_xlabel("time, s")
            grid[row + 1][column].tick_params(labelbottom=True)
    for number in range(down * across):
        row, column = 2 * (number // across), number % across
        if number >= len(results):
            grid[row][column].set_axis_off()
            grid[row + 1][column].set_axis_off()
        grid[row][column].set(ylim=(0, top * 1.08), xlim=(0, math.ceil(scenario.duration)))
    handles, labels = grid[0][0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    picture.suptitle(f"{scenario.name}", x=0.01, ha="left", fontweight="bold")
    picture.supxlabel(
        f"{experiment.command}\n{describe_seeds(experiment.seeds)}", fontsize=7.5, color=GREY, x=0.01, ha="left"
    )
    return picture


def _panel(loads: Axes, circuits: Axes, result: Result, runs: Sequence[Series], found: Sequence[Incident]) -> None:
    loads.set_title(result.name, loc="left", fontweight="bold", fontsize=9.5 if len(result.name) < 30 else 8, pad=18)
    loads.annotate(
        _short_result(result), (0, 1), xycoords="axes fraction", xytext=(0, 5), textcoords="offset points", fontsize=8,
        color=GREY,
    )  # fmt: skip  # one argument per line is not easier to read
    for incident in found:
        for axes in (loads, circuits):
            axes.axvspan(incident.begins, incident.ends, color=_BAND, zorder=0, linewidth=0)
        loads.annotate(
            incident.name, ((incident.begins + incident.ends) / 2, 1), xycoords=("data", "axes fraction"),
            xytext=(0, -3), textcoords="offset points", ha="center", va="top", fontsize=8, color=GREY,
        )  # fmt: skip  # one argument per line is not easier to read
    _line(loads, runs, lambda one: one.offered, color=GREY, label="offered", linestyle=(0, (4, 2)), linewidth=1.2)
    _line(loads, runs, lambda one: one.attempts, color=ORANGE, label="attempts", linewidth=1.4)
    _line(loads, runs, lambda one: one.goodput, color=BLUE, label="goodput", linewidth=2.0)
    circuits.set(ylim=(0, 105), yticks=(0, 100))
    if runs[0].open is None:
        circuits.text(
            0.5, 0.5, "no circuit breaker", transform=circuits.transAxes, ha="center", va="center", color=GREY
        )
        return
    middle, low, high = _medians([one.open or () for one in runs])
    seconds = range(len(middle) + 1)
    circuits.stairs([100 * each for each in middle], seconds, color=PURPLE, fill=True, alpha=0.85)
    if len(runs) > 1:
        circuits.stairs([100 * each for each in high], seconds, baseline=[100 * each for each in low],
                        color=PURPLE, fill=True, alpha=0.25)  # fmt: skip  # as above


def _line(axes: Axes, runs: Sequence[Series], of: Callable[[Series], Sequence[float]], **style: object) -> None:
    middle, low, high = _medians([of(one) for one in runs])
    seconds = [second + 0.5 for second in range(len(middle))]
    axes.plot(seconds, middle, **style)  # type: ignore[arg-type]  # what plot takes is checked by plot
    if len(runs) > 1:
        axes.fill_between(seconds, low, high, color=str(style["color"]), alpha=0.2, linewidth=0)


def _medians(runs: Sequence[Sequence[float]]) -> tuple[list[float], list[float], list[float]]:
    """Return, second by second over the seeds, the median, the lowest and the highest value."""
    columns = list(zip(*runs, strict=True))
    return [statistics.median(c) for c in columns], [min(c) for c in columns], [max(c) for c in columns]


def _short_result(result: Result) -> str:
    measures = {measure.key: (measure, spread(result, measure).median) for measure in MEASURES}
    success, recovery = (
        format_spread(measure, Spread(*[median] * 3)) for measure, median in (measures["success"], measures["recovery"])
    )
    back = {"-": "", "never": " · never recovers"}.get(recovery, f" · back in {recovery} s")
    return f"success {success} %{back}"
