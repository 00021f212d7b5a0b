"""How the demo is shown: a live picture on a terminal, plain lines elsewhere, and the last picture as SVG.

Everything but the renderers is pure: the same snapshot and size give the same text. Colour only repeats what words and
symbols say.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import StringIO
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.terminal_theme import MONOKAI
from rich.text import Text

from resilient_client._cli.charts import bars, gauge, slices
from resilient_client._cli.demo.orders import Fact
from resilient_client._cli.demo.state import CELLS, FOLD_SECONDS, Entry, Snapshot, UpstreamSnapshot, prevailing
from resilient_client._cli.demo.upstreams import UPSTREAMS, Condition, Timetable
from resilient_client._cli.output import supports_colour, supports_live
from resilient_client._policies.circuit.circuit import CircuitState

MIN_SIZE: Final = (76, 22)
"""The columns and lines that a picture needs."""
PLAIN_WIDTH: Final = 80
"""The width of plain lines."""

_SUMMARY_LINES: Final = 11  # of the summary and the prompt after it
_LABEL: Final = 16  # columns left of the charts
_ASIDE: Final = 27  # columns right of them
_GAP: Final = 3  # columns between charts and journal
_SIDE_BY_SIDE: Final = 150  # columns from which the journal stands to the right of the charts,
_JOURNAL_SHARE: Final = 0.42  # with this share of the width
_HEADROOM: Final = 1.6  # the charts can show this many times the average rate
_MIN_LINES: Final = 18  # lines above the journal with charts of one row. Charts of two rows need six more
_PLAIN_COLUMN: Final = 23  # columns per upstream in plain lines
_SVG_SIZE: Final = (110, 32)
_REMOTE_FONT: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)

# Name, mark in the chart, and colour. The forced states do not occur, because the demo forces no circuit.
_CIRCUITS: Final[dict[CircuitState, tuple[str, str, str]]] = {
    CircuitState.CLOSED: ("● closed", "─", "green"),
    CircuitState.OPEN: ("○ OPEN", "×", "red"),
    CircuitState.HALF_OPEN: ("◐ half-open", "◐", "yellow"),
}
_OUTCOMES: Final = {"ok": "green", "circuit_open": "cyan"}
_MARKS: Final = {"*": "bold magenta", "!": "bold", "~": "yellow", "x": "red", "-": "cyan"}
_EMPHASIZED: Final = "*!"  # changes that affect many calls


class Renderer(AbstractContextManager["Renderer"], Protocol):
    """Shows a run: entered before it, updated during it, and given the summary after it was left."""

    def update(self, now: Snapshot) -> None:
        """Show a snapshot."""

    def summarise(self, facts: list[Fact]) -> None:
        """Show the summary."""


def create_renderer(console: Console, timetable: Timetable) -> Renderer:
    """Create the live renderer if ``console`` is a large enough terminal with colours, else the plain one."""
    large = console.width >= MIN_SIZE[0] and console.height >= MIN_SIZE[1]
    if supports_live(console) and supports_colour(console) and large and console.encoding.startswith("utf"):
        return LiveRenderer(console)
    return PlainRenderer(console, timetable)


class LiveRenderer:
    """Redraws the picture on the terminal's alternate screen, and leaves the last one on the normal screen."""

    def __init__(self, console: Console) -> None:
        """Draw on ``console``, which must be a terminal."""
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._last: Snapshot | None = None

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)
        if self._last is not None:
            # Leave room for the summary, so that most screens hold both.
            self._console.print(draw(self._last, self._console.width, self._console.height - _SUMMARY_LINES))

    def update(self, now: Snapshot) -> None:
        """Redraw the picture."""
        self._last = now
        self._live.update(draw(now, self._console.width, self._console.height), refresh=True)

    def summarise(self, facts: list[Fact]) -> None:
        """Print the summary below the picture."""
        table = Table.grid(padding=(0, 2))
        for fact in facts:
            style = "" if fact.ok is None else "green" if fact.ok else "bold red"
            mark = "" if fact.ok is None else "✓ " if fact.ok else "✗ "
            table.add_row(f"  {fact.name}", Text(mark + fact.text, style))
        self._console.print(table)


