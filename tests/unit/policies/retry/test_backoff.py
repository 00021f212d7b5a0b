"""The delay after a failed attempt: each formula by example, all formulas by their bounds."""

from random import Random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_client._policies.retry.backoff import backoff_delay, throttled_delay
from resilient_client._settings.retry import Backoff, BackoffKind, Retry

JITTERED: tuple[BackoffKind, ...] = ("full_jitter", "equal_jitter", "additive_jitter", "decorrelated")
KINDS: tuple[BackoffKind, ...] = ("fixed", "linear", "exponential", *JITTERED)

DRAWS = 10_000


def pauses(kind: BackoffKind, attempt: int, previous: float = 0.0, draws: int = DRAWS) -> list[float]:
    rng = Random(1)
    backoff = Backoff(kind=kind, initial=0.2, multiplier=2, max_delay=10)
    return [backoff_delay(backoff, attempt, previous, rng) for _ in range(draws)]


@st.composite
def backoffs(draw: st.DrawFn) -> Backoff:
    initial, max_delay = sorted(draw(st.tuples(*[st.floats(1e-6, 1e6)] * 2)))
    return Backoff(
        kind=draw(st.sampled_from(KINDS)),
        initial=initial,
        multiplier=draw(st.floats(1, 1e300)),
        max_delay=max_delay,
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("fixed", [0.2, 0.2, 0.2, 0.2]),
        ("linear", [0.2, 0.4, 0.6, 0.8]),
        ("exponential", [0.2, 0.4, 0.8, 1.6]),
    ],
)
def test_delay_without_jitter_follows_its_formula(kind: BackoffKind, expected: list[float]) -> None:
    """The formulas without jitter give exactly the documented sequence."""
    assert [pauses(kind, attempt, draws=1)[0] for attempt in (1, 2, 3, 4)] == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["linear", "exponential"])
def test_pause_of_a_growing_law_ends_at_maximum(kind: BackoffKind) -> None:
    """Growth stops at ``max_delay``."""
    assert pauses(kind, attempt=60, draws=1) == [10.0]


@pytest.mark.parametrize(
    ("kind", "previous", "low", "high"),
    [
        ("full_jitter", 0.0, 0.0, 0.8),
        ("equal_jitter", 0.0, 0.4, 0.8),
        ("additive_jitter", 0.0, 0.8, 1.0),
        ("decorrelated", 1.0, 0.2, 3.0),
        ("decorrelated", 0.0, 0.2, 0.6),
    ],
)
def test_pause_with_jitter_fills_its_range(kind: BackoffKind, previous: float, low: float, high: float) -> None:
    """The third pause is spread over the whole of the documented range and never leaves it."""
    drawn = pauses(kind, attempt=3, previous=previous)
    width = high - low
    assert low <= min(drawn) < low + 0.01 * width
    assert high - 0.01 * width < max(drawn) <= high


@pytest.mark.parametrize("attempt", [1, 3, 6, 20])
def test_full_jitter_over_many_draws_averages_half_of_the_base(attempt: int) -> None:
    """Full jitter is uniform from zero: its mean is half of the base, its cap included."""
    base = min(10, 0.2 * 2 ** (attempt - 1))
    assert fmean(pauses("full_jitter", attempt)) == pytest.approx(base / 2, rel=0.02)


@pytest.mark.parametrize("kind", ["full_jitter", "equal_jitter"])
def test_jitter_at_maximum_still_spreads(kind: BackoffKind) -> None:
    """Formulas that draw below the capped base keep callers apart for the length of an outage."""
    assert len(set(pauses(kind, attempt=10_000))) > DRAWS * 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_delay_with_one_seed_is_repeatable(kind: BackoffKind) -> None:
    """All randomness comes from the given generator."""
    assert pauses(kind, attempt=2, previous=0.3) == pauses(kind, attempt=2, previous=0.3)


def test_initial_above_the_default_bound_raises_it() -> None:
    """A value that was set takes precedence over a default."""
    assert backoff_delay(Backoff(kind="fixed", initial=20), 1, 0.0, Random(1)) == 20.0


@given(backoffs(), st.integers(1, 10_000), st.floats(0, 1e308), st.integers())
@settings(derandomize=True, deadline=None)
def test_delay_stays_within_its_bounds(backoff: Backoff, attempt: int, previous: float, seed: int) -> None:
    """No formula is negative, above the bound or an error, however large its numbers."""
    assert 0.0 <= backoff_delay(backoff, attempt, previous, Random(seed)) <= backoff.max_delay


@given(backoffs(), st.integers(1, 10_000), st.floats(0, 1e6), st.integers())
@settings(derandomize=True, deadline=None)
def test_pause_with_any_numbers_keeps_the_floor_of_its_law(
    backoff: Backoff, attempt: int, previous: float, seed: int
) -> None:
    """Only full jitter may go below the first step (equal jitter: below half of it)."""
    floor = {"full_jitter": 0.0, "equal_jitter": backoff.initial / 2}.get(backoff.kind, backoff.initial)
    assert backoff_delay(backoff, attempt, previous, Random(seed)) >= floor


@pytest.mark.parametrize(("attempt", "least"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0), (5000, 10.0)])
def test_throttled_delay_grows_and_is_doubled_at_most(attempt: int, least: float) -> None:
    """It starts at its own delay, grows like the backoff, and jitter is added only."""
    rng = Random(1)
    drawn = [throttled_delay(Retry(), Backoff(), attempt, rng) for _ in range(1000)]
    assert least <= min(drawn) < least * 1.01
    assert min(10.0, least * 1.99) < max(drawn) + 1e-9 <= min(10.0, least * 2) + 1e-9
