"""A snapshot as something rich can draw: three upstreams on one axis of time, and beside or below them the news.

Pure: the same snapshot and size give the same picture. No meaning is in colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from resilient_client._cli.demo.charts import gauge
from resilient_client._cli.demo.journal import Entry
from resilient_client._cli.demo.panel import ASIDE, LABEL, Axis, panel
from resilient_client._cli.demo.snapshot import Snapshot
from resilient_client._cli.demo.tally import CELLS

SMALLEST: Final = (76, 22)
"""Columns and lines that a picture needs at the least."""

_WIDE: Final = 150  # columns from which the news stand beside the charts
_NEWS: Final = 0.42  # their share of the width there
_GAP: Final = 3
_TOP: Final = 1.6  # how many times the usual rate the charts can show
_LOWEST: Final = 18  # lines above the news, with charts of one row; a second row makes six more
_MARKS: Final = {"*": "bold magenta", "!": "bold", "~": "yellow", "x": "red", "-": "cyan"}
_LOUD: Final = "*!"  # what changes for many calls, not one


def picture(now: Snapshot, width: int, height: int) -> RenderableType:
    """Draw ``now`` for a terminal of ``width`` columns and ``height`` lines."""
    if width < _WIDE:
        upper = _flows(now, width, _rows(height - 8))
        return Group(*upper, *_news(now.entries, width, height - len(upper)))
    news = int(width * _NEWS)
    upper = _flows(now, width - news - _GAP, _rows(height))
    beside = Table.grid(padding=(0, _GAP, 0, 0))
    beside.add_row(Group(*upper), Group(*_news(now.entries, news, len(upper))))
    return beside


def _rows(height: int) -> int:
    """How high the charts may be, if everything but the news must fit into ``height``."""
    return 2 if height >= _LOWEST + 6 else 1


def _flows(now: Snapshot, width: int, rows: int) -> list[Text]:
    """Everything but the news: a title, the time, the upstreams, the total."""
    timetable = now.timetable
    columns = max(1, width - LABEL - ASIDE)  # a terminal may shrink while we draw
    top = _TOP * timetable.rate * timetable.seconds / CELLS
    axis = Axis(columns, now.elapsed / timetable.seconds, top, rows)
    lines = [_title(now, width), _time(now, columns)]
    for upstream in now.upstreams:
        lines += panel(upstream, axis, width)
    return [*lines, _total(now, width)]


def _title(now: Snapshot, width: int) -> Text:
    orders = f"{now.timetable.rate:g} orders a second, three calls each"
    seed = f"seed {now.timetable.seed}"
    gap = max(2, width - len("  order service  ") - len(orders) - len(seed))
    return Text.assemble(("  order service", "bold"), f"  {orders}{' ' * gap}", (seed, "dim"), no_wrap=True)


def _time(now: Snapshot, columns: int) -> Text:
    seconds = now.timetable.seconds
    elapsed = min(now.elapsed, seconds)
    done, missing = gauge(elapsed, seconds, columns)
    late = "  the last calls end" if now.elapsed > seconds and now.outcomes.total() < now.calls else ""
    return Text.assemble(
        f"  {elapsed:.1f} of {seconds:g} s".ljust(LABEL),
        ("━" * len(done), "bold"),
        ("─" * len(missing), "dim"),
        (late, "dim"),
        no_wrap=True,
    )


def _total(now: Snapshot, width: int) -> Text:
    outcomes = now.outcomes
    good, refused = outcomes["ok"], outcomes["circuit_open"]
    healed = sum(upstream.healed for upstream in now.upstreams)
    asked = f"  {now.orders} orders, {now.calls} calls: "
    text = Text.assemble(("── ", "dim"), ("all", "bold"), asked, no_wrap=True, overflow="ellipsis")
    text.append(f"{good} ok", "green").append(f" ({healed} by a retry)", "yellow").append(", ")
    text.append(f"{outcomes.total() - good - refused} failed", "red").append(", ")
    text.append(f"{refused} refused", "cyan").append(" ")
    return text.append("─" * max(0, width - text.cell_len), "dim")


def _news(entries: Sequence[Entry], width: int, height: int) -> list[Text]:
    """The latest entries, the newest at the bottom, in at most ``height`` lines."""
    shown = [_entry(entry, width) for entry in entries[-height:]] if height > 0 else []
    return shown + [Text("")] * (height - len(shown))


def _entry(entry: Entry, width: int) -> Text:
    times = f" ×{entry.count}" if entry.count > 1 else ""
    text = Text.assemble((f"{entry.at:5.1f} s  ", "dim"), f"{entry.upstream:<9} ", no_wrap=True)
    text.append(f"{entry.mark} ", _MARKS[entry.mark]).append(entry.text, "bold" if entry.mark in _LOUD else "")
    text.truncate(width - len(times), overflow="ellipsis")
    return text.append(times, "cyan")