class PlainRenderer:
    """Prints a line per journal entry and a status line per second, ordered by time.

    An entry is printed when ``FOLD_SECONDS`` have passed since it began: until then its count may grow.
    """

    def __init__(self, console: Console, timetable: Timetable) -> None:
        """Print to ``console``, without colours."""
        self._console = console
        self._timetable = timetable
        self._last: Snapshot | None = None
        self._statuses: list[tuple[float, list[str]]] = []
        self._printed = 0  # entries

    def __enter__(self) -> Self:
        self._print(plain_heading(self._timetable))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._last is not None and kind is None:
            self._print_until(self._last.elapsed, self._last)

    def update(self, now: Snapshot) -> None:
        """Print the entries that are complete, and a status line if a second has passed."""
        if self._last is not None and int(now.elapsed) > int(self._last.elapsed):
            self._statuses.append((now.elapsed, [plain_status(now)]))
        self._last = now
        self._print_until(now.elapsed - FOLD_SECONDS, now)

    def summarise(self, facts: list[Fact]) -> None:
        """Print the summary."""
        self._print([""])
        for fact in facts:
            self._print(plain_fact(fact))

    def _print_until(self, end: float, now: Snapshot) -> None:
        due = [entry for entry in now.entries[self._printed :] if entry.at <= end]
        self._printed += len(due)
        timed = [(entry.at, plain_entry(entry)) for entry in due] + [item for item in self._statuses if item[0] <= end]
        self._statuses = [item for item in self._statuses if item[0] > end]
        for _, lines in sorted(timed, key=itemgetter(0)):
            self._print(lines)

    def _print(self, lines: Iterable[str]) -> None:
        for text in lines:
            self._console.print(text, markup=False, soft_wrap=True)


def plain_heading(timetable: Timetable) -> list[str]:
    """Return the first lines of the plain form."""
    return [
        f"order service: {timetable.rate:g} orders per second for {timetable.seconds:g} s, seed {timetable.seed}",
        "each second: calls made > attempts sent, and the circuit",
        "",
        " " * 10 + "".join(name.ljust(_PLAIN_COLUMN) for name in UPSTREAMS).rstrip(),
    ]


def plain_status(now: Snapshot) -> str:
    """Return one line about the second before ``now``, in the columns of the heading."""
    cells = [
        f"{upstream.calls_per_second:2.0f} > {upstream.sent_per_second:2.0f} {upstream.circuit.replace('_', '-')}"
        for upstream in now.upstreams
    ]
    return f"{now.elapsed:5.1f} s = " + "".join(cell.ljust(_PLAIN_COLUMN) for cell in cells).rstrip()


def plain_entry(entry: Entry) -> list[str]:
    """Return a journal entry, wrapped."""
    count = f" (x{entry.count})" if entry.count > 1 else ""
    begin = f"{entry.at:5.1f} s {entry.mark} {entry.upstream}: "
    return textwrap.wrap(f"{entry.text}{count}", PLAIN_WIDTH, initial_indent=begin, subsequent_indent=" " * 12)


def plain_fact(fact: Fact) -> list[str]:
    """Return a line of the summary, wrapped."""
    return textwrap.wrap(fact.text, PLAIN_WIDTH, initial_indent=fact.name.ljust(10), subsequent_indent=" " * 10)


def write_svg(now: Snapshot, path: Path) -> None:
    """Draw ``now`` into ``path``, as an SVG that loads nothing from the network.

    Raises:
        OSError: The file cannot be written.
    """
    console = Console(record=True, width=_SVG_SIZE[0], file=StringIO(), force_terminal=True, color_system="standard")
    console.print(draw(now, *_SVG_SIZE))
    svg = console.export_svg(title="resilient-client demo", unique_id="demo", theme=MONOKAI)
    path.write_text(_REMOTE_FONT.sub("", svg), encoding="utf-8")


