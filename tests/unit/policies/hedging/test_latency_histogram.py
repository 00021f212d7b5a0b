"""How long attempts take: the percentile against a plain model, what cut samples teach, and what is forgotten."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_client._policies.hedging.latency_histogram import (
    BUCKETS_PER_DOUBLING,
    MIN_SAMPLES,
    MIN_SAMPLES_BEYOND,
    RESOLUTION,
    LatencyHistogram,
)

RATIO = 2 ** (1 / BUCKETS_PER_DOUBLING)
"""How far one bucket's end lies above its beginning."""

seconds = st.floats(0.0002, 100.0)
samples = st.lists(st.tuples(seconds, st.booleans()), min_size=MIN_SAMPLES, max_size=3 * MIN_SAMPLES)


def learnt(*latencies: tuple[float, bool]) -> LatencyHistogram:
    """A histogram of samples that came at once."""
    histogram = LatencyHistogram()
    for latency, complete in latencies:
        histogram.observe(0.0, latency, complete=complete)
    return histogram


def product_limit(latencies: list[tuple[float, bool]], share: float) -> float | None:
    """Kaplan and Meier, as the book has it: sample by sample, answers before cuts at the same time."""
    unanswered, waiting = 1.0, len(latencies)
    for latency, complete in sorted(latencies, key=lambda sample: (bucket(sample[0]), not sample[1])):
        if complete:
            unanswered *= 1 - 1 / waiting
            if unanswered <= 1 - share + 1e-9:
                return latency
        waiting -= 1
    return None


def bucket(latency: float) -> int:
    return math.floor(math.log(latency / RESOLUTION) * BUCKETS_PER_DOUBLING / math.log(2))


@pytest.mark.slow
@given(samples, st.sampled_from([0.5, 0.9, 0.95]))
def test_quantile_is_the_product_limit_estimate_to_a_bucket(latencies: list[tuple[float, bool]], share: float) -> None:
    """Of any mixture of answers and cuts: the model's value, at most one bucket above it and never below it."""
    exact, found = product_limit(latencies, share), learnt(*latencies).quantile(share)
    if exact is None:
        assert found is None
    else:
        assert found is not None
        low = RESOLUTION * RATIO ** bucket(exact)
        assert low * 0.999 <= found <= low * RATIO * 1.001


@pytest.mark.slow
@given(st.lists(seconds, min_size=MIN_SAMPLES, max_size=3 * MIN_SAMPLES), st.sampled_from([0.5, 0.9, 0.95]))
def test_quantile_of_answers_alone_has_their_share_below_it(latencies: list[float], share: float) -> None:
    """Without cuts it is the percentile of the text-book: the share lies at or below it, to a bucket."""
    found = learnt(*((latency, True) for latency in latencies)).quantile(share)
    assert found is not None
    assert sum(latency <= found * 1.001 for latency in latencies) >= share * len(latencies) - 1e-6
    assert sum(latency <= found / RATIO / 1.001 for latency in latencies) < share * len(latencies) + 1e-6


@pytest.mark.parametrize(("share", "enough"), [(0.5, MIN_SAMPLES), (0.95, MIN_SAMPLES), (0.99, 500), (0.999, 5000)])
def test_quantile_before_enough_samples_is_unknown(share: float, enough: int) -> None:
    """It takes 100 samples, and five expected beyond the percentile. With one less it is unknown."""
    assert enough == max(MIN_SAMPLES, round(MIN_SAMPLES_BEYOND / (1 - share)))
    histogram = learnt(*[(0.01, True)] * (enough - 1))
    assert histogram.quantile(share) is None
    histogram.observe(0.0, 0.01)
    assert histogram.quantile(share) == pytest.approx(0.01, rel=0.05)


def test_quantile_beyond_the_timeouts_is_unknown() -> None:
    """With nine in ten timed out, the 95th percentile is not that of the quick ones."""
    assert learnt(*[(0.01, True)] * 20, *[(1.0, False)] * 180).quantile(0.95) is None


def test_quantile_where_cuts_count_as_answers_is_the_timeout() -> None:
    """Negative control: had the timeouts been taken for answers, upstreams that answer nothing would seem to."""
    assert learnt(*[(0.01, True)] * 20, *[(1.0, True)] * 180).quantile(0.95) == pytest.approx(1.0, rel=0.05)


def test_quantile_is_not_moved_by_what_lost_early() -> None:
    """Hedges that are cancelled after a millisecond, because the first attempt answered, teach nothing of speed."""
    quick, lost = [(0.02, True)] * 200, [(0.001, False)] * 200
    assert learnt(*quick, *lost).quantile(0.5) == learnt(*quick).quantile(0.5)


def test_samples_of_two_windows_ago_are_forgotten() -> None:
    """A slower upstream is recognised after two windows, whatever came before."""
    histogram = LatencyHistogram(window=30.0)
    for second in range(300):
        for latency in [0.01] * 10 if second < 100 else [0.5] * 10:
            histogram.observe(second, latency)
        if second == 99:
            assert histogram.quantile(0.5) == pytest.approx(0.01, rel=0.05)
    assert histogram.quantile(0.5) == pytest.approx(0.5, rel=0.05)


