"""A comparison as text: the scenario, the table, the timelines and the legend. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from resilient_client._cli.simulate.experiment import Experiment, Result
from resilient_client._cli.simulate.table import heading, legend, table
from resilient_client._cli.simulate.timeline import timelines


def report(experiment: Experiment, results: Sequence[Result], width: int) -> Iterator[Text]:
    """Yield all lines. A line exceeds ``width`` (at least 60) only if a name does."""
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
