"""A comparison as text, whole: what was run, the table, the course of things, and how to read it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from resilient_client._cli.simulate.experiment import Experiment, Result
from resilient_client._cli.simulate.table import heading, legend, table
from resilient_client._cli.simulate.timeline import timelines


def report(experiment: Experiment, results: Sequence[Result], width: int) -> Iterator[Text]:
    """All lines, none wider than ``width`` unless a name is."""
    width = max(60, width)
    yield from heading(experiment, width)
    yield Text()
    yield from table(results, width)
    yield Text()
    yield from timelines(results, width)
    if len(experiment.seeds) > 1:
        yield Text(f"the timeline is that of seed {experiment.seeds[0]}", style="dim")
    yield Text()
    yield from legend(width)
