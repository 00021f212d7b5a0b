"""The table of a health check, for a terminal: a line a target, and below it what is wrong with it. Pure functions.

The columns fit the width: every terminal gets state, status and time; bar, history, certificate and each stage come
as there is room. What does not fit the height is left out, well targets first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Group
from rich.text import Text

from resilient_client._cli.stages import STAGES, stage_bar, stage_label, stage_legend, stage_times
from resilient_client._cli.text import format_seconds, shorten_middle
from resilient_client.health import HealthState, ProbeResult

MARKS = {
    HealthState.UP: ("●", "green"),
    HealthState.DEGRADED: ("▲", "yellow"),
    HealthState.DOWN: ("✗", "red"),
    HealthState.UNKNOWN: ("○", "dim"),
}
"""The mark and the colour of a state; the word stands beside it, for those who see no colours."""
_NAME = 32  # cells that a name gets before anything optional does
_GAP = "  "
_SPARKS = "▁▂▃▄▅▆▇"


class Row(NamedTuple):
    """What is known of a target.

    Attributes:
        result: Its latest result; of state unknown before the first.
        pending: Whether it is being asked now.
        history: Its earlier looks, the latest last: seconds, or ``None`` for one that failed.
    """

    result: ProbeResult
    pending: bool = False
    history: tuple[float | None, ...] = ()


class _Column(NamedTuple):
    title: str
    width: int
    cell: Callable[[Row], Text]
    right: bool = False


class _Layout(NamedTuple):
    stages: bool
    certificate: bool
    checks: int
    bar: int


_LAYOUTS = (
    _Layout(stages=True, certificate=True, checks=30, bar=24),
    _Layout(stages=False, certificate=True, checks=20, bar=24),
    _Layout(stages=False, certificate=True, checks=10, bar=16),
    _Layout(stages=False, certificate=False, checks=10, bar=8),
    _Layout(stages=False, certificate=False, checks=10, bar=0),
    _Layout(stages=False, certificate=False, checks=0, bar=0),
)
"""From the richest to the poorest: whether stages and certificate have columns, how many looks, how long a bar."""


def table(rows: Sequence[Row], summary: Text, *, width: int, height: int | None = None, colours: bool = True) -> Group:
    """The whole picture.

    Args:
        rows: One a target, in order.
        summary: The line at the bottom.
        width: Columns of the terminal.
        height: Lines that there are; ``None``: as many as it takes.
        colours: Whether colours tell the stages apart; without, there are no bars.
    """
    columns = _columns(rows, width, colours=colours)
    named = [name for name in STAGES if name in _stages_of(rows)]
    keys = [stage_legend(named)] if named and columns[-1].title == "" else []
    kept = rows if height is None else _fitting(rows, height - 3 - len(keys))
    lines = [Text(_GAP.join(_cell(c.title, c) for c in columns).rstrip(), style="dim")]
    for row in kept:
        lines.append(_line(row, columns))
        if why := status_reason(row.result):
            lines.append(Text(f"  └ {shorten_middle(why, width - 4)}", style="dim"))
    if left_out := len(rows) - len(kept):
        lines.append(Text(f"  … and {left_out} more", style="dim"))
    return Group(*lines, Text(), *keys, summary)


def summary_line(rows: Sequence[Row], state: HealthState, elapsed: float) -> Text:
    """How all targets stand, in one line."""
    counts = Counter(row.result.state for row in rows)
    told = ", ".join(f"{counts[each]} {each}" for each in HealthState if counts[each])
    mark, style = MARKS[state]
    return Text.assemble((f"{mark} {_word(state)}", f"bold {style}"), (f"  {told} · {format_seconds(elapsed)}", "dim"))


def status_reason(result: ProbeResult) -> str:
    """Why a target is not simply up, as far as anybody knows; ``""`` if it is."""
    text = result.reason
    if result.streak:  # the latest looks speak against the state, but are not enough to turn it
        times = "once" if result.streak == 1 else f"{result.streak} times in a row"
        text = f"answered {times}, not yet taken for up" if result.ok else f"failed {times}: {text}"
    return f"not critical: {text}" if text and not result.critical else text


def sparkline(history: Sequence[float | None], cells: int) -> Text:
    """The latest looks as little bars, to the scale of the slowest of them; a failed one is a red cross."""
    latest = history[-cells:]
    slowest = max((seconds for seconds in latest if seconds is not None), default=0.0)
    line = Text()
    for seconds in latest:
        if seconds is None:
            line.append("✗", style="red")
        else:
            share = seconds / slowest if slowest > 0 else 0.0
            line.append(_SPARKS[min(len(_SPARKS) - 1, int(share * len(_SPARKS)))], style="green")
    return line


def _columns(rows: Sequence[Row], width: int, *, colours: bool) -> list[_Column]:
    """The columns of the richest layout that leaves room for the names."""
    longest = max(cell_len(title) for title in ["target", *(row.result.name for row in rows)])
    columns, room = [], 0
    for layout in _LAYOUTS:
        columns = _beside_names(rows, layout, colours=colours)
        room = width - 2 - sum(len(_GAP) + column.width for column in columns)
        if room >= min(longest, _NAME):
            break
    name = max(1, min(longest, room))
    return [_Column("  target", 2 + name, lambda row: _name(row, name)), *columns]


def _beside_names(rows: Sequence[Row], layout: _Layout, *, colours: bool) -> list[_Column]:
    columns = [
        _Column("state", 8, _state),
        _Column("status", 6, lambda row: Text("" if row.result.status is None else str(row.result.status)), right=True),
        _Column("time", 7, _time, right=True),
    ]
    if layout.stages:
        columns += [_stage(name) for name in STAGES if name in _stages_of(rows)]
    if layout.certificate and any(row.result.days_left is not None for row in rows):
        columns.append(_Column("cert", 6, _days, right=True))
    if layout.checks and any(row.history for row in rows):
        columns.append(_Column("history", layout.checks, lambda row: sparkline(row.history, layout.checks)))
    if layout.bar and colours:
        slowest = max((row.result.elapsed for row in rows), default=0.0)
        columns.append(
            _Column("", layout.bar, lambda row: stage_bar(stage_times(row.result.timings), slowest, layout.bar))
        )
    return columns


def _stages_of(rows: Sequence[Row]) -> set[str]:
    """The stages in which any target spent time."""
    return {stage for row in rows for stage, _ in stage_times(row.result.timings)}


def _line(row: Row, columns: Sequence[_Column]) -> Text:
    line = Text()
    for position, column in enumerate(columns):
        cell = column.cell(row)
        space = " " * max(0, column.width - cell.cell_len)
        line.append(_GAP if position else "")
        line.append(space if column.right else "").append_text(cell).append("" if column.right else space)
    line.rstrip()
    return line


def _cell(title: str, column: _Column) -> str:
    return title.rjust(column.width) if column.right else set_cell_size(title, column.width)


def _name(row: Row, width: int) -> Text:
    mark, style = ("·", "dim") if row.pending else MARKS[row.result.state]
    return Text.assemble((mark, style), " ", (shorten_middle(row.result.name, width), "dim" if row.pending else ""))


def _state(row: Row) -> Text:
    if row.pending and row.result.state is HealthState.UNKNOWN:
        return Text("…", style="dim")
    state = row.result.state
    return Text(_word(state), style=MARKS[state][1])


def _word(state: HealthState) -> str:
    return state.upper() if state is HealthState.DOWN else state.value


def _time(row: Row) -> Text:
    return Text(format_seconds(row.result.elapsed) if row.result.attempts else "", style="dim" if row.pending else "")


def _stage(name: str) -> _Column:
    def cell(row: Row) -> Text:
        seconds = getattr(row.result.timings, name)
        return Text("" if seconds is None else format_seconds(seconds), style="dim")

    return _Column(stage_label(name), 10, cell, right=True)


def _days(row: Row) -> Text:
    days = row.result.days_left
    return Text("" if days is None else f"{days:.0f} d", style="dim")


def _fitting(rows: Sequence[Row], lines: int) -> Sequence[Row]:
    """The rows for which there is room, in their order; what is not well goes before what is pending or well."""
    cost = [2 if status_reason(row.result) else 1 for row in rows]
    if sum(cost) <= lines:
        return rows
    room, kept = lines - 1, set[int]()
    for index in sorted(range(len(rows)), key=lambda index: _urgency(rows[index])):
        if cost[index] > room:
            break
        room -= cost[index]
        kept.add(index)
    return [row for index, row in enumerate(rows) if index in kept]


def _urgency(row: Row) -> int:
    if row.result.state in (HealthState.DOWN, HealthState.DEGRADED):
        return 0
    return 1 if row.pending else 2
