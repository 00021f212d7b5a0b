"""Numbers as characters: bars over time, and a gauge. Pure text; whoever draws it adds colour."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, TypeVar

T = TypeVar("T")

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
NOTHING: Final = "·"
"""A bar of height 0: time has passed, and nothing happened."""


def slices(cells: Sequence[T], width: int, done: float) -> list[Sequence[T]]:
    """Join ``cells`` to ``width`` columns, and give those that lie wholly in the share ``done`` (0 to 1) of them."""
    complete = min(width, int(done * width + 1e-9))
    edges = [round(column * len(cells) / width) for column in range(complete + 1)]
    return [cells[begin:end] for begin, end in pairwise(edges)]


def bars(values: Sequence[float], top: float, rows: int = 1) -> list[str]:
    """Bars side by side, as lines of text from the upper to the lower.

    Args:
        values: One for each bar; 0 is drawn as ``NOTHING``, and what is above 0 can always be seen.
        top: The value that fills the whole height; what is above it is cut off.
        rows: The height in lines.
    """
    heights = [min(8 * rows, max(value > 0, round(value / top * 8 * rows))) for value in values]
    lines = ["".join(_EIGHTHS[min(8, max(0, height - 8 * row))] for height in heights) for row in range(rows)]
    lines[0] = lines[0].replace(" ", NOTHING)
    return lines[::-1]


def gauge(value: float, full: float, width: int) -> tuple[str, str]:
    """What is there and what is missing, as two strings that are ``width`` long together."""
    filled = round(min(1.0, max(0.0, value / full)) * width) if full else 0
    return "█" * filled, "░" * (width - filled)
