"""One upstream as lines of text: how it is, what was asked of it and what reached it over time, and what came of it.

Pure, as ``picture``, which puts these lines together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import Final

from rich.text import Text

from resilient_client._cli.demo.charts import bars, gauge, slices
from resilient_client._cli.demo.snapshot import UpstreamNow
from resilient_client._cli.demo.tally import most_telling
from resilient_client._cli.demo.timetable import Condition
from resilient_client._policies.circuit.circuit import CircuitState

LABEL: Final = 16
"""Columns left of the charts."""
ASIDE: Final = 27
"""Columns right of them."""

# Its name, its mark in the chart, its colour. The forced states are not met: nobody here forces anything.
_CIRCUITS: Final[dict[CircuitState, tuple[str, str, str]]] = {
    CircuitState.CLOSED: ("● closed", "─", "green"),
    CircuitState.OPEN: ("○ OPEN", "×", "red"),
    CircuitState.HALF_OPEN: ("◐ half-open", "◐", "yellow"),
}
_OUTCOMES: Final = {"ok": "green", "circuit_open": "cyan"}


@dataclass(frozen=True, slots=True)
class Axis:
    """What the charts of all upstreams share.

    Attributes:
        columns: How long they are.
        done: The share of the run that is over.
        top: How many calls in one slice of time fill the whole height.
        rows: Their height in lines.
    """

    columns: int
    done: float
    top: float
    rows: int


def panel(upstream: UpstreamNow, axis: Axis, width: int) -> list[Text]:
    """Draw ``upstream``, ``width`` columns wide."""
    columns, done = axis.columns, axis.done
    sick = ["red" if any(cells) else "cyan" for cells in slices(upstream.sick, columns, done)]
    states = [most_telling(cells) for cells in slices(upstream.states, columns, done)]
    colours = [_CIRCUITS[state][2] for state in states]
    calls, sent = (
        bars([fmean(cells) for cells in slices(series, columns, done)], axis.top, axis.rows)
        for series in (upstream.calls, upstream.sent)
    )
    marks = "".join(_CIRCUITS[state][1] for state in states)
    in_flight = Text(f"in flight        {upstream.in_flight:5}")
    share = upstream.sent_per_second / upstream.calls_per_second if upstream.calls_per_second else 1.0
    return [
        _head(upstream, width),
        *_chart(_label("calls", upstream.calls_per_second), calls, sick, columns, in_flight),
        *_chart(
            _label("sent", upstream.sent_per_second), sent, colours, columns, Text(f"attempts a call  {share:5.2f}")
        ),
        *_chart("  circuit", [marks], colours, columns, _budget(upstream)),
        _outcomes(upstream),
    ]


def _head(upstream: UpstreamNow, width: int) -> Text:
    well = upstream.condition is Condition.WELL
    state, _, colour = _CIRCUITS[upstream.circuit]
    countdown = "" if upstream.opens_in is None else f", {upstream.opens_in:.{1 if upstream.opens_in < 10 else 0}f} s"
    left = [("── ", "dim"), (upstream.name, "bold"), ("  ✓ " if well else "  ✗ ", "green" if well else "bold red")]
    left.append((f"{upstream.condition} ", "green" if well else "red"))
    right = [(" circuit ", ""), (state + countdown, f"bold {colour}"), (" ──", "dim")]
    gap = width - sum(len(text) for text, _ in left + right)
    return Text.assemble(*left, ("─" * max(1, gap), "dim"), *right, no_wrap=True)


def _label(name: str, per_second: float) -> str:
    return f"  {name:<5} {per_second:>4.0f}/s"


def _chart(label: str, lines: Sequence[str], colours: Sequence[str], columns: int, aside: Text) -> list[Text]:
    """A chart between its label and a word aside; these stand beside its lowest line."""
    drawn = []
    for number, line in enumerate(lines, 1):
        text = Text((label if number == len(lines) else "").ljust(LABEL), no_wrap=True)
        for colour, run in groupby(zip(line, colours, strict=True), key=lambda pair: pair[1]):
            text.append("".join(character for character, _ in run), colour)
        drawn.append(text)
    drawn[-1].append(" " * (columns - len(lines[-1]) + 2)).append_text(aside)
    return drawn


def _budget(upstream: UpstreamNow) -> Text:
    tokens, burst = upstream.budget
    filled, empty = gauge(tokens, burst, 10)
    return Text.assemble("budget ", (filled, "green"), (empty, "dim"), f"{tokens:5.1f}")


def _outcomes(upstream: UpstreamNow) -> Text:
    """How calls ended: the good ones first, then the failures, the most frequent first."""
    text = Text("  ", no_wrap=True, overflow="ellipsis")
    failures = sorted((item for item in upstream.outcomes.items() if item[0] != "ok"), key=lambda item: -item[1])
    for kind, count in [("ok", upstream.outcomes.get("ok", 0)), *failures]:
        text.append(f"{kind} ", "dim").append(str(count), _OUTCOMES.get(kind, "red"))
        if kind == "ok" and upstream.healed:
            text.append(f" ({upstream.healed} by a retry)", "yellow")
        text.append("  ")
    return text
