"""The sliding window counts what is recent, within the width of a bucket, and nothing else."""

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_client._policies.circuit.window import SlidingWindow

LENGTH, BUCKETS = 30.0, 10
WIDTH = LENGTH / BUCKETS

steps = st.lists(st.tuples(st.floats(0, 40, allow_nan=False), st.booleans(), st.booleans()), min_size=1, max_size=60)


def test_totals_without_calls_are_zero():
    """A window that saw nothing counts nothing."""
    assert SlidingWindow(LENGTH).totals(5.0) == (0, 0, 0)


def test_totals_after_calls_count_each_kind():
    """Calls, failures and slow calls are counted separately. One call may be both failed and slow."""
    window = SlidingWindow(LENGTH)
    for failed, slow in ((False, False), (True, False), (False, True), (True, True)):
        window.record(1.0, failed, slow)
    assert window.totals(1.0) == (4, 2, 2)


def test_totals_after_the_length_drop_the_call():
    """A call is forgotten once the window's length has passed, even if none was recorded since."""
    window = SlidingWindow(LENGTH)
    window.record(0.0, True, True)
    assert window.totals(LENGTH - 0.001) == (1, 1, 1)
    assert window.totals(LENGTH) == (0, 0, 0)


def test_record_after_a_long_silence_starts_afresh():
    """Whole rounds without a call leave nothing behind."""
    window = SlidingWindow(LENGTH)
    window.record(1.0, True, False)
    window.record(1.0 + 7 * LENGTH, False, False)
    assert window.totals(1.0 + 7 * LENGTH) == (1, 0, 0)


def test_record_with_an_earlier_time_counts_as_the_latest():
    """A clock that steps back loses no call and frees no bucket."""
    window = SlidingWindow(LENGTH)
    window.record(100.0, True, False)
    window.record(50.0, True, False)
    assert window.totals(100.0) == (2, 2, 0)


def test_clear_forgets_everything():
    """After clear, the window is as new."""
    window = SlidingWindow(LENGTH)
    window.record(100.0, True, True)
    window.clear()
    assert window.totals(100.0) == (0, 0, 0)
    window.record(1.0, False, False)
    assert window.totals(1.0) == (1, 0, 0)


@settings(derandomize=True, deadline=None)
@given(steps)
def test_totals_at_any_time_lie_within_one_bucket_of_the_truth(steps):
    """What is younger than the length less a bucket counts, what is older than the length does not."""
    window, now, calls = SlidingWindow(LENGTH, BUCKETS), 0.0, []
    tolerance = 1e-6  # of the float arithmetic here, not of the window
    for pause, failed, slow in steps:
        now += pause
        window.record(now, failed, slow)
        calls.append((now, True, failed, slow))
        at_least = [call for call in calls if now - call[0] < LENGTH - WIDTH - tolerance]
        at_most = [call for call in calls if now - call[0] <= LENGTH + tolerance]
        for field, total in enumerate(window.totals(now), start=1):
            assert sum(call[field] for call in at_least) <= total <= sum(call[field] for call in at_most)


def size_of_a_window(calls_a_bucket: int) -> int:
    """The bytes that a window of full length holds."""
    tracemalloc.start()
    try:
        window = SlidingWindow(LENGTH, BUCKETS)
        for call in range(BUCKETS * calls_a_bucket):
            window.record(call * WIDTH / calls_a_bucket, call % 2 == 0, call % 3 == 0)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_window_of_many_calls_holds_no_more_than_one_of_few():
    """What is kept are numbers, packed: only the three of the newest bucket may be a few bytes longer."""
    size_of_a_window(1)  # what is made once
    assert size_of_a_window(10_000) - size_of_a_window(10) < 200


def test_window_with_calls_in_one_bucket_only_holds_no_ring():
    """Most endpoints of a client that calls thousands are called now and then."""
    assert size_of_a_window(1) > 250  # the control: a call in each bucket
    tracemalloc.start()
    try:
        window = SlidingWindow(LENGTH)
        window.record(1.0, True, True)
        assert tracemalloc.get_traced_memory()[0] < 200
    finally:
        tracemalloc.stop()


def test_count_above_the_size_of_a_bucket_is_capped():
    """Four billion calls within a bucket do not raise."""
    window = SlidingWindow(LENGTH)
    window.record(1.0, False, False)
    window._calls = 2**40
    assert window.totals(1.0 + WIDTH) == (2**32 - 1, 0, 0)
