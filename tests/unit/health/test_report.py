"""``HealthReport``: the state of the whole, from the states of its targets."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_client import HealthReport, HealthState, ProbeResult

UP, DEGRADED, DOWN, UNKNOWN = HealthState

TARGETS = st.lists(st.tuples(st.sampled_from(HealthState), st.booleans()), max_size=6)


def report(*targets: tuple[HealthState, bool]) -> HealthReport:
    """A report of targets, given as state and whether the target is critical."""
    return HealthReport(
        ProbeResult(f"t{number}", "url", critical, state, state in (UP, DEGRADED))
        for number, (state, critical) in enumerate(targets)
    )


@pytest.mark.parametrize(
    ("targets", "whole"),
    [
        ([(UP, True), (UP, False)], UP),
        ([(UP, True), (DOWN, False)], DEGRADED),
        ([(UP, True), (UNKNOWN, False)], DEGRADED),
        ([(DEGRADED, True)], DEGRADED),
        ([(UNKNOWN, True), (UP, True)], UNKNOWN),
        ([(UNKNOWN, True), (DOWN, True)], DOWN),
        ([(UNKNOWN, False)], UNKNOWN),
        ([], UNKNOWN),
    ],
)
def test_report_state_follows_from_targets(targets: list[tuple[HealthState, bool]], whole: str) -> None:
    """Only critical targets can make the whole down or unknown. The others can only degrade it."""
    assert report(*targets).state == whole


@given(TARGETS)
def test_report_ok_needs_all_critical_targets(targets: list[tuple[HealthState, bool]]) -> None:
    """The other targets do not matter, except that a report in which no state is known is not ok."""
    critical = [state for state, is_critical in targets if is_critical]
    known = any(state is not UNKNOWN for state, _ in targets)
    assert report(*targets).ok == (known and all(state in (UP, DEGRADED) for state in critical))


@given(TARGETS)
def test_report_text_has_one_line_per_target(targets: list[tuple[HealthState, bool]]) -> None:
    """The first line is about the whole. An empty report has only that line."""
    assert len(str(report(*targets)).splitlines()) == 1 + len(targets)


def test_result_repr_hides_text_of_exception() -> None:
    """The text of another library's exception may hold a password."""
    error = RuntimeError("postgres://ada:secret@db")
    result = ProbeResult("db", "ping", True, DOWN, False, reason="RuntimeError", error=error)
    assert repr(result) == "<ProbeResult 'db' DOWN: RuntimeError>"


def test_result_can_be_pickled() -> None:
    """Reports are sent to other processes."""
    result = report((UP, True))[0]
    assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301 -- our own bytes