def test_samples_of_a_rarely_called_route_are_kept() -> None:
    """With one call per minute, a window lasts until it holds enough samples."""
    histogram = LatencyHistogram(window=30.0)
    for minute in range(150):
        histogram.observe(60.0 * minute, 0.01)
    assert histogram.quantile(0.95) == pytest.approx(0.01, rel=0.05)


def test_memory_of_many_latencies_is_that_of_their_buckets() -> None:
    """What is kept does not grow with the calls."""
    histogram = learnt(*((0.0001 * (1 + number % 10_000), number % 7 > 0) for number in range(100_000)))
    assert len(histogram._current) < 2 * BUCKETS_PER_DOUBLING * 15


def test_latencies_out_of_all_bounds_are_kept_at_the_bounds() -> None:
    """Zero, and a year, are samples like others."""
    histogram = learnt(*[(0.0, True)] * 90, *[(3e7, True)] * 90)
    assert histogram.quantile(0.5) == RESOLUTION
    assert (histogram.quantile(0.95) or 0) > 3600


# --- what lies ahead ---


def end(latency: float) -> float:
    """Where the bucket of this latency ends: what it is taken for."""
    return RESOLUTION * RATIO ** (bucket(latency) + 1)


@pytest.mark.slow
@given(st.lists(st.floats(0.00021, 100.0), min_size=MIN_SAMPLES, max_size=3 * MIN_SAMPLES), st.floats(0.0002, 10.0))
def test_outlook_of_answers_is_their_mean_rest_in_means(latencies: list[float], waited: float) -> None:
    """Without cuts it is what paper and pencil give: the share that takes longer, and by how much."""
    outlook = learnt(*((latency, True) for latency in latencies)).outlook(waited)
    taken = [end(latency) for latency in latencies]
    rests = [seconds - waited for seconds in taken if seconds > waited * (1 + 1e-9)]
    if not rests:
        assert outlook == (0.0, math.inf)
        return
    assert outlook.late == pytest.approx(len(rests) / len(taken))
    mean = sum(taken) / len(taken)
    assert outlook.rest == pytest.approx(sum(rests) / len(rests) / mean / (1 + 3 / math.sqrt(len(rests))), abs=1e-9)


def test_outlook_without_memory_equals_a_new_attempt() -> None:
    """With an exponential distribution, the rest always takes the mean."""
    exponential = learnt(*((-0.05 * math.log(1 - (number + 0.5) / 10_000), True) for number in range(10_000)))
    for waited in (0.02, 0.05, 0.15):
        assert exponential.outlook(waited).rest == pytest.approx(1.0, abs=0.15)


def test_outlook_of_a_slow_few_is_long() -> None:
    """One in a hundred takes 200 ms instead of 2: after 10 ms, 190 are left, and a new attempt takes 4."""
    outlook = learnt(*[(0.002, True)] * 9900, *[(0.2, True)] * 100).outlook(0.01)
    assert outlook.late == pytest.approx(0.01)
    assert outlook.rest > 35


def test_outlook_is_lowered_with_few_samples() -> None:
    """The same times are judged by four and by four hundred samples: a few slow ones may be a coincidence."""
    few = learnt(*[(0.01, True)] * 96, *[(0.1, True)] * 4).outlook(0.02)
    many = learnt(*[(0.01, True)] * 9600, *[(0.1, True)] * 400).outlook(0.02)
    assert few.rest == pytest.approx(many.rest * 1.15 / 2.5)


def test_outlook_with_many_censored_samples_is_unknown() -> None:
    """With a fifth of the late attempts lost to hedges, the end of the late ones is not known."""
    quick, late = [(0.002, True)] * 950, [(0.003, True)] * 40
    assert learnt(*quick, *late, *[(0.006, False)] * 10).outlook(0.0025).rest == math.inf
    assert learnt(*quick, *late, *[(0.006, True)] * 10).outlook(0.0025).rest < 1


def test_outlook_before_enough_samples_is_unknown() -> None:
    """It is unknown below a hundred samples, and where no attempt took so long."""
    histogram = learnt(*[(0.01, True)] * 89, *[(0.1, True)] * 10)
    assert histogram.outlook(0.02) == (0.0, math.inf)
    histogram.observe(0.0, 0.1)
    assert histogram.outlook(0.02).rest < math.inf
    assert histogram.outlook(1.0) == (0.0, math.inf)


def test_results_stay_valid_for_a_sixteenth_more_samples() -> None:
    """At least for 32: a busy route does not compute them at each call."""
    histogram = learnt(*[(0.01, True)] * 16_000)
    before = histogram.quantile(0.5)
    for _ in range(999):
        histogram.observe(0.0, 1.0)
        assert histogram.quantile(0.94) == histogram.quantile(0.94) == pytest.approx(0.01, rel=0.05)
    for _ in range(1000):
        histogram.observe(0.0, 1.0)
    assert histogram.quantile(0.94) == pytest.approx(1.0, rel=0.05)
    assert histogram.quantile(0.5) == before
