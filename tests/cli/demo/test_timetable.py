"""What goes wrong, and when."""

from __future__ import annotations

from itertools import pairwise

import pytest

from resilient_client._cli.demo.timetable import TROUBLES, UPSTREAMS, Condition, Timetable


@pytest.mark.parametrize("seconds", [3.0, 15.0, 600.0])
def test_timetable_of_any_length_has_the_same_troubles(seconds: float) -> None:
    """Each trouble begins and ends at its share of the run."""
    timetable = Timetable(seconds)
    for trouble in TROUBLES:
        middle = (trouble.begins + trouble.ends) / 2 * seconds
        assert timetable.condition(trouble.upstream, middle) is trouble.condition


def test_timetable_of_one_upstream_never_overlaps() -> None:
    """Of two troubles at once only one would be seen."""
    for name in UPSTREAMS:
        times = sorted((trouble.begins, trouble.ends) for trouble in TROUBLES if trouble.upstream == name)
        assert times, name
        assert all(before[1] <= after[0] for before, after in pairwise(times))


def test_timetable_begins_and_ends_with_everybody_well() -> None:
    """So that one sees what is usual, and the circuits have time to close."""
    timetable = Timetable()
    for at in (0.0, 14.0, 20.0):
        assert {timetable.condition(name, at) for name in UPSTREAMS} == {Condition.WELL}


def test_changes_are_those_of_the_condition() -> None:
    """Each change is told at the time at which the condition becomes what it says."""
    timetable = Timetable()
    changes = timetable.changes
    assert len(changes) == 2 * len(TROUBLES)
    for at, name, condition in changes:
        assert timetable.condition(name, at + 0.001) is condition
