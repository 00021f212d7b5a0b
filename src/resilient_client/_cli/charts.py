"""Charts made of characters: bars over time, and a gauge. Pure functions that return plain text. Callers add colour."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, TypeVar

T = TypeVar("T")

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
ZERO: Final = "·"
"""A bar of height 0. It differs from a space, which means that the time has not come yet."""


def slices(cells: Sequence[T], width: int, done: float) -> list[Sequence[T]]:
    """Group ``cells`` into ``width`` columns and return the complete ones.

    Args:
        cells: Equal stretches of time, in order.
        width: How many columns there are in total.
        done: The share of the time that has passed, 0 to 1. A column that is still filling is left out, because it
            would look like a drop.
    """
    # The epsilon keeps 0.3 * 10, which is 2.999... in floating point, from losing a column.
    complete = min(width, int(done * width + 1e-9))
    bounds = [round(column * len(cells) / width) for column in range(complete + 1)]
    return [cells[begin:end] for begin, end in pairwise(bounds)]


def bars(values: Sequence[float], top: float, rows: int = 1) -> list[str]:
    """Draw one bar per value, as lines of text from the top row to the bottom row.

    Args:
        values: One per bar. 0 is drawn as ``ZERO``. Anything above 0 is at least one eighth of a row high.
        top: The value that fills the whole height. Higher values are cut off.
        rows: The height in lines.
    """
    heights = [min(8 * rows, max(value > 0, round(value / top * 8 * rows))) for value in values]
    lines = ["".join(_EIGHTHS[min(8, max(0, height - 8 * row))] for height in heights) for row in range(rows)]
    lines[0] = lines[0].replace(" ", ZERO)
    return lines[::-1]


def gauge(value: float, full: float, width: int) -> tuple[str, str]:
    """Draw a gauge as its filled part and its empty part, together ``width`` characters long."""
    filled = round(min(1.0, max(0.0, value / full)) * width) if full else 0
    return "█" * filled, "░" * (width - filled)
