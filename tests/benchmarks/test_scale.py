"""The series of ``benchmarks.scale`` run, and its table and picture show their growth."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.server import Server, serving

from benchmarks import scale


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of the bodies that the smallest sizes need."""
    with serving({"1": b"x", "1000": b"x" * 1000}, compiler=None) as running:
        yield running


@pytest.mark.parametrize("series", scale.ALL, ids=lambda series: series.name)
def test_series_measures_its_smallest_sizes(
    series: scale.Series, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each series gives a positive cost per call."""
    monkeypatch.setattr(scale, "CALLS", 4)
    args = argparse.Namespace(rounds=1, loop="asyncio")
    assert all(scale.cost(series, size, server.url, args) > 0 for size in series.sizes[:2] if size <= 1_000)


def test_table_shows_growth() -> None:
    """The growth is the ratio to the smallest size; sizes of bodies have units."""
    points = [scale.Point("bytes of the body", size, cost) for size, cost in ((1, 20.0), (1_000_000, 500.0))]
    assert scale.table(points).splitlines()[2:] == ["| 1 B | 20.0 | 1.00 |", "| 1 MB | 500.0 | 25.00 |"]


def test_picture_is_drawn(tmp_path: Path) -> None:
    """Series that begin at 0 have a place on the logarithmic axis, too."""
    points = [scale.Point("listeners", size, 10.0 + size) for size in (0, 1, 50)]
    scale.draw(points, "a machine", tmp_path / "scale.svg")
    assert "listeners" in (tmp_path / "scale.svg").read_text()
