"""Permits: so many at once, first come, first served within a priority, and none is ever lost."""

import pytest

from resilient_client._policies.limits.bulkhead import Permits
from resilient_client._settings.bulkhead import AdaptiveConcurrency, Bulkhead


class Waiters:
    """The waiters, and the result of each wait, in order."""

    def __init__(self, permits):
        self.permits = permits
        self.results = []
        self.gone = set()

    def queue(self, name, priority="user"):
        return self.permits.enqueue(priority, lambda granted: self.wake(name, granted))

    def wake(self, name, granted):
        if name in self.gone:
            return False
        self.results.append((name, granted))
        return True


def taken(count=1, **settings):
    """Permits that are all in use, and their waiters."""
    permits = Permits(Bulkhead(max_concurrent=count, **settings))
    assert all(permits.try_acquire() for _ in range(count))
    return permits, Waiters(permits)


def test_try_acquire_beyond_the_limit_gives_none():
    """There are as many permits as the settings say."""
    permits, _ = taken(3)
    assert not permits.try_acquire()
    assert (permits.limit, permits.in_use, permits.waiting) == (3, 3, 0)


def test_release_without_waiters_makes_a_permit_free():
    """A returned permit can be taken again."""
    permits, _ = taken()
    permits.release()
    assert permits.try_acquire()


def test_release_serves_the_first_waiter():
    """The permit is passed on in the same step, so no other attempt can take it."""
    permits, waiters = taken(max_queue=2)
    waiters.queue("first")
    waiters.queue("second")
    permits.release()
    assert waiters.results == [("first", True)]
    assert not permits.try_acquire()


def test_release_serves_user_before_batch_before_probe():
    """A higher priority goes first, whenever it came."""
    permits, waiters = taken(max_queue=9)
    for name in ("probe", "batch", "user"):
        waiters.queue(name, name)
    for _ in range(3):
        permits.release()
    assert waiters.results == [("user", True), ("batch", True), ("probe", True)]


def test_enqueue_at_a_full_queue_is_refused():
    """The queue has a bound."""
    _, waiters = taken(max_queue=1)
    assert waiters.queue("first") is not None
    assert waiters.queue("second") is None
    assert waiters.results == []


def test_enqueue_without_a_queue_is_refused():
    """By default no attempt waits."""
    permits, waiters = taken()
    assert waiters.queue("first") is None
    assert permits.waiting == 0


def test_user_displaces_the_last_of_the_lowest_priority():
    """A queue full of batch calls does not refuse a user call."""
    permits, waiters = taken(max_queue=3)
    for name, priority in (("batch", "batch"), ("probe 1", "probe"), ("probe 2", "probe")):
        waiters.queue(name, priority)
    assert waiters.queue("user") is not None
    assert waiters.results == [("probe 2", False)]
    assert permits.waiting == 3


@pytest.mark.parametrize("priority", ["user", "batch", "probe"])
def test_enqueue_at_a_queue_full_of_equals_is_refused(priority):
    """The earlier waiter stays: equal priorities do not displace one another."""
    _, waiters = taken(max_queue=1)
    waiters.queue("first", priority)
    assert waiters.queue("second", priority) is None
    assert waiters.results == []


def test_enqueue_of_a_lower_priority_at_a_full_queue_is_refused():
    """A lower priority displaces no waiter."""
    _, waiters = taken(max_queue=1)
    waiters.queue("user")
    assert waiters.queue("probe", "probe") is None


def test_leave_of_a_waiter_lets_the_next_one_up():
    """A waiter that has left is not served and takes no slot of the queue."""
    permits, waiters = taken(max_queue=2)
    first = waiters.queue("first")
    waiters.queue("second")
    first.leave()
    first.leave()
    assert permits.waiting == 1
    permits.release()
    assert waiters.results == [("second", True)]


def test_release_to_a_waiter_that_is_gone_goes_to_the_next():
    """A waiter may be cancelled and not have run since: its permit is not lost on it."""
    permits, waiters = taken(max_queue=2)
    waiters.queue("first")
    waiters.queue("second")
    waiters.gone.add("first")
    permits.release()
    assert waiters.results == [("second", True)]
    assert (permits.in_use, permits.waiting) == (1, 0)


def test_release_to_waiters_that_are_all_gone_frees_the_permit():
    """With no waiter left, the permit is free for the next attempt."""
    permits, waiters = taken(max_queue=1)
    waiters.queue("first")
    waiters.gone.add("first")
    permits.release()
    assert permits.idle


def test_limit_that_shrinks_takes_no_permit_back():
    """Attempts in flight go on. The next permits come when enough of them are done."""
    permits, waiters = taken(3, max_queue=1)
    waiters.queue("waits")
    permits._resize(1)
    permits.release()
    permits.release()
    assert waiters.results == []
    permits.release()
    assert waiters.results == [("waits", True)]


def test_limit_that_grows_serves_waiters_at_once():
    """No attempt waits for a permit that is free."""
    permits, waiters = taken(1, max_queue=3)
    for name in ("first", "second", "third"):
        waiters.queue(name)
    permits._resize(3)
    assert waiters.results == [("first", True), ("second", True)]


def test_permits_of_a_bulkhead_learn_nothing():
    """A fixed number does not change, whatever the endpoint does."""
    permits, _ = taken(5)
    for second in range(100):
        permits.answered(float(second), 0.1 * second)
        permits.timed_out(float(second))
    assert permits.limit == 5


def test_permits_of_adaptive_concurrency_follow_what_is_learnt():
    """Timeouts cost permits."""
    permits = Permits(AdaptiveConcurrency(initial=10))
    for second in range(5):
        permits.timed_out(float(second))
    assert permits.limit < 10
