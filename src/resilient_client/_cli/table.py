"""The table of a health check for a terminal: one line per target, and below it the reason if it is not up.

Pure functions. Every terminal gets state, status and time; bar, history, certificate and stages are added as the width
allows. If the height does not suffice, healthy targets are left out first.
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
"""The mark and the colour of a state. Its name is always printed, too: colour alone would not be enough."""
_NAME = 32  # cells that a name gets before any optional column does
_GAP = "  "
_SPARKS = "▁▂▃▄▅▆▇"


class Row(NamedTuple):
    """A target in the table.

    Attributes:
        result: The latest result. Before the first check its state is unknown.
        pending: Whether the target is being checked now.
        history: The results of the checks, the latest last: seconds, or ``None`` for a failed check.
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
"""The layouts, widest first: columns for stages and certificate, checks in the history, cells of the bar."""


def table(rows: Sequence[Row], summary: Text, *, width: int, height: int | None = None, colours: bool = True) -> Group:
    """Draw the whole table.

    Args:
        rows: One per target, in order.
        summary: The line at the bottom.
        width: Columns of the terminal.
        height: Lines of the terminal, or ``None`` for no limit.
        colours: Whether there are colours. Without them there are no bars, because only colours distinguish the stages.
    """
    columns = _columns(rows, width, colours=colours)
    named = [name for name in STAGES if name in _stages_of(rows)]
    keys = [stage_legend(named)] if named and columns[-1].title == "" else []
    kept = rows if height is None else _fitting(rows, height - 3 - len(keys))
    lines = [Text(_GAP.join(_cell(c.title, c) for c in columns).rstrip(), style="dim")]
    for row in kept:
        lines.append(_line(row, columns))
        if reason := status_reason(row.result):
            lines.append(Text(f"  └ {shorten_middle(reason, width - 4)}", style="dim"))
    if left_out := len(rows) - len(kept):
        lines.append(Text(f"  … and {left_out} more", style="dim"))
    return Group(*lines, Text(), *keys, summary)


def summary_line(rows: Sequence[Row], state: HealthState, elapsed: float) -> Text:
    """Return the overall state, the number of targets in each state, and the duration, in one line."""
    counts = Counter(row.result.state for row in rows)
    counted = ", ".join(f"{counts[each]} {each}" for each in HealthState if counts[each])
    mark, style = MARKS[state]
    return Text.assemble(
        (f"{mark} {_word(state)}", f"bold {style}"), (f"  {counted} · {format_seconds(elapsed)}", "dim")
    )


def status_reason(result: ProbeResult) -> str:
    """Return why a target is not simply up, or ``""`` if it is up, or if no reason is known."""
    text = result.reason
    if result.streak:  # the latest checks contradict the state, but are too few to change it
        times = "once" if result.streak == 1 else f"{result.streak} times in a row"
        text = f"answered {times}, not yet counted as up" if result.ok else f"failed {times}: {text}"
    return f"not critical: {text}" if text and not result.critical else text


def sparkline(history: Sequence[float | None], cells: int) -> Text:
    """Draw the latest checks as small bars, scaled to the slowest of them. A failed check is a red cross."""
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
    """Return the columns of the widest layout that leaves enough space for the names."""
    longest = max(cell_len(title) for title in ["target", *(row.result.name for row in rows)])
    columns, room = [], 0
    for layout in _LAYOUTS:
        columns = _columns_after_names(rows, layout, colours=colours)
        room = width - 2 - sum(len(_GAP) + column.width for column in columns)
        if room >= min(longest, _NAME):
            break
    name = max(1, min(longest, room))
    return [_Column("  target", 2 + name, lambda row: _name(row, name)), *columns]


def _columns_after_names(rows: Sequence[Row], layout: _Layout, *, colours: bool) -> list[_Column]:
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
    """Return the stages in which any target spent time."""
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
    """Return the rows that fit, in their order. Unhealthy targets take precedence over pending and healthy ones."""
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
