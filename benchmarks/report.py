"""The results as Markdown for reading, and as JSON for the figure.

Results that were saved are printed as ``docs/performance.md`` has them, a section per machine:
``python -m benchmarks.report RESULTS.json...``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Comparison, Row
from benchmarks.workloads import Workload


def as_json(machine: dict[str, str], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return all results."""
    return {"machine": machine, "comparisons": [comparison.as_dict() for comparison in comparisons]}


def as_markdown(machine: dict[str, str], comparisons: Sequence[Comparison]) -> str:
    """Return the machine, a table per workload, and tables of similar workloads side by side."""
    parts = [about(machine), *(details(comparison) for comparison in comparisons), *overviews(comparisons)]
    return "\n".join(parts)


def about(machine: dict[str, str]) -> str:
    """Return the line that describes the machine and the versions, or only the versions."""
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
    """Yield tables of ratios with a column per workload: plain GETs, plain POSTs, and the others."""
    groups: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        kind, method = comparison.workload.kind, comparison.workload.method
        groups.setdefault(method if kind == "plain" else "others", []).append(comparison)
    yield from (overview(group) for group in groups.values() if len(group) > 1)


def overview(group: Sequence[Comparison]) -> str:
    """Return the table of these workloads. A cell is empty where a variant does not take part."""
    found = [{row.variant: row.ratio for row in comparison.rows[1:]} for comparison in group]
    variants = dict.fromkeys(variant for ratios in found for variant in ratios)
    cells = {
        "the base": [f"{comparison.base}, {comparison.micros:.0f} µs" for comparison in group],
        "the base, again": [format_ratio(comparison.rows[0].ratio, 2) for comparison in group],
    } | {
        variant: [format_ratio(ratios[variant], 2) if variant in ratios else "" for ratios in found]
        for variant in variants
    }
    lines = [
        "CPU per call, ratio to the base:\n",
        "| | " + " | ".join(comparison.workload.name for comparison in group) + " |",
        "|---|" + "--:|" * len(group),
        *(f"| {name} | " + " | ".join(row) + " |" for name, row in cells.items()),
    ]
    return "\n".join(lines) + "\n"


def section(data: dict[str, Any]) -> str:
    """Return the section of one machine in ``docs/performance.md``, from the results as JSON."""
    comparisons = [
        Comparison(**each | {"workload": Workload(**each["workload"]), "rows": [Row(**row) for row in each["rows"]]})
        for each in data["comparisons"]
    ]
    used = dict(data["machine"])
    title = f"### {used.pop('machine')}\n"
    return "\n".join((title, about(used), details(comparisons[0]), *overviews(comparisons)))


def line(row: Row) -> str:
    """Return the line of one variant."""
    if row.ratio is None:
        return f"| {row.variant} | not measured: {(row.fault or '').replace('|', '/')} | | | |"
    spread = f"{format_ratio(row.low)}–{format_ratio(row.high)}"
    return f"| {row.variant} | {format_ratio(row.ratio)} | {spread} | {row.rounds} | {row.micros:.0f} |"


def format_ratio(ratio: float | None, digits: int = 3) -> str:
    """Format a ratio with its significant digits."""
    return "-" if ratio is None else f"{ratio:.{digits if ratio < 10 else 1}f}"


if __name__ == "__main__":
    print(*(section(json.loads(Path(file).read_text())) for file in sys.argv[1:]), sep="\n")
