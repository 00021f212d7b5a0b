"""The output of a health check through a pipe: plain lines, JSON or OpenMetrics, written when a check is finished."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC

from rich.cells import cell_len

from resilient_client._cli.table import status_reason
from resilient_client._cli.text import format_seconds
from resilient_client.health import HealthReport, HealthState, ProbeResult


def plain_lines(report: HealthReport, *, dated: bool) -> Iterator[str]:
    """Yield one aligned line per target, in their order: state, name, status, time, reason.

    Args:
        report: The report of the check.
        dated: Whether each line begins with the time of the check, in UTC.
    """
    width = max(cell_len(result.name) for result in report)
    date = ""
    if dated and report.checked_at is not None:
        date = f"{report.checked_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}  "
    for result in report:
        state = result.state.upper() if result.state is HealthState.DOWN else result.state.value
        status = "-" if result.status is None else str(result.status)
        took = format_seconds(result.elapsed) if result.attempts else "-"
        name = result.name + " " * (width - cell_len(result.name))
        line = f"{date}{state:<8}  {name}  {status:>3}  {took:>7}  {status_reason(result)}"
        yield line.rstrip()


def as_lines(report: HealthReport, *, dated: bool = False) -> str:
    """Return the report as plain lines."""
    return "".join(f"{line}\n" for line in plain_lines(report, dated=dated))


def as_json(report: HealthReport) -> str:
    """Return the report as one JSON object in one line. ``schema`` holds the version of its structure."""
    return json.dumps(report.to_dict(), ensure_ascii=False) + "\n"


class ReportWriter:
    """A ``Screen`` that writes each finished report to stdout."""

    def __init__(self, form: Callable[[HealthReport], str] = as_lines) -> None:
        self._form = form

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def on_start(self, results: Iterable[ProbeResult]) -> None:
        """Do nothing."""

    def on_result(self, result: ProbeResult) -> None:
        """Do nothing: lines are written in the order of the targets, not in that of their answers."""

    def on_report(self, report: HealthReport) -> None:
        """Write a report and flush it, because the next one may be an hour away."""
        sys.stdout.write(self._form(report))
        sys.stdout.flush()
