"""Numbers as characters."""

from __future__ import annotations

import pytest

from resilient_client._cli.demo.charts import NOTHING, bars, gauge, slices


def test_slices_at_the_end_hold_every_cell_once() -> None:
    """Whatever the width, nothing is counted twice or lost."""
    joined = slices(range(600), 37, 1.0)
    assert len(joined) == 37
    assert [cell for column in joined for cell in column] == list(range(600))


@pytest.mark.parametrize(("done", "columns"), [(0.0, 0), (0.19, 1), (0.2, 2), (0.55, 5), (1.0, 10), (1.2, 10)])
def test_slices_on_the_way_are_those_whose_time_is_over(done: float, columns: int) -> None:
    """A column that still fills would look like a drop."""
    assert len(slices(range(600), 10, done)) == columns


def test_bars_show_nothing_little_and_too_much() -> None:
    """Zero has a mark of its own, anything above it can be seen, and what is too much is cut off."""
    assert bars([0, 0.01, 4, 8, 100], top=8) == [f"{NOTHING}▁▄██"]


def test_bars_of_two_rows_stand_on_each_other() -> None:
    """The lower row is full before the upper one begins."""
    assert bars([0, 4, 12, 16], top=16, rows=2) == ["  ▄█", f"{NOTHING}▄██"]


@pytest.mark.parametrize(
    ("value", "full", "filled"), [(0, 10, 0), (2.6, 10, 3), (10, 10, 10), (12, 10, 10), (-1, 10, 0), (0, 0, 0)]
)
def test_gauge_is_as_full_as_the_value_says(value: float, full: float, filled: int) -> None:
    """Both parts together always have the same width."""
    there, missing = gauge(value, full, 10)
    assert (len(there), len(missing)) == (filled, 10 - filled)
