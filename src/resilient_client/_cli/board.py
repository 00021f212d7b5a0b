"""The live table of a health check: rows fill in while targets answer, and are updated with every further check."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from resilient_client._cli.output import supports_colour
from resilient_client._cli.table import Row, summary_line, table
from resilient_client.health import HealthReport, ProbeResult

_HISTORY_LIMIT = 60
"""Checks that a row remembers; no layout of the table shows more."""


class Board:
    """Shows a check on a terminal while the ``with`` block lasts, and leaves the last state on the screen."""

    def __init__(self, console: Console, *, every: float | None) -> None:
        """Create a board that shows nothing before it is entered.

        Args:
            console: The terminal.
            every: Seconds from the start of one check to the next, or ``None`` for a single check.
        """
        self._console = console
        self._every = every
        self._rows: dict[str, Row] = {}
        self._report: HealthReport | None = None
        self._began = time.monotonic()
        self._over = False
        self._spinner = Spinner("dots", style="dim")
        self._live = Live(
            console=console, get_renderable=self.render, refresh_per_second=8, vertical_overflow="visible"
        )

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._live.stop()

    def on_start(self, results: Iterable[ProbeResult]) -> None:
        """Show these targets as pending."""
        self._rows = {result.name: Row(result, pending=True) for result in results}

    def on_result(self, result: ProbeResult) -> None:
        """Update the row of a target."""
        history = self._rows[result.name].history
        if self._every is not None:
            history = (*history[1 - _HISTORY_LIMIT :], result.elapsed if result.ok else None)
        self._rows[result.name] = Row(result, history=history)

    def on_report(self, report: HealthReport) -> None:
        """Show the summary of a finished check."""
        self._report = report

    def render(self) -> Group:
        """Return the current picture."""
        rows = list(self._rows.values())
        return table(
            rows,
            self._summary(rows),
            width=self._console.width,
            height=None if self._over else self._console.height,
            colours=supports_colour(self._console),
        )

    def _summary(self, rows: list[Row]) -> Text:
        if self._report is None:
            return self._progress(rows)
        line = summary_line(rows, self._report.state, self._report.elapsed)
        if self._every is not None and not self._over:
            line.append(f" · every {self._every:g} s, Ctrl-C ends", style="dim")
        return line

    def _progress(self, rows: list[Row]) -> Text:
        answered = sum(not row.pending for row in rows)
        frame = self._spinner.render(time.monotonic())
        seconds = time.monotonic() - self._began
        return Text.assemble(
            frame if isinstance(frame, Text) else "",
            (f" {answered} of {len(rows)} answered · {seconds:.1f} s", "dim"),
        )
