"""The stages in which an attempt spends its time: their order, their colours, their bar. Pure functions."""

from __future__ import annotations

from rich.text import Text

from resilient_client._core.timings import Timings

STAGES = {"pool": "blue", "dns": "cyan", "connect": "yellow", "tls": "magenta", "first_byte": "green", "body": "white"}
"""The stages in order, with their colours."""
_NOTEWORTHY_WAIT = 0.001  # seconds in the pool; a call on its own never waits there


def stage_times(timings: Timings) -> list[tuple[str, float]]:
    """The stages that took place, with their seconds; waiting for the pool only where there was a wait."""
    return [
        (stage, seconds)
        for stage, seconds in zip(timings._fields, timings, strict=True)
        if seconds is not None and (stage != "pool" or seconds >= _NOTEWORTHY_WAIT)
    ]


def stage_label(stage: str) -> str:
    """What people call a stage."""
    return stage.replace("_", " ")


def stage_bar(stages: list[tuple[str, float]], whole: float, cells: int) -> Text:
    """The stages one after another, to scale; the last cell of a bar that is not empty is always to be seen.

    Args:
        stages: As ``stage_times`` gives them.
        whole: Seconds that stand for all cells.
        cells: How many there are.
    """
    line, end, drawn = Text(), 0.0, 0
    for stage, seconds in stages:
        end += seconds
        upto = min(cells, round(cells * end / whole)) if whole > 0 else 0
        line.append("━" * (upto - drawn), style=STAGES[stage])
        drawn = max(drawn, upto)
    if not drawn and stages:
        line.append("━", style=STAGES[max(stages, key=lambda each: each[1])[0]])
    return line


def stage_legend(names: list[str]) -> Text:
    """Which colour is which stage."""
    line = Text()
    for name in names:
        line.append("  " if line else "").append("━ ", style=STAGES[name]).append(stage_label(name), style="dim")
    return line
