"""The course of a run as text: what was offered, sent and answered, and the circuits, second by second. Pure.

All strips of all variants have one scale, so that heights can be compared: a strip of attempts that is taller than
what is offered is a storm. Marks and words tell everything; colour only adds.
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
_TWO_ABREAST: Final = 150
"""Columns from which on panels stand side by side."""
_BETWEEN: Final = 4
_ROWS: Final = 2
"""Lines of what is offered, unless attempts would need more than ``_MAX_ROWS``."""
_MAX_ROWS: Final = 6
_HALF_OPEN: Final = "◐"
_CAPTION: Final = (
    "requests to {focus} a second, at the left the most in any second; all strips have one scale, a column is {column} "
    "s. circuits: the share that is open, ◐ half-open."
)


class Panel(NamedTuple):
    """One variant, drawn.

    Attributes:
        title: Its name.
        series: Its first run.
    """

    title: str
    series: Series


def timelines(results: Sequence[Result], width: int) -> Iterator[Text]:
    """All variants, below one another, or in twos where there is room; of the first seed."""
    scenario = results[0].runs[0].scenario
    focus = focus_upstream(scenario)
    panels = [Panel(result.name, series_of(result.runs[0], focus)) for result in results]
    found = incidents_of(scenario, focus)
    abreast = 2 if width >= _TWO_ABREAST and len(panels) > 1 else 1
    each = (width - (abreast - 1) * _BETWEEN) // abreast
    scale = _scale(panels)
    drawn = [list(panel(one, found, each, scale)) for one in panels]
    for first in range(0, len(drawn), abreast):
        if first:
            yield Text()
        yield from _side_by_side(drawn[first : first + abreast], each)
    yield Text()
    column = math.ceil(scenario.duration) / (each - _LABEL)
    for line in textwrap.wrap(_CAPTION.format(focus=focus, column=format_number(column)), width):
        yield Text(line, style="dim")


def panel(one: Panel, found: Sequence[Incident], width: int, scale: float) -> Iterator[Text]:
    """One variant.

    Args:
        one: What to draw.
        found: What went wrong meanwhile.
        width: Columns there are.
        scale: Calls a second that fill one line.
    """
    told = one.series
    seconds, columns = len(told.offered), width - _LABEL
    yield Text(f"── {one.title} ".ljust(width, "─"), style="bold")
    for name, numbers, style in (
        ("offered", told.offered, "dim"),
        ("attempts", told.attempts, "yellow"),
        ("goodput", told.goodput, "green"),
    ):
        means = _means(numbers, columns)
        rows = max(1, math.ceil(max(means) / scale - 1e-9))
        labels = [f"{name:<8}{max(numbers):6.0f}", *[""] * (rows - 1)]
        for label, line in zip(labels, bars(means, rows * scale, rows), strict=True):
            yield Text.assemble(label.ljust(_LABEL), (line, style))
    yield Text.assemble("circuits".ljust(_LABEL), (_circuits(told, columns), "red"))
    yield Text.assemble("incident".ljust(_LABEL), (_incident_line(found, seconds, columns), "magenta"))
    yield Text(" " * _LABEL + _axis(seconds, columns), style="dim")


def _scale(panels: Sequence[Panel]) -> float:
    """Calls a second that one line stands for, so that the tallest strip is not too tall."""
    offered = max(max(one.series.offered) for one in panels)
    attempts = max(max(one.series.attempts) for one in panels)
    return max(offered / _ROWS, attempts / _MAX_ROWS, 1.0)


def _means(numbers: Sequence[float], columns: int) -> list[float]:
    """The mean of the stretch of time that each column stands for; seconds are cut where columns begin and end."""
    width = len(numbers) / columns
    means = []
    for column in range(columns):
        begins, ends = column * width, (column + 1) * width
        seconds = range(int(begins), min(len(numbers), math.ceil(ends - 1e-9)))
        whole = sum(numbers[second] * (min(ends, second + 1) - max(begins, second)) for second in seconds)
        means.append(whole / width)
    return means


def _circuits(told: Series, columns: int) -> str:
    """A bar for the share that is open; ``◐`` where none is, but some are half-open."""
    if told.open is None or told.half_open is None:
        return "none"
    opened, half = _means(told.open, columns), _means(told.half_open, columns)
    (line,) = bars(opened, 1.0)
    return "".join(
        _HALF_OPEN if some and not share else bar for bar, some, share in zip(line, half, opened, strict=True)
    )


def _incident_line(found: Sequence[Incident], seconds: int, columns: int) -> str:
    """``━`` where something is wrong, and its name after it, where there is room."""
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
    """Round numbers of seconds under their columns."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if s * columns / seconds >= 8)
    line = [" "] * columns
    for second in range(0, seconds, step):
        begin, tick = int(second * columns / seconds), f"╵{second} s"
        if begin + len(tick) <= columns:
            line[begin : begin + len(tick)] = tick
    return "".join(line).rstrip()


def _side_by_side(panels: Sequence[Sequence[Text]], width: int) -> Iterator[Text]:
    for lines in zip_longest(*panels):
        whole = Text()
        for number, line in enumerate(lines):
            cell = (line or Text()).copy()
            if number < len(lines) - 1:
                cell.pad_right(width + _BETWEEN - cell.cell_len)
            whole.append_text(cell)
        whole.rstrip()
        yield whole