def draw(now: Snapshot, width: int, height: int) -> RenderableType:
    """Draw ``now`` for a terminal of ``width`` columns and ``height`` lines."""
    if width < _SIDE_BY_SIDE:
        upper = _charts(now, width, _chart_rows(height - 8))
        return Group(*upper, *_journal(now.entries, width, height - len(upper)))
    journal = int(width * _JOURNAL_SHARE)
    upper = _charts(now, width - journal - _GAP, _chart_rows(height))
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_row(Group(*upper), Group(*_journal(now.entries, journal, len(upper))))
    return grid


def _chart_rows(height: int) -> int:
    """Return how many lines each chart may have if everything above the journal must fit into ``height``."""
    return 2 if height >= _MIN_LINES + 6 else 1


def _charts(now: Snapshot, width: int, rows: int) -> list[Text]:
    """Draw everything but the journal: the title, the time, each upstream, the totals."""
    timetable = now.timetable
    columns = max(1, width - _LABEL - _ASIDE)  # a terminal may shrink below any minimum while the demo runs
    top = _HEADROOM * timetable.rate * timetable.seconds / CELLS
    axis = _Axis(columns, now.elapsed / timetable.seconds, top, rows)
    lines = [_title(now, width), _time(now, columns)]
    for upstream in now.upstreams:
        lines += _panel(upstream, axis, width)
    return [*lines, _totals(now, width)]


def _title(now: Snapshot, width: int) -> Text:
    orders = f"{now.timetable.rate:g} orders per second, three calls each"
    seed = f"seed {now.timetable.seed}"
    gap = max(2, width - len("  order service  ") - len(orders) - len(seed))
    return Text.assemble(("  order service", "bold"), f"  {orders}{' ' * gap}", (seed, "dim"), no_wrap=True)


def _time(now: Snapshot, columns: int) -> Text:
    seconds = now.timetable.seconds
    elapsed = min(now.elapsed, seconds)
    done, missing = gauge(elapsed, seconds, columns)
    waiting = "  waiting for calls" if now.elapsed > seconds and now.outcomes.total() < now.calls else ""
    text = Text(f"  {elapsed:.1f} of {seconds:g} s".ljust(_LABEL), no_wrap=True)
    return text.append("━" * len(done), "bold").append("─" * len(missing), "dim").append(waiting, "dim")


def _totals(now: Snapshot, width: int) -> Text:
    outcomes = now.outcomes
    succeeded, refused = outcomes["ok"], outcomes["circuit_open"]
    recovered = sum(upstream.recovered for upstream in now.upstreams)
    made = f"  {now.orders} orders, {now.calls} calls: "
    text = Text.assemble(("── ", "dim"), ("all", "bold"), made, no_wrap=True, overflow="ellipsis")
    text.append(f"{succeeded} ok", "green").append(f" ({recovered} by a retry)", "yellow").append(", ")
    text.append(f"{outcomes.total() - succeeded - refused} failed", "red").append(", ")
    text.append(f"{refused} refused", "cyan").append(" ")
    return text.append("─" * max(0, width - text.cell_len), "dim")


def _journal(entries: Sequence[Entry], width: int, height: int) -> list[Text]:
    """Draw the latest entries, the newest at the bottom, in at most ``height`` lines."""
    lines = [_entry(entry, width) for entry in entries[-height:]] if height > 0 else []
    return lines + [Text("")] * (height - len(lines))


def _entry(entry: Entry, width: int) -> Text:
    count = f" ×{entry.count}" if entry.count > 1 else ""
    text = Text.assemble((f"{entry.at:5.1f} s  ", "dim"), f"{entry.upstream:<9} ", no_wrap=True)
    text.append(f"{entry.mark} ", _MARKS[entry.mark]).append(entry.text, "bold" if entry.mark in _EMPHASIZED else "")
    text.truncate(width - len(count), overflow="ellipsis")
    return text.append(count, "cyan")


