"""Repeated records are bounded per kind, and none is left out without being counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resilient_client.telemetry._repeats import BURST, MAX_KINDS, PERIOD, Repeats


def test_burst_is_admitted_and_rest_counted() -> None:
    """The first records of a series pass. The next one that passes carries the number of those left out."""
    repeats: Repeats[str] = Repeats()
    assert [repeats.admit("down", 0.0) for _ in range(BURST + 3)] == [0] * BURST + [None] * 3
    assert repeats.admit("down", PERIOD / BURST) == 3
    assert repeats.admit("down", PERIOD / BURST) is None


def test_kinds_do_not_share_a_bucket() -> None:
    """A noisy upstream does not hide the first record about another one."""
    repeats: Repeats[str] = Repeats()
    for _ in range(BURST + 1):
        repeats.admit("noisy", 0.0)
    assert repeats.admit("other", 0.0) == 0


def test_drain_reports_each_count_once() -> None:
    """What was left out last is reported at the end, and not twice."""
    repeats: Repeats[str] = Repeats()
    for _ in range(BURST + 2):
        repeats.admit("down", 0.0)
    repeats.admit("up", 0.0)
    assert list(repeats.drain()) == [("down", 2)]
    assert list(repeats.drain()) == []


def test_kinds_are_bounded() -> None:
    """Kinds without an end do not fill the memory. The one that was silent for the longest time is forgotten."""
    repeats: Repeats[int] = Repeats()
    for kind in range(MAX_KINDS):
        repeats.admit(kind, 0.0)
    repeats.admit(0, 0.0)
    repeats.admit(MAX_KINDS, 0.0)
    assert len(repeats._buckets) == MAX_KINDS
    assert {0, MAX_KINDS} <= set(repeats._buckets)
    assert 1 not in repeats._buckets


def test_clock_that_goes_back_refills_nothing() -> None:
    """Another event loop has another clock. A step back costs no record and gives none."""
    repeats: Repeats[str] = Repeats()
    for _ in range(BURST):
        repeats.admit("down", 1_000.0)
    assert repeats.admit("down", 1.0) is None
    assert repeats.admit("down", 1.0 + PERIOD / BURST) == 1


@given(gaps=st.lists(st.floats(0, PERIOD), max_size=200))
def test_admitted_records_stay_within_the_rate(gaps: list[float]) -> None:
    """In any series, at most a burst and the refill of its time pass, and admitted plus counted is all there were."""
    repeats: Repeats[str] = Repeats()
    now, admitted, counted = 0.0, 0, 0
    for gap in gaps:
        now += gap
        suppressed = repeats.admit("down", now)
        if suppressed is not None:
            admitted, counted = admitted + 1, counted + suppressed
    assert admitted <= BURST + now * BURST / PERIOD + 1e-6
    assert admitted + counted + sum(count for _, count in repeats.drain()) == len(gaps)
