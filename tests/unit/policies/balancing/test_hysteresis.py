"""The verdict: when the state of a target changes, and when it does not."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_client import HealthState
from resilient_client._policies.balancing.hysteresis import Verdict

UP, DEGRADED, DOWN, UNKNOWN = HealthState

LOOKS = st.lists(st.sampled_from(HealthState), max_size=30)
COUNTS = st.integers(1, 5)


def states(looks: list[HealthState], *, rise: int = 2, fall: int = 3) -> list[HealthState]:
    """The state after each check, one per second."""
    verdict = Verdict(rise, fall)
    return [verdict.learn(look, float(second)) for second, look in enumerate(looks)]


def model(looks: list[HealthState], rise: int, fall: int) -> list[HealthState]:
    """The same as an explanation would put it: each state follows from all checks before it, not from a counter."""
    shown: list[HealthState] = []
    seen: list[HealthState] = []
    for look in looks:
        before = shown[-1] if shown else UNKNOWN
        if look is UNKNOWN:
            shown.append(before)
            continue
        seen.append(look)
        last_fall, last_rise = seen[-fall:], seen[-rise:]
        if before is UNKNOWN:
            shown.append(look)
        elif before is DOWN:
            risen = len(last_rise) == rise and DOWN not in last_rise
            shown.append(look if risen else DOWN)
        elif look is DOWN:
            shown.append(DOWN if last_fall == [DOWN] * fall else before)
        else:
            shown.append(look)
    return shown


@pytest.mark.parametrize("look", [UP, DEGRADED, DOWN])
def test_verdict_after_the_first_check_is_its_result(look: HealthState) -> None:
    """There is no earlier state to keep, so one check decides."""
    assert states([look]) == [look]


def test_verdict_falls_at_the_third_failure_in_a_row_only() -> None:
    """Two failures, or three with a success between them, change nothing."""
    assert states([UP, DOWN, DOWN, UP, DOWN, DOWN, DOWN]) == [UP] * 6 + [DOWN]


def test_verdict_without_hysteresis_follows_each_check() -> None:
    """Negative control: with ``fall=1`` and ``rise=1`` the same checks make it flap."""
    looks = [UP, DOWN, UP, DOWN]
    assert states(looks, rise=1, fall=1) == looks


def test_verdict_rises_at_the_second_success_in_a_row_only() -> None:
    """One success between failures brings nothing back."""
    assert states([DOWN, UP, DOWN, UP, UP]) == [DOWN] * 4 + [UP]


def test_verdict_of_a_degraded_look_counts_as_a_success() -> None:
    """A target that is down and answers slowly comes back, as degraded."""
    assert states([DOWN, DEGRADED, DEGRADED, UP]) == [DOWN, DOWN, DEGRADED, UP]


def test_verdict_counts_the_looks_that_speak_against_it() -> None:
    """The streak says how near it is to turning, and is 0 once it has."""
    verdict = Verdict(2, 3)
    streaks = []
    for second, look in enumerate([UP, DOWN, DOWN, DOWN, UP]):
        verdict.learn(look, second)
        streaks.append(verdict.streak)
    assert streaks == [0, 1, 2, 0, 1]


def test_verdict_since_is_the_time_of_the_change() -> None:
    """It is the time of the check that changed the state, not that of the first failure."""
    verdict = Verdict(2, 3)
    since = []
    for second, look in enumerate([UP, UP, DOWN, DOWN, DOWN, DOWN]):
        verdict.learn(look, float(second))
        since.append(verdict.since)
    assert since == [0.0, 0.0, 0.0, 0.0, 4.0, 4.0]


@given(LOOKS, COUNTS, COUNTS)
def test_verdict_agrees_with_the_model(looks: list[HealthState], rise: int, fall: int) -> None:
    """The state is what the last checks in a row require, for any results."""
    assert states(looks, rise=rise, fall=fall) == model(looks, rise, fall)


@given(LOOKS, COUNTS, COUNTS)
def test_verdict_cannot_flap_faster_than_its_bounds(looks: list[HealthState], rise: int, fall: int) -> None:
    """Between two changes there are enough checks for the second."""
    known = [state for look, state in zip(looks, states(looks, rise=rise, fall=fall), strict=True) if look != UNKNOWN]
    turns = [number for number, (old, new) in enumerate(pairwise(known)) if (old is DOWN) != (new is DOWN)]
    assert all(later - earlier >= min(rise, fall) for earlier, later in pairwise(turns))
