"""The stages in which an attempt spends its time: their order, colours and bar. Pure functions."""

from __future__ import annotations

from rich.text import Text

from resilient_client._core.timings import Timings

STAGES = {"pool": "blue", "dns": "cyan", "connect": "yellow", "tls": "magenta", "first_byte": "green", "body": "white"}
"""The stages in order, with their colours."""
_NOTEWORTHY_WAIT = 0.001  # seconds in the pool. A single call never waits there, but the stage is timed


def stage_times(timings: Timings) -> list[tuple[str, float]]:
    """Return the stages that took place, with their seconds. The pool is left out unless the attempt waited there."""
    return [
        (stage, seconds)
        for stage, seconds in zip(timings._fields, timings, strict=True)
        if seconds is not None and (stage != "pool" or seconds >= _NOTEWORTHY_WAIT)
    ]


def stage_label(stage: str) -> str:
    """Return the name of a stage for people."""
    return stage.replace("_", " ")


def stage_bar(stages: list[tuple[str, float]], whole: float, cells: int) -> Text:
    """Draw the stages one after another, to scale. At least one cell is drawn if there are stages.

    Args:
        stages: The stages from ``stage_times``.
        whole: The seconds that fill all cells.
        cells: The width.
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
    """Return the key to the colours of the stages."""
    line = Text()
    for name in names:
        line.append("  " if line else "").append("━ ", style=STAGES[name]).append(stage_label(name), style="dim")
    return line
