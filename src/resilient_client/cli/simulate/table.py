"""The table of a comparison: a line for each number, a column for each variant. Pure text; colour only adds."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from resilient_client.cli.simulate.experiment import Experiment, Result
from resilient_client.cli.simulate.numbers import LEGEND, MEASURES, over_seeds, shown, spread

_GAP = 2


def heading(experiment: Experiment, width: int) -> Iterator[Text]:
    """What was run, in what words the file has for it, and how to read the numbers."""
    scenario = experiment.scenario
    told = f"{scenario.name}: {experiment.about}" if experiment.about else scenario.name
    for number, line in enumerate(textwrap.wrap(told, width)):
        yield Text(line, style="bold" if number == 0 else "")
    yield Text(f"{scenario.duration:g} s; {over_seeds(experiment.seeds)}", style="dim")


def table(results: Sequence[Result], width: int) -> Iterator[Text]:
    """The numbers, as many tables below one another as the width needs."""
    labels = [f"{measure.name}, {measure.unit}" if measure.unit else measure.name for measure in MEASURES]
    first = max(map(cell_len, labels))
    columns = [_column(result) for result in results]
    while columns:
        taken, room = 0, width - first
        while taken < len(columns) and (taken == 0 or room >= _wide(columns[taken])):
            room -= _wide(columns[taken])
            taken += 1
        for line, label in enumerate(["", *labels]):
            text = Text(label.ljust(first))
            for column in columns[:taken]:
                cell = column[line]
                text.append(cell.rjust(_wide(column)), style=_style(line, cell))
            yield text
        columns = columns[taken:]
        if columns:
            yield Text()


def legend(width: int) -> Iterator[Text]:
    """What the lines of the table mean."""
    for line in textwrap.wrap(LEGEND, width):
        yield Text(line, style="dim")


def _column(result: Result) -> list[str]:
    return [result.name, *(shown(measure, spread(result, measure)) for measure in MEASURES)]


def _wide(column: Sequence[str]) -> int:
    return max(map(cell_len, column)) + _GAP


def _style(line: int, cell: str) -> str:
    if line == 0:
        return "bold"
    return "red" if "never" in cell else ""
