"""The table of a health check fits its terminal and tells what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from rich.text import Text
from tests.unit.cli.support import drawn

from resilient_client import HealthState
from resilient_client._cli.table import Row, sparkline, status_reason, summary_line, table
from resilient_client._core.timings import Timings
from resilient_client.health import ProbeResult

UP = Timings(pool=0.0, dns=0.002, connect=0.01, tls=0.02, first_byte=0.06, body=0.008)


def result(name: str = "users", state: HealthState = HealthState.UP, **values: Any) -> ProbeResult:
    """What came of a target."""
    known = {"status": 200, "elapsed": 0.1, "timings": UP, "attempts": 1, "ok": state is not HealthState.DOWN}
    return ProbeResult(
        **{"name": name, "target": f"https://{name}/", "critical": True, "state": state} | known | values
    )


DOWN = result("orders.example.com/health", HealthState.DOWN, status=503, reason="status 503, expected 200-399")
LONG = result(f"a.example.com/{'x' * 200}/health")
ROWS = (
    Row(result()),
    Row(DOWN),
    Row(LONG),
    Row(ProbeResult("late", "http://late/", True, HealthState.UNKNOWN, False), pending=True),
)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("colours", [False, True])
def test_no_line_is_longer_than_the_terminal(width: int, colours: bool) -> None:
    """Whatever the width, nothing wraps."""
    lines = drawn(table(ROWS, Text("summary"), width=width, colours=colours), 500)
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [80, 200])
def test_long_name_loses_its_middle(width: int) -> None:
    """Host and end of a path stay to be seen."""
    line = drawn(table(ROWS, Text(), width=width), 500)[4]
    assert "a.example.com" in line
    assert "…" in line
    assert "/health" in line


def test_long_name_leaves_the_history_to_a_terminal_of_usual_width() -> None:
    """What ``--watch`` is for goes last: one long name takes the bars from all rows, but not their looks."""
    rows = [Row(result("users"), history=(0.1, None)), Row(LONG, history=(0.1, 0.1))]
    heading, first, *_ = drawn(table(rows, Text(), width=80, colours=True), 80)
    assert "history" in heading
    assert first.endswith("▇✗")


def test_reason_stands_below_its_target() -> None:
    """Only what is not well takes a second line."""
    lines = drawn(table(ROWS, Text(), width=80))
    at = next(index for index, line in enumerate(lines) if "orders" in line)
    assert lines[at + 1] == "  └ status 503, expected 200-399"
    assert sum("└" in line for line in lines) == 1


@pytest.mark.parametrize(("width", "seen"), [(80, False), (200, True)])
def test_stages_have_columns_where_there_is_room(width: int, seen: bool) -> None:
    """A wide terminal gets each stage's time; a narrow one does not."""
    heading, first, *_ = drawn(table(ROWS, Text(), width=width), width)
    assert ("first byte" in heading, "60 ms" in first) == (seen, seen)


def test_certificate_has_a_column_where_there_is_one() -> None:
    """Days left stand in the table of a wide terminal."""
    heading, first, *_ = drawn(table([Row(result(days_left=63.4))], Text(), width=140, colours=False), 140)
    assert heading.endswith("cert")
    assert first.endswith("63 d")


def test_target_that_is_being_asked_is_told_from_one_that_answered() -> None:
    """A pending row shows no result."""
    lines = drawn(table(ROWS, Text(), width=80))
    assert ["·", "late", "…"] in [line.split() for line in lines]


def test_columns_stand_below_their_titles() -> None:
    """Numbers end where their titles end."""
    heading, first, *_ = drawn(table(ROWS, Text(), width=80))
    assert first.index("200") + 3 == heading.index("status") + 6
    assert first.index("100 ms") + 6 == heading.index("time") + 4


def test_title_of_the_names_is_whole_above_short_ones() -> None:
    """Where there is room for it."""
    assert drawn(table([Row(result("a"))], Text(), width=80))[0].split()[0] == "target"


def test_bars_are_to_the_scale_of_the_slowest() -> None:
    """Half the time, half the bar; none where colours cannot tell the stages apart."""
    rows = [Row(result(LONG.name, elapsed=0.1)), Row(result("slow", elapsed=0.2, timings=Timings(first_byte=0.2)))]
    lines = drawn(table(rows, Text(), width=80, colours=True), colours=True)
    assert [line.count("━") for line in lines[1:3]] == [8, 16]
    assert not any("━" in line for line in drawn(table(rows, Text(), width=80, colours=False)))


def test_what_does_not_fit_the_height_is_left_out_well_targets_first() -> None:
    """A short terminal shows what is wrong, and says how much it leaves out."""
    rows = [*(Row(result(f"well-{number}")) for number in range(50)), Row(DOWN)]
    lines = drawn(table(rows, Text("summary"), width=80, height=12))
    assert len(lines) <= 12
    assert any("orders" in line for line in lines)
    assert "  … and 45 more" in lines


def test_name_with_wide_characters_keeps_the_columns() -> None:
    """A letter that takes two cells counts as two."""
    heading, first, *_ = drawn(table([Row(result("検索"))], Text(), width=80))
    assert first.index("200") + 3 + 2 == heading.index("status") + 6


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ""),
        ({"reason": "slow"}, "slow"),
        ({"reason": "slow", "critical": False}, "not critical: slow"),
        ({"reason": "status 503", "ok": False, "streak": 1}, "failed once: status 503"),
        ({"state": HealthState.DOWN, "ok": True, "streak": 2}, "answered 2 times in a row, not yet taken for up"),
    ],
)
def test_reason_tells_what_is_not_as_it_should(values: dict[str, Any], expected: str) -> None:
    """Also a target whose latest looks speak against its state says so."""
    assert status_reason(result(**values)) == expected


def test_summary_counts_the_states() -> None:
    """One line for the whole: state, counts, time."""
    assert summary_line(ROWS, HealthState.DOWN, 1.5).plain == "✗ DOWN  2 up, 1 down, 1 unknown · 1.50 s"


def test_sparkline_shows_the_latest_looks() -> None:
    """Times to the scale of the slowest; a failed look is a cross."""
    assert sparkline([9.0, 0.1, 0.7, None, 0.35], 4).plain == "▂▇✗▄"
