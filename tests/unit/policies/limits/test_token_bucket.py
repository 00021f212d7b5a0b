"""The token bucket: so many in a stretch of time, first come, first served, and a pause for all."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_client._policies.limits.token_bucket import TokenBucket
from resilient_client._settings.rate_limit import RateLimit


class Waiters:
    """The waiters, and the result of each wait, in order."""

    def __init__(self, bucket):
        self.bucket = bucket
        self.results = []
        self.gone = set()

    def queue(self, name, now=0.0, latest=math.inf):
        return self.bucket.enqueue(now, latest, lambda came: self.wake(name, came))

    def wake(self, name, came):
        if name in self.gone:
            return False
        self.results.append((name, came))
        return True


def empty(now=0.0, **given):
    """A bucket whose tokens have just been taken, two a second by default, and its waiters."""
    bucket = TokenBucket(RateLimit(**{"rate": 2.0} | given))
    while bucket.try_take(now):
        pass
    return bucket, Waiters(bucket)


def test_try_take_after_a_quiet_time_gives_a_burst():
    """The bucket is full at first, and holds ``burst``."""
    bucket = TokenBucket(RateLimit(rate=10, burst=3))
    assert [bucket.try_take(0.0) for _ in range(5)] == [True, True, True, False, False]


def test_try_take_at_the_rate_always_succeeds():
    """A caller that keeps to the rate is never held back."""
    bucket = TokenBucket(RateLimit(rate=2))
    assert all(bucket.try_take(half / 2) for half in range(100))


def test_try_take_a_moment_too_early_is_refused():
    """The other side of that line."""
    bucket, _ = empty()
    assert not bucket.try_take(0.499)
    assert bucket.try_take(0.5)


def test_rate_is_counted_in_its_period():
    """``per`` may be a minute."""
    bucket, _ = empty(rate=6, per=60)
    assert bucket.due_in(0.0) == pytest.approx(10.0)


def test_due_in_counts_those_who_wait_before():
    """Each in the queue is one interval later than the one before."""
    bucket, waiters = empty()
    waiters.queue("first")
    waiters.queue("second")
    assert bucket.due_in(0.0) == pytest.approx(1.5)
    assert bucket.due_in(0.0, ahead=0) == pytest.approx(0.5)


def test_advance_serves_in_order_and_returns_the_next_time():
    """First come, first served, at the rate."""
    bucket, waiters = empty()
    for name in ("first", "second", "third"):
        waiters.queue(name)
    assert bucket.advance(0.0) == pytest.approx(0.5)
    assert bucket.advance(1.0) == pytest.approx(1.5)
    assert waiters.results == [("first", True)]
    assert bucket.advance(1.5) == pytest.approx(2.0)
    assert bucket.advance(2.0) is None
    assert waiters.results == [("first", True), ("second", True), ("third", True)]


def test_try_take_does_not_overtake_the_queue():
    """A token belongs to the attempt that has waited for it."""
    bucket, waiters = empty()
    waiters.queue("first")
    assert not bucket.try_take(0.5)


def test_enqueue_for_a_late_slot_is_refused():
    """No attempt waits in vain, because the time of a slot is known beforehand."""
    bucket, waiters = empty()
    assert waiters.queue("in time", latest=0.5) is not None
    assert waiters.queue("too late", latest=0.999) is None
    assert bucket.waiting == 1


def test_leave_of_a_waiter_brings_the_others_forward():
    """A slot that is not taken goes to the next waiter."""
    bucket, waiters = empty()
    first = waiters.queue("first")
    waiters.queue("second")
    first.leave()
    first.leave()
    bucket.advance(0.5)
    assert waiters.results == [("second", True)]


def test_turn_of_a_waiter_that_is_gone_goes_to_the_next():
    """A waiter may be cancelled and not have run since: no token is lost on it."""
    bucket, waiters = empty()
    waiters.queue("first")
    waiters.queue("second")
    waiters.gone.add("first")
    assert bucket.advance(0.5) is None
    assert waiters.results == [("second", True)]
    assert bucket.due_in(0.5) == pytest.approx(0.5)


def test_refund_gives_the_token_to_the_next():
    """A waiter cancelled in the loop iteration of its slot returns the token."""
    bucket, waiters = empty()
    waiters.queue("first")
    waiters.queue("second")
    bucket.advance(0.5)
    bucket.refund()
    bucket.advance(0.5)
    assert waiters.results == [("first", True), ("second", True)]


def test_pause_lets_nobody_pass_before_its_end():
    """Full bucket or not."""
    bucket = TokenBucket(RateLimit(rate=10, burst=5))
    assert bucket.pause(0.0, 3.0)
    assert not bucket.try_take(2.999)
    assert bucket.due_in(1.0) == pytest.approx(2.0)


def test_pause_ends_with_one_token_and_no_burst():
    """Callers that were asked to slow down do not come back in a burst."""
    bucket = TokenBucket(RateLimit(rate=10, burst=5))
    bucket.pause(0.0, 3.0)
    assert [bucket.try_take(3.0) for _ in range(3)] == [True, False, False]
    assert bucket.try_take(3.1)


def test_pause_shorter_than_the_one_that_holds_changes_nothing():
    """The longest requested pause counts."""
    bucket = TokenBucket(RateLimit(rate=10))
    bucket.pause(0.0, 3.0)
    assert not bucket.pause(1.0, 2.0)
    assert bucket.due_in(1.0) == pytest.approx(2.0)


def test_pause_in_the_past_changes_nothing():
    """``Retry-After: 0`` asks for no pause."""
    bucket = TokenBucket(RateLimit(rate=10))
    assert not bucket.pause(5.0, 5.0)
    assert bucket.try_take(5.0)


def test_pause_refuses_late_waiters_at_once():
    """The others stay, in their order, and move up."""
    bucket, waiters = empty()
    for name, latest in (("patient", 9.0), ("hasty", 2.0), ("just in time", 3.5)):
        waiters.queue(name, latest=latest)
    bucket.pause(0.0, 3.0)
    assert waiters.results == [("hasty", False)]
    bucket.advance(3.5)
    bucket.advance(3.5)
    assert waiters.results[1:] == [("patient", True)]
    assert bucket.waiting == 1


def test_refund_during_a_pause_does_not_shorten_it():
    """The pause is requested by the endpoint, not by the rate limit."""
    bucket, _ = empty()
    bucket.pause(0.0, 3.0)
    bucket.refund()
    assert not bucket.try_take(2.9)


@pytest.mark.parametrize(("now", "idle"), [(0.0, False), (0.49, False), (0.5, True)])
def test_idle_is_a_bucket_like_new(now, idle):
    """Only then it may be dropped: nothing would be forgotten."""
    bucket, _ = empty()
    assert bucket.idle(now) is idle


def test_bucket_with_a_pause_or_waiters_is_not_idle():
    """A pause must not be lost by an eviction."""
    paused = TokenBucket(RateLimit(rate=1))
    paused.pause(0.0, 5.0)
    bucket, waiters = empty()
    waiters.queue("waits")
    assert (paused.idle(4.0), bucket.idle(9.0)) == (False, False)


class Plain:
    """A bucket as children draw it: tokens that drip in, in small steps of exact numbers."""

    def __init__(self, burst):
        self.tokens, self.burst, self.clock, self.paused_until = burst * 4, burst * 4, 0, 0

    def at(self, now):
        """Time passes in quarters of a second, with one token (of four quarters) per second."""
        while self.clock < now:
            self.clock += 1
            if self.clock > self.paused_until:
                self.tokens = min(self.burst, self.tokens + 1)

    def take(self):
        if self.tokens < 4 or self.clock < self.paused_until:
            return False
        self.tokens -= 4
        return True

    def pause(self, until):
        if until <= max(self.paused_until, self.clock):
            return False
        since = max(self.paused_until, self.clock)  # until then nothing dripped anyway
        self.tokens = min(4, self.tokens + until - since)
        self.paused_until = until
        return True


TAKE = st.tuples(st.just("take"), st.integers(0, 9))
PAUSE = st.tuples(st.just("pause"), st.integers(0, 30))


@settings(max_examples=300)
@given(st.lists(st.one_of(TAKE, TAKE, PAUSE), max_size=80), st.integers(1, 4))
def test_bucket_agrees_with_tokens_that_drip(steps, burst):
    """One point in time gives the same results as a count of tokens, for any events."""
    bucket, plain, now = TokenBucket(RateLimit(rate=1, burst=burst)), Plain(burst), 0
    for what, number in steps:
        if what == "take":
            now += number
            plain.at(now)
            assert bucket.try_take(now / 4) is plain.take()
        else:
            assert bucket.pause(now / 4, (now + number) / 4) is plain.pause(now + number)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.floats(0, 2), st.integers(0, 3), st.floats(0, 3), st.booleans()), max_size=60),
    st.integers(1, 5),
    st.floats(0.5, 20),
)
def test_slots_never_exceed_the_rate_and_a_burst(steps, burst, rate):
    """In no interval are there more than ``burst`` and the rate, whatever the waiters do."""
    bucket, now, turns, waiting = TokenBucket(RateLimit(rate=rate, burst=burst)), 0.0, [], []

    def waiter(gone):
        def wake(came):
            if came and not gone:
                turns.append(now)
            return not gone

        return wake

    for passed, arriving, patience, gone in steps:
        now += passed
        bucket.advance(now)
        for _ in range(arriving):
            if bucket.try_take(now):
                turns.append(now)
            elif (turn := bucket.enqueue(now, now + patience, waiter(gone))) is not None:
                waiting.append(turn)
        if gone and waiting:
            waiting.pop(0).leave()
    for first, begins in enumerate(turns):
        for last in range(first, len(turns)):
            assert last - first + 1 <= burst + (turns[last] - begins) * rate + 1e-6
