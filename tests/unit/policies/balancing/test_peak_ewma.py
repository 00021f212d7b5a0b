"""What is expected of the next reply, and what is usual."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_client._policies.balancing.peak_ewma import MIN_REPLIES, RECENT_REPLIES, Latency

TYPICAL = 0.02


def test_latency_of_nobody_known_is_the_typical_one() -> None:
    """An endpoint that was never asked is taken for one like the others."""
    assert Latency(10).estimate(5.0, TYPICAL) == TYPICAL


def test_latency_rises_at_once_and_fades_slowly() -> None:
    """One reply of a second is expected again at once. After ``decay``, 1/e of the excess is left."""
    latency = Latency(10)
    latency.observe(0.0, TYPICAL, TYPICAL)
    latency.observe(0.0, 1.0, TYPICAL)
    assert latency.estimate(0.0, TYPICAL) == 1.0
    assert latency.estimate(10.0, TYPICAL) == pytest.approx(TYPICAL + (1.0 - TYPICAL) / math.e)


def test_latency_falls_no_faster_than_it_fades() -> None:
    """A quick reply right after a slow one proves little."""
    latency = Latency(10)
    latency.observe(0.0, 1.0, TYPICAL)
    latency.observe(0.1, 0.001, TYPICAL)
    assert latency.estimate(0.1, TYPICAL) > 0.9


def test_latency_without_replies_fades_to_the_typical() -> None:
    """Otherwise the endpoint that all callers avoid would in the end look like the fastest."""
    latency = Latency(10)
    latency.observe(0.0, 1.0, TYPICAL)
    assert latency.estimate(1000.0, TYPICAL) == pytest.approx(TYPICAL)


def test_latency_penalty_leaves_the_median_alone() -> None:
    """A failure is no measurement of how long a reply takes."""
    latency = Latency(10)
    for _ in range(MIN_REPLIES):
        latency.observe(0.0, TYPICAL, TYPICAL)
    latency.penalize(0.0, 10.0, TYPICAL)
    assert (latency.estimate(0.0, TYPICAL), latency.median) == (10.0, TYPICAL)


@given(st.lists(st.floats(0.001, 60)))
def test_latency_median_is_that_of_the_latest_replies(replies: list[float]) -> None:
    """It is the middle of the last ``RECENT_REPLIES`` ones, and unknown before there are ``MIN_REPLIES``."""
    latency = Latency(10)
    for number, reply in enumerate(replies):
        latency.observe(float(number), reply, TYPICAL)
    recent = sorted(replies[-RECENT_REPLIES:])
    assert latency.median == (recent[len(recent) // 2] if len(recent) >= MIN_REPLIES else None)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.0001, 60))), st.floats(0, 1000))
def test_latency_estimate_stays_within_what_was_seen(replies: list[tuple[float, float]], later: float) -> None:
    """For any replies in any order of time, it lies between the extremes of these and the typical latency."""
    latency = Latency(10)
    for now, reply in replies:
        latency.observe(now, reply, TYPICAL)
    seen = [TYPICAL, *(reply for _, reply in replies)]
    assert min(seen) - 1e-9 <= latency.estimate(later, TYPICAL) <= max(seen) + 1e-9
