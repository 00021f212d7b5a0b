"""A comparison as text, drawn without a terminal."""

from __future__ import annotations

import re

import pytest
from tests.cli.simulate.kit import compared

from resilient_client._cli.simulate.report import report
from resilient_client._cli.simulate.series import Incident, Series
from resilient_client._cli.simulate.timeline import Panel, panel

THREE = "retry=none,naive,default"


def lines(width: int, *compare: str, seeds: int = 1) -> list[str]:
    return [line.plain for line in report(*compared(*compare, seeds=seeds), width)]


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("compare", [(), (THREE,), ("retry_budget=off,default", "circuit_breaker=off,default")])
def test_report_fits_its_width(width: int, compare: tuple[str, ...]) -> None:
    """No line is longer, whatever is compared."""
    assert max(map(len, lines(width, *compare))) <= width


def test_table_has_a_line_for_each_number_and_a_column_for_each_variant() -> None:
    """Side by side, in the order of the command line."""
    text = lines(80, THREE)
    head = next(number for number, line in enumerate(text) if line.split() == ["none", "naive", "default"])
    names = [line.partition(",")[0] for line in text[head + 1 : head + 11]]
    assert names == [
        "goodput", "success", "amplification", "peak load", "recovery", "p50", "p99", "p99.9", "rejected", "wasted",
    ]  # fmt: skip  # one name a line says no more
    assert all(len(re.sub(r".*?, \S+ +", "", line, count=1).split()) == 3 for line in text[head + 1 : head + 11])


def test_table_over_seeds_says_what_it_shows() -> None:
    """Median, lowest and highest, and of which seeds."""
    text = lines(80, THREE, seeds=3)
    assert "12 s; median (lowest–highest) of 3 seeds, 1 to 3" in text
    assert any(re.fullmatch(r"goodput, calls/s( +\d+\.\d \(\d+\.\d–\d+\.\d\)){2,3}", line) for line in text)


@pytest.mark.parametrize("width", [80, 200])
def test_timeline_shows_each_variant_with_its_strips(width: int) -> None:
    """What was offered, sent and answered, the circuits, and when the trouble was; by words, not by colour."""
    text = "\n".join(lines(width, THREE))
    for name in ("none", "naive", "default"):
        assert f"── {name} ─" in text
    for strip in ("offered", "attempts", "goodput", "circuits", "incident"):
        assert text.count(f"{strip} ") >= 3
    assert "━ outage" in text
    assert "╵0 s" in text


def test_timeline_on_a_wide_terminal_stands_side_by_side() -> None:
    """Two variants abreast at 200 columns, one below the other at 80."""
    assert any("── none ─" in line and "── naive ─" in line for line in lines(200, THREE))
    assert not any("── none ─" in line and "── naive ─" in line for line in lines(80, THREE))


def drawn(series: Series, *found: Incident, width: int = 25, scale: float = 10) -> list[str]:
    return [line.plain for line in panel(Panel("x", series), found, width, scale)]


def test_panel_draws_one_scale_for_all_strips() -> None:
    """Twice the calls are twice as high; ``◐`` is half-open, a bar the share that is open."""
    printed = Series(
        (10.0,) * 10, (10.0,) * 5 + (20.0,) * 5, (10.0,) * 5 + (0.0,) * 5, (0.0,) * 8 + (1.0, 0.0), (0.0,) * 9 + (1.0,)
    )
    assert drawn(printed, Incident("stall", 5, 6)) == [
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
    """Nothing to see is not the same as all closed."""
    printed = Series((1.0,), (1.0,), (1.0,), None, None)
    assert "circuits       none" in drawn(printed)


def test_panel_narrower_than_its_seconds_shows_their_means() -> None:
    """Ten columns for twenty seconds: each is the mean of two; the label keeps the most of one second."""
    printed = Series((10.0,) * 20, (0.0, 20.0) * 10, (10.0,) * 20, None, None)
    assert "attempts    20 ██████████" in drawn(printed)