@dataclass(frozen=True, slots=True)
class _Axis:
    """What the charts of all upstreams share.

    Attributes:
        columns: Their width.
        done: The share of the run that is over.
        top: The number of calls per cell that fills the whole height.
        rows: Their height in lines.
    """

    columns: int
    done: float
    top: float
    rows: int


def _panel(upstream: UpstreamSnapshot, axis: _Axis, width: int) -> list[Text]:
    """Draw one upstream: its condition, calls and attempts over time, its circuit, and how its calls ended."""
    columns, done = axis.columns, axis.done
    health = ["red" if any(cells) else "cyan" for cells in slices(upstream.unhealthy, columns, done)]
    states = [prevailing(cells) for cells in slices(upstream.states, columns, done)]
    colours = [_CIRCUITS[state][2] for state in states]
    calls, sent = (
        bars([fmean(cells) for cells in slices(series, columns, done)], axis.top, axis.rows)
        for series in (upstream.calls, upstream.sent)
    )
    marks = "".join(_CIRCUITS[state][1] for state in states)
    in_flight = Text(f"in flight        {upstream.in_flight:5}")
    share = upstream.sent_per_second / upstream.calls_per_second if upstream.calls_per_second else 1.0
    attempts = Text(f"attempts / call  {share:5.2f}")
    return [
        _head(upstream, width),
        *_chart(f"  calls {upstream.calls_per_second:>4.0f}/s", calls, health, columns, in_flight),
        *_chart(f"  sent  {upstream.sent_per_second:>4.0f}/s", sent, colours, columns, attempts),
        *_chart("  circuit", [marks], colours, columns, _budget(upstream)),
        _outcomes(upstream),
    ]


def _head(upstream: UpstreamSnapshot, width: int) -> Text:
    healthy, wait = upstream.condition is Condition.HEALTHY, upstream.half_opens_in
    state, _, colour = _CIRCUITS[upstream.circuit]
    countdown = "" if wait is None else f", {wait:.{1 if wait < 10 else 0}f} s"
    left = [("── ", "dim"), (upstream.name, "bold"), ("  ✓ ", "green") if healthy else ("  ✗ ", "bold red")]
    left.append((f"{upstream.condition} ", "green" if healthy else "red"))
    right = [(" circuit ", ""), (state + countdown, f"bold {colour}"), (" ──", "dim")]
    gap = width - sum(len(text) for text, _ in left + right)
    return Text.assemble(*left, ("─" * max(1, gap), "dim"), *right, no_wrap=True)


def _chart(label: str, lines: Sequence[str], colours: Sequence[str], columns: int, aside: Text) -> list[Text]:
    """Draw a chart with a label to its left and a number to its right, both on its lowest line."""
    drawn = []
    for number, line in enumerate(lines, 1):
        text = Text((label if number == len(lines) else "").ljust(_LABEL), no_wrap=True)
        for colour, run in groupby(zip(line, colours, strict=True), key=itemgetter(1)):
            text.append("".join(character for character, _ in run), colour)
        drawn.append(text)
    drawn[-1].append(" " * (columns - len(lines[-1]) + 2)).append_text(aside)
    return drawn


def _budget(upstream: UpstreamSnapshot) -> Text:
    tokens, burst = upstream.budget
    filled, empty = gauge(tokens, burst, 10)
    return Text.assemble("budget ", (filled, "green"), (empty, "dim"), f"{tokens:5.1f}")


def _outcomes(upstream: UpstreamSnapshot) -> Text:
    """List how calls ended: successes first, then the failures, the most frequent first."""
    text = Text("  ", no_wrap=True, overflow="ellipsis")
    failures = sorted((item for item in upstream.outcomes.items() if item[0] != "ok"), key=lambda item: -item[1])
    for kind, count in [("ok", upstream.outcomes.get("ok", 0)), *failures]:
        text.append(f"{kind} ", "dim").append(str(count), _OUTCOMES.get(kind, "red"))
        if kind == "ok" and upstream.recovered:
            text.append(f" ({upstream.recovered} by a retry)", "yellow")
        text.append("  ")
    return text
