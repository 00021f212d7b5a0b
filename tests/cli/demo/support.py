"""Snapshots of the demo made for tests."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import Any

from rich.console import Console, RenderableType

from resilient_client._cli.demo.state import CELLS, Budget, Entry, Snapshot, UpstreamSnapshot
from resilient_client._cli.demo.upstreams import UPSTREAMS, Condition, Timetable
from resilient_client._policies.circuit.circuit import CircuitState

HEALTHY: Mapping[str, Any] = {
    "condition": Condition.HEALTHY,
    "circuit": CircuitState.CLOSED,
    "half_opens_in": None,
    "budget": Budget(10.0, 10.0),
    "calls_per_second": 30.0,
    "sent_per_second": 30.0,
    "in_flight": 1,
    "outcomes": {"ok": 200},
    "recovered": 0,
    "calls": (1,) * CELLS,
    "sent": (1,) * CELLS,
    "unhealthy": (False,) * CELLS,
    "states": (CircuitState.CLOSED,) * CELLS,
}
HALF = CELLS // 2


def upstream(name: str = "inventory", **changes: Any) -> UpstreamSnapshot:
    """Return a healthy upstream with these ``changes``."""
    return UpstreamSnapshot(name=name, **{**HEALTHY, **changes})


def down(name: str = "payment") -> UpstreamSnapshot:
    """Return an upstream that went down in the middle of the run. Its circuit is open since then."""
    return upstream(
        name,
        condition=Condition.DOWN,
        circuit=CircuitState.OPEN,
        half_opens_in=1.25,
        budget=Budget(2.6, 10.0),
        sent_per_second=0.0,
        outcomes={"ok": 100, "circuit_open": 90, "disconnected": 10},
        sent=(1,) * HALF + (0,) * HALF,
        unhealthy=(False,) * HALF + (True,) * HALF,
        states=(CircuitState.CLOSED,) * HALF + (CircuitState.OPEN,) * HALF,
    )


def snapshot(*upstreams: UpstreamSnapshot, elapsed: float = 15.0, entries: tuple[Entry, ...] = ()) -> Snapshot:
    """Return a snapshot with these upstreams, or with three healthy ones."""
    return Snapshot(
        elapsed=elapsed,
        timetable=Timetable(),
        orders=200,
        upstreams=upstreams or tuple(upstream(name) for name in UPSTREAMS),
        entries=entries,
    )


def rendered(picture: RenderableType, width: int) -> list[str]:
    """Return the lines of a picture, without colours."""
    console = Console(width=width, record=True, file=StringIO())
    console.print(picture)
    return console.export_text().splitlines()
