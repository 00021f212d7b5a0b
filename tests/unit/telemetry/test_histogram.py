"""The histogram against a plain list of its observations."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_client.telemetry._histogram import Histogram

VALUES = st.lists(st.floats(0, 100), max_size=50)


@given(VALUES)
def test_counts_are_those_of_a_plain_list(values: list[float]) -> None:
    """An observation is counted in the first bucket whose bound is not below it, as in Prometheus."""
    bounds = (0.5, 1.0, 8.0)
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    snapshot = histogram.snapshot()
    limits = (-math.inf, *bounds, math.inf)
    expected = [sum(low < value <= high for value in values) for low, high in pairwise(limits)]
    assert list(snapshot.counts) == expected
    assert snapshot.observations == len(values)
    assert snapshot.total == pytest.approx(sum(values))
    assert snapshot.maximum == max(values, default=0.0)


@given(VALUES.filter(bool), st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_quantile_is_at_least_the_exact_one(values: list[float], share: float) -> None:
    """A quantile is never too low, and at most by the ratio of two bounds too high, or the smallest bound."""
    histogram = Histogram.exponential(0.001, 2.0, 20)
    for value in values:
        histogram.observe(value)
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    quantile = histogram.snapshot().quantile(share)
    assert quantile is not None
    assert exact <= quantile <= max(2 * exact, 0.001)


def test_quantile_of_nothing_is_unknown() -> None:
    """Before the first observation there is no quantile."""
    assert Histogram([1.0]).snapshot().quantile(0.5) is None


def test_snapshot_does_not_change_later() -> None:
    """A snapshot is frozen data."""
    histogram = Histogram([1.0])
    before = histogram.snapshot()
    histogram.observe(3.0)
    assert before.counts == (0, 0)
    assert histogram.snapshot().counts == (0, 1)
