"""The comparisons as Markdown, for people, and as JSON, for the picture and for later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.results import Comparison, Row


def as_json(machine: dict[str, str], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Everything that was measured."""
    return {"machine": machine, "comparisons": [comparison.as_dict() for comparison in comparisons]}


def as_markdown(machine: dict[str, str], comparisons: Sequence[Comparison]) -> str:
    """The machine, the overview, and a table for each workload."""
    parts = [", ".join(f"{name} {value}" if name != "machine" else value for name, value in machine.items()) + "."]
    if len(comparisons) > 1:
        parts.append("\n".join(overview(comparisons)))
    parts += ["\n".join(details(comparison)) for comparison in comparisons]
    return "\n\n".join(parts) + "\n"


def overview(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """A column for each workload, the ratios only."""
    yield "CPU a call, as a ratio to the bare aiohttp of its column:\n"
    yield "| | " + " | ".join(comparison.workload.name for comparison in comparisons) + " |"
    yield "|---|" + "--:|" * len(comparisons)
    found = [{row.variant: row for row in comparison.rows[1:]} for comparison in comparisons]
    for name in dict.fromkeys(name for rows in found for name in rows):
        cells = (f"{rows[name].ratio:.2f}" if name in rows and rows[name].ratio is not None else "" for rows in found)
        yield f"| {name} | " + " | ".join(cells) + " |"


def details(comparison: Comparison) -> Iterator[str]:
    """One workload: ratio, interval, microseconds, or why there is none of that."""
    yield f"**{comparison.workload.name}** ({comparison.loop})\n"
    yield f"| what | CPU a call, ratio to {comparison.base} | 95 % interval | µs |"
    yield "|---|--:|:-:|--:|"
    yield f"| {comparison.base} | 1 | | {comparison.micros:.0f} |"
    for row in comparison.rows:
        yield line(row)


def line(row: Row) -> str:
    """One variant."""
    if row.ratio is None:
        return f"| {row.variant} | not measured: {(row.fault or '').replace('|', '/')} | | |"
    return f"| {row.variant} | {shown(row.ratio)} | {shown(row.low)}–{shown(row.high)} | {row.micros:.0f} |"


def shown(ratio: float | None) -> str:
    """A ratio with as many digits as mean something."""
    return "" if ratio is None else f"{ratio:.3f}" if ratio < 10 else f"{ratio:.1f}"
