"""The course of a run as text: calls offered, attempts, goodput and circuits, second by second. Pure.

All strips of all variants have the same scale, so that their heights can be compared: attempts that are taller than
the offered calls are a retry storm. Colour only repeats what symbols and words show.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final, NamedTuple

from rich.text import Text

from resilient_client._cli.charts import bars
from resilient_client._cli.simulate.experiment import Result
from resilient_client._cli.simulate.numbers import format_number
from resilient_client._cli.simulate.series import Incident, Series, focus_upstream, incidents_of, series_of

_LABEL: Final = 15
_SIDE_BY_SIDE: Final = 150
"""Columns from which two panels stand side by side."""
_BETWEEN: Final = 4
_ROWS: Final = 2
"""The height of the tallest offered strip in lines, unless attempts would then exceed ``_MAX_ROWS``."""
_MAX_ROWS: Final = 6
_HALF_OPEN: Final = "◐"
_CAPTION: Final = (
    "requests to {focus} per second, on the left the maximum; all strips have the same scale, a column is {column} s. "
    "circuits: the share that is open, ◐ half-open."
)


class Panel(NamedTuple):
    """What a panel shows.

    Attributes:
        title: The name of the variant.
        series: The series of its first run.
    """

    title: str
    series: Series


def timelines(results: Sequence[Result], width: int) -> Iterator[Text]:
    """Yield the panels of all variants for the first seed, two side by side if the width allows."""
    scenario = results[0].runs[0].scenario
    focus = focus_upstream(scenario)
    panels = [Panel(result.name, series_of(result.runs[0], focus)) for result in results]
    found = incidents_of(scenario, focus)
    abreast = 2 if width >= _SIDE_BY_SIDE and len(panels) > 1 else 1
    each = (width - (abreast - 1) * _BETWEEN) // abreast
    scale = _scale(panels)
    drawn = [list(panel(one, found, each, scale)) for one in panels]
    for first in range(0, len(drawn), abreast):
        if first:
            yield Text()
        yield from _join(drawn[first : first + abreast], each)
    yield Text()
    column = math.ceil(scenario.duration) / (each - _LABEL)
    for line in textwrap.wrap(_CAPTION.format(focus=focus, column=format_number(column)), width):
        yield Text(line, style="dim")


def panel(one: Panel, found: Sequence[Incident], width: int, scale: float) -> Iterator[Text]:
    """Yield the lines of one panel.

    Args:
        one: The variant.
        found: The incidents to mark.
        width: The width of the panel in columns.
        scale: The calls per second that fill one line.
    """
    series = one.series
    seconds, columns = len(series.offered), width - _LABEL
    yield Text(f"── {one.title} ".ljust(width, "─"), style="bold")
    for name, numbers, style in (
        ("offered", series.offered, "dim"),
        ("attempts", series.attempts, "yellow"),
        ("goodput", series.goodput, "green"),
    ):
        means = _means(numbers, columns)
        rows = max(1, math.ceil(max(means) / scale - 1e-9))
        labels = [f"{name:<8}{max(numbers):6.0f}", *[""] * (rows - 1)]
        for label, line in zip(labels, bars(means, rows * scale, rows), strict=True):
            yield Text.assemble(label.ljust(_LABEL), (line, style))
    yield Text.assemble("circuits".ljust(_LABEL), (_circuits(series, columns), "red"))
    yield Text.assemble("incident".ljust(_LABEL), (_incident_line(found, seconds, columns), "magenta"))
    yield Text(" " * _LABEL + _axis(seconds, columns), style="dim")


def _scale(panels: Sequence[Panel]) -> float:
    """Return the calls per second that fill one line, such that no strip exceeds its maximal height."""
    offered = max(max(one.series.offered) for one in panels)
    attempts = max(max(one.series.attempts) for one in panels)
    return max(offered / _ROWS, attempts / _MAX_ROWS, 1.0)


def _means(numbers: Sequence[float], columns: int) -> list[float]:
    """Return the mean of the time that each column covers. A second on a boundary counts in proportion."""
    width = len(numbers) / columns
    means = []
    for column in range(columns):
        begins, ends = column * width, (column + 1) * width
        seconds = range(int(begins), min(len(numbers), math.ceil(ends - 1e-9)))
        whole = sum(numbers[second] * (min(ends, second + 1) - max(begins, second)) for second in seconds)
        means.append(whole / width)
    return means


def _circuits(series: Series, columns: int) -> str:
    """Draw a bar for the share of open circuits, or ``◐`` if none is open, but some are half-open."""
    if series.open is None or series.half_open is None:
        return "none"
    opened, half = _means(series.open, columns), _means(series.half_open, columns)
    (line,) = bars(opened, 1.0)
    return "".join(
        _HALF_OPEN if some and not share else bar for bar, some, share in zip(line, half, opened, strict=True)
    )


def _incident_line(found: Sequence[Incident], seconds: int, columns: int) -> str:
    """Mark each incident with ``━``, followed by its name if there is enough space."""
    line = [" "] * columns
    for incident in found:
        begin = min(columns - 1, int(incident.begins * columns / seconds))
        end = max(begin + 1, min(columns, round(incident.ends * columns / seconds)))
        line[begin:end] = "━" * (end - begin)
        name = f" {incident.name}"
        if all(cell == " " for cell in line[end : end + len(name)]) and end + len(name) <= columns:
            line[end : end + len(name)] = name
    return "".join(line).rstrip()


def _axis(seconds: int, columns: int) -> str:
    """Draw the axis of time, with ticks at round numbers of seconds."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if s * columns / seconds >= 8)
    line = [" "] * columns
    for second in range(0, seconds, step):
        begin, tick = int(second * columns / seconds), f"╵{second} s"
        if begin + len(tick) <= columns:
            line[begin : begin + len(tick)] = tick
    return "".join(line).rstrip()


def _join(panels: Sequence[Sequence[Text]], width: int) -> Iterator[Text]:
    for lines in zip_longest(*panels):
        whole = Text()
        for number, line in enumerate(lines):
            cell = (line or Text()).copy()
            if number < len(lines) - 1:
                cell.pad_right(width + _BETWEEN - cell.cell_len)
            whole.append_text(cell)
        whole.rstrip()
        yield whole
