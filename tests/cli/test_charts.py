"""Charts made of characters."""

from __future__ import annotations

import pytest

from resilient_client._cli.charts import ZERO, bars, gauge, slices


def test_slices_at_the_end_hold_every_cell_once() -> None:
    """Whatever the width, no cell is counted twice or lost."""
    joined = slices(range(600), 37, 1.0)
    assert len(joined) == 37
    assert [cell for column in joined for cell in column] == list(range(600))


@pytest.mark.parametrize(("done", "columns"), [(0.0, 0), (0.19, 1), (0.2, 2), (0.55, 5), (1.0, 10), (1.2, 10)])
def test_slices_leave_out_incomplete_columns(done: float, columns: int) -> None:
    """A column that is still being filled would look like a drop."""
    assert len(slices(range(600), 10, done)) == columns


def test_bars_show_zero_small_and_excess() -> None:
    """Zero has its own mark, any value above it is visible, and values above the top are cut off."""
    assert bars([0, 0.01, 4, 8, 100], top=8) == [f"{ZERO}▁▄██"]


def test_bars_of_two_rows_are_stacked() -> None:
    """The lower row is full before the upper one begins."""
    assert bars([0, 4, 12, 16], top=16, rows=2) == ["  ▄█", f"{ZERO}▄██"]


@pytest.mark.parametrize(
    ("value", "full", "filled"), [(0, 10, 0), (2.6, 10, 3), (10, 10, 10), (12, 10, 10), (-1, 10, 0), (0, 0, 0)]
)
def test_gauge_is_filled_in_proportion(value: float, full: float, filled: int) -> None:
    """Both parts together always have the same width."""
    there, missing = gauge(value, full, 10)
    assert (len(there), len(missing)) == (filled, 10 - filled)
