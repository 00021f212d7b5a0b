"""The results as Markdown for reading, and as JSON for the figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.results import Comparison, Row


def as_json(machine: dict[str, str], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return all results."""
    return {"machine": machine, "comparisons": [comparison.as_dict() for comparison in comparisons]}


def as_markdown(machine: dict[str, str], comparisons: Sequence[Comparison]) -> str:
    """Return the machine, a table per workload, and tables of similar workloads side by side."""
    parts = [about(machine), *(details(comparison) for comparison in comparisons), *overviews(comparisons)]
    return "\n".join(parts)


def about(machine: dict[str, str]) -> str:
    """Return the line that describes the machine and the versions."""
    return ", ".join(f"{name} {value}" if name != "machine" else value for name, value in machine.items()) + ".\n"


def details(comparison: Comparison) -> str:
    """Return the table of one workload: ratio, interval, samples and microseconds, or why there are none."""
    lines = [
        f"**{comparison.workload.name}** ({comparison.loop})\n",
        f"| variant | CPU per call, ratio to {comparison.base} | 95 % interval | samples | µs |",
        "|---|--:|:-:|--:|--:|",
        f"| {comparison.base} | 1 | | | {comparison.micros:.0f} |",
        *(line(row) for row in comparison.rows),
    ]
    return "\n".join(lines) + "\n"


def overviews(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Yield tables of ratios with a column per workload, for workloads of the same kind and method."""
    alike: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        alike.setdefault((comparison.workload.kind, comparison.workload.method), []).append(comparison)
    for group in alike.values():
        if len(group) > 1:
            lines = [
                f"CPU per call, ratio to {group[0].base}:\n",
                "| | " + " | ".join(comparison.workload.name for comparison in group) + " |",
                "|---|" + "--:|" * len(group),
                *(
                    f"| {same[0].variant} | " + " | ".join(format_ratio(row.ratio, 2) for row in same) + " |"
                    for same in zip(*(comparison.rows for comparison in group), strict=True)
                ),
            ]
            yield "\n".join(lines) + "\n"


def line(row: Row) -> str:
    """Return the line of one variant."""
    if row.ratio is None:
        return f"| {row.variant} | not measured: {(row.fault or '').replace('|', '/')} | | | |"
    spread = f"{format_ratio(row.low)}–{format_ratio(row.high)}"
    return f"| {row.variant} | {format_ratio(row.ratio)} | {spread} | {row.rounds} | {row.micros:.0f} |"


def format_ratio(ratio: float | None, digits: int = 3) -> str:
    """Format a ratio with its significant digits."""
    return "-" if ratio is None else f"{ratio:.{digits if ratio < 10 else 1}f}"
