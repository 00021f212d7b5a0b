"""``--trace``: prints each attempt of a call as it happens, with the time spent in each stage.

The trace is an event listener like any other: what it receives is redacted already. It never prints a header.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from resilient_client._cli.output import supports_colour
from resilient_client._cli.stages import STAGES, stage_bar, stage_label, stage_times
from resilient_client._cli.text import format_seconds, format_status, sanitize, status_style
from resilient_client._core.events import (
    AttemptFinished,
    AttemptStarted,
    CallFinished,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    Event,
    RetryRefused,
    RetryScheduled,
)
from resilient_client._core.kinds import ErrorKind
from resilient_client._core.record import AttemptRecord

_BAR = 48


class Trace:
    """An event listener that prints the events of one call."""

    def __init__(self, console: Console) -> None:
        """Print to ``console``. Bars of stages only if it has colours, which distinguish the stages."""
        self._console = console
        self._bars = supports_colour(console)

    def __call__(self, event: Event) -> None:
        """Print one event immediately."""
        for line in event_lines(event, bars=self._bars):
            self._console.print(line, soft_wrap=True)


def event_lines(event: Event, *, bars: bool) -> Iterator[Text]:
    """Yield the lines that describe an event. There are none for an event that is not part of a call's course.

    Args:
        event: The event.
        bars: Whether a finished attempt gets a bar of its stages.
    """
    match event:
        case AttemptStarted(number=number, endpoint=endpoint):
            yield Text.assemble((f"attempt {number}", "bold"), (f" to {endpoint}", "dim"))
        case AttemptFinished(record=record):
            yield from _attempt(record, bars=bars)
        case RetryScheduled(number=number, delay=delay, reason=reason):
            yield _note("↻", f"attempt {number + 1} in {format_seconds(delay)}: {sanitize(reason)}", "yellow")
        case RetryRefused(reason=reason):
            yield _note("■", sanitize(reason), "yellow")
        case CircuitOpened(endpoint=endpoint, retry_after=seconds):
            rest = "" if seconds is None else f" for {format_seconds(seconds)}"
            yield _note("⊘", f"the circuit of {endpoint} opened{rest}", "red")
        case CircuitHalfOpened(endpoint=endpoint):
            yield _note("◑", f"the circuit of {endpoint} lets probes through", "yellow")
        case CircuitClosed(endpoint=endpoint):
            yield _note("○", f"the circuit of {endpoint} closed", "green")
        case CallFinished(attempts=attempts, elapsed=elapsed):
            count = "1 attempt" if attempts == 1 else f"{attempts} attempts"
            yield Text(f"{count} in {format_seconds(elapsed)}", style="dim")


def _attempt(record: AttemptRecord, *, bars: bool) -> Iterator[Text]:
    if stages := stage_times(record.timings):
        yield _stages(stages, kept=bool(record.reused))
        if bars:
            yield Text("  ").append_text(stage_bar(stages, record.elapsed, _BAR))
    for target in record.redirects:
        yield _note("↪", f"redirected to {sanitize(target)}", "cyan")
    if record.kind is ErrorKind.CIRCUIT_OPEN:
        yield _note("⊘", sanitize(record.error), "red")
    elif record.status is not None:
        mark = "✓" if record.status < 400 else "✗"
        yield _result(mark, format_status(record.status), status_style(record.status), record.elapsed)
    else:
        yield _result("✗", f"{record.kind}: {sanitize(record.error)}", "red", record.elapsed)


def _stages(stages: list[tuple[str, float]], *, kept: bool) -> Text:
    parts = [Text("kept connection", style="dim")] if kept else []
    for stage, seconds in stages:
        parts.append(Text.assemble((stage_label(stage), STAGES[stage]), f" {format_seconds(seconds)}"))
    return Text("  ").append_text(Text.assemble((" · ", "dim")).join(parts))


def _result(mark: str, what: str, style: str, elapsed: float) -> Text:
    return Text.assemble("  ", (f"{mark} {what}", style), (f" · {format_seconds(elapsed)}", "dim"))


def _note(mark: str, what: str, style: str) -> Text:
    return Text.assemble("  ", (mark, style), " ", what)
