"""The table of a health check: it fits its terminal and shows what is wrong."""

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
    """Return the result of a target."""
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
def test_no_line_exceeds_the_terminal(width: int, colours: bool) -> None:
    """No line wraps at any width."""
    lines = drawn(table(ROWS, Text("summary"), width=width, colours=colours), 500)
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [80, 200])
def test_long_name_loses_its_middle(width: int) -> None:
    """The host and the end of the path stay visible."""
    line = drawn(table(ROWS, Text(), width=width), 500)[4]
    assert "a.example.com" in line
    assert "…" in line
    assert "/health" in line


def test_long_name_removes_bars_before_the_history() -> None:
    """History is the purpose of ``--watch``: one long name removes the bars of all rows, but not their history."""
    rows = [Row(result("users"), history=(0.1, None)), Row(LONG, history=(0.1, 0.1))]
    heading, first, *_ = drawn(table(rows, Text(), width=80, colours=True), 80)
    assert "history" in heading
    assert first.endswith("▇✗")


def test_reason_is_below_its_target() -> None:
    """Only a target that is not up takes a second line."""
    lines = drawn(table(ROWS, Text(), width=80))
    at = next(index for index, line in enumerate(lines) if "orders" in line)
    assert lines[at + 1] == "  └ status 503, expected 200-399"
    assert sum("└" in line for line in lines) == 1


@pytest.mark.parametrize(("width", "seen"), [(80, False), (200, True)])
def test_wide_table_has_columns_for_stages(width: int, seen: bool) -> None:
    """A wide terminal gets the time of each stage, a narrow one does not."""
    heading, first, *_ = drawn(table(ROWS, Text(), width=width), width)
    assert ("first byte" in heading, "60 ms" in first) == (seen, seen)


def test_wide_table_has_a_certificate_column() -> None:
    """It holds the days that are left."""
    heading, first, *_ = drawn(table([Row(result(days_left=63.4))], Text(), width=140, colours=False), 140)
    assert heading.endswith("cert")
    assert first.endswith("63 d")


def test_pending_target_shows_no_result() -> None:
    """A pending row has its own mark."""
    lines = drawn(table(ROWS, Text(), width=80))
    assert ["·", "late", "…"] in [line.split() for line in lines]


def test_columns_are_aligned_with_their_titles() -> None:
    """Numbers end where their titles end."""
    heading, first, *_ = drawn(table(ROWS, Text(), width=80))
    assert first.index("200") + 3 == heading.index("status") + 6
    assert first.index("100 ms") + 6 == heading.index("time") + 4


def test_title_above_short_names_is_not_cut() -> None:
    """The first column is at least as wide as its title."""
    assert drawn(table([Row(result("a"))], Text(), width=80))[0].split()[0] == "target"


def test_bars_are_scaled_to_the_slowest() -> None:
    """Half the time is half the bar. Without colours, which distinguish the stages, there are no bars."""
    rows = [Row(result(LONG.name, elapsed=0.1)), Row(result("slow", elapsed=0.2, timings=Timings(first_byte=0.2)))]
    lines = drawn(table(rows, Text(), width=80, colours=True), colours=True)
    assert [line.count("━") for line in lines[1:3]] == [8, 16]
    assert not any("━" in line for line in drawn(table(rows, Text(), width=80, colours=False)))


def test_low_table_leaves_out_healthy_targets_first() -> None:
    """A low terminal shows what is wrong, and how many targets are left out."""
    rows = [*(Row(result(f"well-{number}")) for number in range(50)), Row(DOWN)]
    lines = drawn(table(rows, Text("summary"), width=80, height=12))
    assert len(lines) <= 12
    assert any("orders" in line for line in lines)
    assert "  … and 45 more" in lines


def test_wide_characters_keep_the_columns() -> None:
    """A character of two cells counts as two."""
    heading, first, *_ = drawn(table([Row(result("検索"))], Text(), width=80))
    assert first.index("200") + 3 + 2 == heading.index("status") + 6


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ""),
        ({"reason": "slow"}, "slow"),
        ({"reason": "slow", "critical": False}, "not critical: slow"),
        ({"reason": "status 503", "ok": False, "streak": 1}, "failed once: status 503"),
        ({"state": HealthState.DOWN, "ok": True, "streak": 2}, "answered 2 times in a row, not yet counted as up"),
    ],
)
def test_reason_describes_the_state(values: dict[str, Any], expected: str) -> None:
    """A target whose latest checks contradict its state says so."""
    assert status_reason(result(**values)) == expected


def test_summary_counts_the_states() -> None:
    """One line holds the overall state, the counts and the time."""
    assert summary_line(ROWS, HealthState.DOWN, 1.5).plain == "✗ DOWN  2 up, 1 down, 1 unknown · 1.50 s"


def test_sparkline_shows_the_latest_checks() -> None:
    """Times are scaled to the slowest, and a failed check is a cross."""
    assert sparkline([9.0, 0.1, 0.7, None, 0.35], 4).plain == "▂▇✗▄"
