"""A comparison as text, drawn without a terminal."""

from __future__ import annotations

import re

import pytest
from tests.cli.simulate.support import compared

from resilient_client._cli.simulate.report import report
from resilient_client._cli.simulate.series import Incident, Series
from resilient_client._cli.simulate.timeline import Panel, panel

THREE = "retry=none,naive,default"


def lines(width: int, *compare: str, seeds: int = 1) -> list[str]:
    return [line.plain for line in report(*compared(*compare, seeds=seeds), width)]


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("compare", [(), (THREE,), ("retry_budget=off,default", "circuit_breaker=off,default")])
def test_report_fits_its_width(width: int, compare: tuple[str, ...]) -> None:
    """No line exceeds the width, whatever is compared."""
    assert max(map(len, lines(width, *compare))) <= width


def test_table_has_lines_of_measures_columns_of_variants() -> None:
    """The variants are in the order of the command line."""
    text = lines(80, THREE)
    head = next(number for number, line in enumerate(text) if line.split() == ["none", "naive", "default"])
    names = [line.partition(",")[0] for line in text[head + 1 : head + 11]]
    assert names == [
        "goodput", "success", "amplification", "peak load", "recovery", "p50", "p99", "p99.9", "rejected", "wasted",
    ]  # fmt: skip  # one name a line says no more
    assert all(len(re.sub(r".*?, \S+ +", "", line, count=1).split()) == 3 for line in text[head + 1 : head + 11])


def test_table_over_seeds_shows_the_spread() -> None:
    """Median, lowest and highest value, and the seeds."""
    text = lines(80, THREE, seeds=3)
    assert "12 s; median (lowest–highest) of 3 seeds, 1 to 3" in text
    assert any(re.fullmatch(r"goodput, calls/s( +\d+\.\d \(\d+\.\d–\d+\.\d\)){2,3}", line) for line in text)


@pytest.mark.parametrize("width", [80, 200])
def test_timeline_has_all_strips_per_variant(width: int) -> None:
    """Offered calls, attempts, goodput, circuits and incidents have labels, not only colours."""
    text = "\n".join(lines(width, THREE))
    for name in ("none", "naive", "default"):
        assert f"── {name} ─" in text
    for strip in ("offered", "attempts", "goodput", "circuits", "incident"):
        assert text.count(f"{strip} ") >= 3
    assert "━ outage" in text
    assert "╵0 s" in text


def test_wide_timelines_are_side_by_side() -> None:
    """Two variants stand side by side at 200 columns, one below the other at 80."""
    assert any("── none ─" in line and "── naive ─" in line for line in lines(200, THREE))
    assert not any("── none ─" in line and "── naive ─" in line for line in lines(80, THREE))


def drawn(series: Series, *found: Incident, width: int = 25, scale: float = 10) -> list[str]:
    return [line.plain for line in panel(Panel("x", series), found, width, scale)]


def test_panel_has_one_scale_for_all_strips() -> None:
    """Twice the calls are twice as high. ``◐`` is half-open, and a bar is the share that is open."""
    series = Series(
        (10.0,) * 10, (10.0,) * 5 + (20.0,) * 5, (10.0,) * 5 + (0.0,) * 5, (0.0,) * 8 + (1.0, 0.0), (0.0,) * 9 + (1.0,)
    )
    assert drawn(series, Incident("stall", 5, 6)) == [
        "── x ────────────────────",
        "offered     10 ██████████",
        "attempts    20      █████",
        "               ██████████",
        "goodput     10 █████·····",
        "circuits       ········█◐",
        "incident            ━",
        "               ╵0 s",
    ]


def test_panel_without_circuits_says_so() -> None:
    """An empty strip would look like circuits that stay closed."""
    series = Series((1.0,), (1.0,), (1.0,), None, None)
    assert "circuits       none" in drawn(series)


def test_narrow_panel_shows_means() -> None:
    """Ten columns for twenty seconds: each is the mean of two. The label holds the maximum of one second."""
    series = Series((10.0,) * 20, (0.0, 20.0) * 10, (10.0,) * 20, None, None)
    assert "attempts    20 ██████████" in drawn(series)
