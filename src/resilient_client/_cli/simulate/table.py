"""The table of a comparison: one line per measure, one column per variant. Pure. Colour only repeats the text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from resilient_client._cli.simulate.experiment import Experiment, Result
from resilient_client._cli.simulate.numbers import LEGEND, MEASURES, describe_seeds, format_spread, spread
from resilient_client._cli.text import sanitize

_GAP = 2


def heading(experiment: Experiment, width: int) -> Iterator[Text]:
    """Yield the name and description of the scenario, and which seeds the numbers are from."""
    scenario = experiment.scenario
    title = f"{scenario.name}: {experiment.about}" if experiment.about else scenario.name
    for number, line in enumerate(textwrap.wrap(sanitize(title), width)):
        yield Text(line, style="bold" if number == 0 else "")
    yield Text(f"{scenario.duration:g} s; {describe_seeds(experiment.seeds)}", style="dim")


def table(results: Sequence[Result], width: int) -> Iterator[Text]:
    """Yield the lines of the table. Variants that do not fit the width go to further tables below."""
    labels = [f"{measure.name}, {measure.unit}" for measure in MEASURES]
    first = max(map(cell_len, labels))
    columns = [_column(result) for result in results]
    while columns:
        taken = _fitting(columns, width - first)
        lines = max(len(column.head) for column in columns[:taken])
        heads = [[""] * (lines - len(column.head)) + column.head for column in columns[:taken]]
        for line in range(lines):
            text = Text(" " * first)
            for head, column in zip(heads, columns, strict=False):
                text.append(head[line].rjust(column.width), style="bold")
            yield text
        for line, label in enumerate(labels):
            text = Text(label.ljust(first))
            for column in columns[:taken]:
                text.append(
                    column.cells[line].rjust(column.width), style="red" if "never" in column.cells[line] else ""
                )
            yield text
        columns = columns[taken:]
        if columns:
            yield Text()


def legend(width: int) -> Iterator[Text]:
    """Yield the explanation of the measures."""
    for line in textwrap.wrap(LEGEND, width):
        yield Text(line, style="dim")


class _Column(NamedTuple):
    head: list[str]
    cells: list[str]
    width: int


def _column(result: Result) -> _Column:
    head = [f"{part}," for part in result.name.split(", ")]
    head[-1] = head[-1].removesuffix(",")
    cells = [format_spread(measure, spread(result, measure)) for measure in MEASURES]
    return _Column(head, cells, max(map(cell_len, (*head, *cells))) + _GAP)


def _fitting(columns: Sequence[_Column], room: int) -> int:
    """Return how many columns fit, at least one."""
    taken = 0
    for column in columns:
        room -= column.width
        if room < 0:
            break
        taken += 1
    return max(1, taken)
