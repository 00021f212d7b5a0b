"""The comparisons as Markdown, for people, and as JSON, for the picture and for later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.results import Comparison, Row


def as_json(machine: dict[str, str], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Everything that was measured."""
    return {"machine": machine, "comparisons": [comparison.as_dict() for comparison in comparisons]}


def as_markdown(machine: dict[str, str], comparisons: Sequence[Comparison]) -> str:
    """Everything: the machine, a table for each workload, and those that are alike side by side."""
    parts = [about(machine), *(details(comparison) for comparison in comparisons), *overviews(comparisons)]
    return "\n".join(parts)


def about(machine: dict[str, str]) -> str:
    """One line."""
    return ", ".join(f"{name} {value}" if name != "machine" else value for name, value in machine.items()) + ".\n"


def details(comparison: Comparison) -> str:
    """One workload: ratio, interval, samples, microseconds, or why there is none of that."""
    lines = [
        f"**{comparison.workload.name}** ({comparison.loop})\n",
        f"| what | CPU a call, ratio to {comparison.base} | 95 % interval | samples | µs |",
        "|---|--:|:-:|--:|--:|",
        f"| {comparison.base} | 1 | | | {comparison.micros:.0f} |",
        *(line(row) for row in comparison.rows),
    ]
    return "\n".join(lines) + "\n"


def overviews(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """The ratios only, a column for each workload."""
    alike: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        alike.setdefault((comparison.workload.kind, comparison.workload.method), []).append(comparison)
    for several in alike.values():
        if len(several) > 1:
            lines = [
                f"CPU a call, ratio to {several[0].base}:\n",
                "| | " + " | ".join(comparison.workload.name for comparison in several) + " |",
                "|---|" + "--:|" * len(several),
                *(
                    f"| {same[0].variant} | " + " | ".join(shown(row.ratio, 2) for row in same) + " |"
                    for same in zip(*(comparison.rows for comparison in several), strict=True)
                ),
            ]
            yield "\n".join(lines) + "\n"


def line(row: Row) -> str:
    """One variant."""
    if row.ratio is None:
        return f"| {row.variant} | not measured: {(row.fault or '').replace('|', '/')} | | | |"
    spread = f"{shown(row.low)}–{shown(row.high)}"
    return f"| {row.variant} | {shown(row.ratio)} | {spread} | {row.rounds} | {row.micros:.0f} |"


def shown(ratio: float | None, digits: int = 3) -> str:
    """A ratio with as many digits as mean something."""
    return "-" if ratio is None else f"{ratio:.{digits if ratio < 10 else 1}f}"
