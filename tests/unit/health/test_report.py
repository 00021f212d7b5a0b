"""One word for the whole, from the states of its targets."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_client import HealthReport, HealthState, ProbeResult

UP, DEGRADED, DOWN, UNKNOWN = HealthState

TARGETS = st.lists(st.tuples(st.sampled_from(HealthState), st.booleans()), max_size=6)


def report(*targets: tuple[HealthState, bool]) -> HealthReport:
    """A report of targets in these states, critical or not."""
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
def test_report_in_one_word_follows_from_its_targets(targets: list[tuple[HealthState, bool]], whole: str) -> None:
    """What is critical decides whether it is down or unknown; everything else can only degrade it."""
    assert report(*targets).state == whole


@given(TARGETS)
def test_report_is_ok_only_if_everything_critical_lives(targets: list[tuple[HealthState, bool]]) -> None:
    """Whatever the others are; and a report of nothing known is not ok."""
    critical = [state for state, matters in targets if matters]
    known = any(state is not UNKNOWN for state, _ in targets)
    assert report(*targets).ok == (known and all(state in (UP, DEGRADED) for state in critical))


@given(TARGETS)
def test_report_in_words_has_a_line_for_each_target_and_one_for_the_whole(
    targets: list[tuple[HealthState, bool]],
) -> None:
    """None is left out, whatever its state; an empty report can be shown, too."""
    assert len(str(report(*targets)).splitlines()) == 1 + len(targets)


def test_result_shown_by_a_debugger_keeps_the_text_of_a_foreign_exception_to_itself() -> None:
    """That text may hold a password; ``reason`` has been freed of it."""
    error = RuntimeError("postgres://ada:secret@db")
    result = ProbeResult("db", "ping", True, DOWN, False, reason="RuntimeError", error=error)
    assert repr(result) == "<ProbeResult 'db' DOWN: RuntimeError>"


def test_result_survives_pickling() -> None:
    """Reports travel to other processes."""
    result = report((UP, True))[0]
    assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301 -- our own bytes
