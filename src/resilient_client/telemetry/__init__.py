"""Telemetry: what a service that uses this library reports about itself.

Every client logs its events to the standard library's ``logging``, below the logger ``resilient_client``, from the
start and without a line of code. ``JSONFormatter`` writes these records, and those of any other library, as JSON.
``LoopMonitor`` watches the event loop: how late it runs, what blocks it, which calls wait for long, which tasks are
lost.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilient_client.telemetry._histogram import HistogramSnapshot
    from resilient_client.telemetry._json_formatter import JSONFormatter
    from resilient_client.telemetry._loop_health import (
        BlockedPlace,
        LoopEvent,
        LoopHealth,
        LoopWasLate,
        LostTasks,
        TaskLost,
    )
    from resilient_client.telemetry._loop_monitor import LoopMonitor
    from resilient_client.telemetry._stack import CodePlace

__all__ = [
    "BlockedPlace",
    "CodePlace",
    "HistogramSnapshot",
    "JSONFormatter",
    "LoopEvent",
    "LoopHealth",
    "LoopMonitor",
    "LoopWasLate",
    "LostTasks",
    "TaskLost",
]

_HOMES = {
    "BlockedPlace": "_loop_health",
    "CodePlace": "_stack",
    "HistogramSnapshot": "_histogram",
    "JSONFormatter": "_json_formatter",
    "LoopEvent": "_loop_health",
    "LoopHealth": "_loop_health",
    "LoopMonitor": "_loop_monitor",
    "LoopWasLate": "_loop_health",
    "LostTasks": "_loop_health",
    "TaskLost": "_loop_health",
}
"""The module that defines each name. Names load on first use: every client loads this package, and most use none."""

if not TYPE_CHECKING:  # with a visible __getattr__, a type checker would accept any misspelt name

    def __getattr__(name: str) -> object:
        """Load a public name on its first use (PEP 562)."""
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
