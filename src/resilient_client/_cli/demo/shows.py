"""How the demo is shown: a moving picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from operator import itemgetter
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from resilient_client._cli.demo import plain
from resilient_client._cli.demo.books import Fact
from resilient_client._cli.demo.journal import FOLD
from resilient_client._cli.demo.picture import SMALLEST, picture
from resilient_client._cli.demo.snapshot import Snapshot
from resilient_client._cli.demo.timetable import Timetable

_SUMMARY: Final = 11  # lines the summary needs, and the prompt after it


class Show(AbstractContextManager["Show"], Protocol):
    """What shows a run: entered before it, told of its moments, left after it, and last told what to sum up."""

    def moment(self, now: Snapshot) -> None:
        """Show a moment."""

    def facts(self, facts: list[Fact]) -> None:
        """Show the summary."""


def show_for(console: Console, timetable: Timetable) -> Show:
    """The show that ``console`` can bear."""
    large = console.width >= SMALLEST[0] and console.height >= SMALLEST[1]
    drawing = console.is_terminal and not console.is_dumb_terminal and not console.no_color
    if drawing and large and console.encoding.startswith("utf"):
        return Moving(console)
    return Lines(console, timetable)


class Moving:
    """The picture, drawn anew each time on a screen of its own, so that nothing flickers; its last state stays."""

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
            room = self._console.height - _SUMMARY  # together they fit on most screens
            self._console.print(picture(self._last, self._console.width, room))

    def moment(self, now: Snapshot) -> None:
        """Draw the picture."""
        self._last = now
        self._live.update(picture(now, self._console.width, self._console.height), refresh=True)

    def facts(self, facts: list[Fact]) -> None:
        """Print the summary below the picture."""
        table = Table.grid(padding=(0, 2))
        for fact in facts:
            style = "" if fact.good is None else "green" if fact.good else "bold red"
            mark = "" if fact.good is None else "✓ " if fact.good else "✗ "
            table.add_row(f"  {fact.name}", Text(mark + fact.text, style))
        self._console.print(table)


class Lines:
    """What happened, a line each, in the order of time: a line waits until nothing earlier can come."""

    def __init__(self, console: Console, timetable: Timetable) -> None:
        """Print to ``console``, without colours."""
        self._console = console
        self._timetable = timetable
        self._last: Snapshot | None = None
        self._statuses: list[tuple[float, list[str]]] = []
        self._told = 0

    def __enter__(self) -> Self:
        self._print(plain.heading(self._timetable))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._last is not None and kind is None:
            self._tell(self._last, until=self._last.elapsed)

    def moment(self, now: Snapshot) -> None:
        """Print what is old enough, and each second how things stand."""
        if self._last is not None and int(now.elapsed) > int(self._last.elapsed):
            self._statuses.append((now.elapsed, [plain.status(now)]))
        self._last = now
        self._tell(now, until=now.elapsed - FOLD)

    def facts(self, facts: list[Fact]) -> None:
        """Print the summary."""
        self._print([""])
        for fact in facts:
            self._print(plain.fact(fact))

    def _tell(self, now: Snapshot, until: float) -> None:
        due = [entry for entry in now.entries[self._told :] if entry.at <= until]
        self._told += len(due)
        told = [(entry.at, plain.line(entry)) for entry in due] + [item for item in self._statuses if item[0] <= until]
        self._statuses = [item for item in self._statuses if item[0] > until]
        for _, lines in sorted(told, key=itemgetter(0)):
            self._print(lines)

    def _print(self, lines: Iterable[str]) -> None:
        for text in lines:
            self._console.print(text, markup=False, soft_wrap=True)
