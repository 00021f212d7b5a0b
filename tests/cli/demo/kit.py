"""Moments of the demo, made up."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import Any

from rich.console import Console, RenderableType

from resilient_client._cli.demo.journal import Entry
from resilient_client._cli.demo.snapshot import Budget, Snapshot, UpstreamNow
from resilient_client._cli.demo.tally import CELLS
from resilient_client._cli.demo.timetable import UPSTREAMS, Condition, Timetable
from resilient_client._policies.circuit.circuit import CircuitState

WELL: Mapping[str, Any] = {
    "condition": Condition.WELL,
    "circuit": CircuitState.CLOSED,
    "opens_in": None,
    "budget": Budget(10.0, 10.0),
    "calls_per_second": 30.0,
    "sent_per_second": 30.0,
    "in_flight": 1,
    "outcomes": {"ok": 200},
    "healed": 0,
    "calls": (1,) * CELLS,
    "sent": (1,) * CELLS,
    "sick": (False,) * CELLS,
    "states": (CircuitState.CLOSED,) * CELLS,
}
HALF = CELLS // 2


def upstream(name: str = "inventory", **changes: Any) -> UpstreamNow:
    """An upstream that is well, but for the ``changes``."""
    return UpstreamNow(name=name, **{**WELL, **changes})


def dark(name: str = "payment") -> UpstreamNow:
    """An upstream that went down half way; by the end its circuit is open."""
    return upstream(
        name,
        condition=Condition.DOWN,
        circuit=CircuitState.OPEN,
        opens_in=1.25,
        budget=Budget(2.6, 10.0),
        sent_per_second=0.0,
        outcomes={"ok": 100, "circuit_open": 90, "disconnected": 10},
        sent=(1,) * HALF + (0,) * HALF,
        sick=(False,) * HALF + (True,) * HALF,
        states=(CircuitState.CLOSED,) * HALF + (CircuitState.OPEN,) * HALF,
    )


def snapshot(*upstreams: UpstreamNow, elapsed: float = 15.0, entries: tuple[Entry, ...] = ()) -> Snapshot:
    """A moment with these upstreams; with three that are well, if none are given."""
    return Snapshot(
        elapsed=elapsed,
        timetable=Timetable(),
        orders=200,
        upstreams=upstreams or tuple(upstream(name) for name in UPSTREAMS),
        entries=entries,
    )


def drawn(picture: RenderableType, width: int) -> list[str]:
    """The lines of a picture, without colours."""
    console = Console(width=width, record=True, file=StringIO())
    console.print(picture)
    return console.export_text().splitlines()
