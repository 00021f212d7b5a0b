"""The learnt limit: it grows while answers keep their time and it is used, shrinks while they queue, and recovers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_client._policies.limits.adaptive import ConcurrencyLimit
from resilient_client._settings.bulkhead import AdaptiveConcurrency

BOUNDS = AdaptiveConcurrency(initial=20, min_limit=2, max_limit=50)


class Endpoint:
    """Answers a number of attempts at once. Time passes with each answer."""

    def __init__(self, adaptive=None, now=100.0):
        self.limit = ConcurrencyLimit(adaptive or AdaptiveConcurrency())
        self.now = now

    def serve(self, seconds, took=0.05, in_use=None):
        """Good answers of this latency, one each 10 ms, for a while. By default all permits are in use."""
        for _ in range(round(seconds * 100)):
            self.now += 0.01
            self.limit.answered(self.now, took, self.limit.value if in_use is None else in_use)
        return self.limit.value

    def time_out(self, seconds):
        """A timeout each 100 ms, for a while."""
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.limit.timed_out(self.now)
        return self.limit.value

    def queue_up(self, seconds, servers, took=0.05):
        """An endpoint with a few servers, where attempts beyond those wait for one."""
        for _ in range(round(seconds * 100)):
            self.now += 0.01
            self.limit.answered(self.now, took * max(1.0, self.limit.value / servers), self.limit.value)
        return self.limit.value


def test_limit_before_any_answer_is_the_initial_one():
    """Without answers, the initial value applies."""
    assert Endpoint().limit.value == 20


@pytest.mark.parametrize(("given", "begins"), [({"max_limit": 10}, 10), ({"min_limit": 30}, 30), ({"initial": 5}, 5)])
def test_limit_begins_within_its_bounds(given, begins):
    """A default that does not fit what was set gives way."""
    assert Endpoint(AdaptiveConcurrency(**given)).limit.value == begins


def test_limit_in_use_with_steady_answers_grows_to_the_maximum():
    """What the endpoint bears without getting slower, it may have."""
    endpoint = Endpoint()
    assert endpoint.serve(2) > 25
    assert endpoint.serve(60) == 200


def test_limit_less_than_half_in_use_does_not_grow():
    """Where callers are few, steady answers prove nothing."""
    assert Endpoint().serve(60, in_use=9) == 20


def test_limit_half_in_use_grows():
    """The other side of that line."""
    assert Endpoint().serve(2, in_use=15) > 20


def test_limit_for_single_slow_attempts_does_not_shrink():
    """An endpoint that is slow by itself is not relieved by refusing attempts."""
    endpoint = Endpoint()
    endpoint.serve(5, in_use=1)
    assert endpoint.serve(5, took=1.0, in_use=1) == 20


def test_limit_gives_up_its_unused_part_while_slow():
    """It falls to twice what is in use and no further, so no usual attempt is refused."""
    endpoint = Endpoint()
    endpoint.serve(5, in_use=3)
    assert endpoint.serve(10, took=1.0, in_use=3) == 6


def test_limit_that_was_given_up_comes_back_without_being_used():
    """When answers have recovered it returns to its initial value, and not beyond."""
    endpoint = Endpoint()
    endpoint.serve(5, in_use=3)
    endpoint.serve(5, took=1.0, in_use=3)
    assert endpoint.serve(10, in_use=1) == 20
    assert endpoint.serve(60, in_use=1) == 20


def test_limit_of_a_small_client_falls_to_the_minimum():
    """Its own share of the queue is small, but at four times the usual latency one attempt is left."""
    endpoint = Endpoint()
    endpoint.serve(5)
    assert endpoint.serve(30, took=0.2) == 1


@pytest.mark.parametrize(("took", "shrinks"), [(0.6, False), (0.8, True)])
def test_window_is_judged_as_soon_as_its_verdict_is_certain(took, shrinks):
    """Ten answers of 50 ms with the tolerance are 0.75 s: one that takes longer says it for all ten."""
    limit = ConcurrencyLimit(AdaptiveConcurrency())
    for number in range(50):
        limit.answered(0.1 * number, 0.05, 20)
    before = limit._limit
    limit.answered(5.2, took, 20)
    assert (limit._limit < before) is shrinks


def test_window_with_few_answers_is_judged_after_a_second():
    """A client that is answered twice a second needs no five seconds for each step."""
    limit = ConcurrencyLimit(AdaptiveConcurrency())
    for number in range(21):
        limit.answered(0.5 * number, 0.05, 20)
    assert limit._windows == 10


def test_limit_with_answers_within_the_tolerance_does_not_shrink():
    """A little slower is no queue."""
    endpoint = Endpoint()
    before = endpoint.serve(5)
    assert endpoint.serve(5, took=0.07) >= before


def test_limit_with_answers_beyond_the_tolerance_shrinks():
    """Twice as slow is one."""
    endpoint = Endpoint()
    before = endpoint.serve(5)
    assert endpoint.serve(5, took=0.2) < before / 2


@pytest.mark.parametrize("servers", [10, 20, 40])
def test_limit_settles_near_what_the_endpoint_serves(servers):
    """The endpoint is kept busy, with a queue about as long as what it serves."""
    endpoint = Endpoint()
    endpoint.serve(5, in_use=1)
    settled = endpoint.queue_up(60, servers)
    assert servers <= settled <= 2 * servers + 4


def test_limit_after_timeouts_shrinks_to_the_minimum():
    """A timeout counts as the worst of answers."""
    endpoint = Endpoint(BOUNDS)
    assert endpoint.time_out(1) < 20
    assert endpoint.time_out(30) == 2


def test_limit_takes_one_timeout_a_window():
    """A hundred attempts that give up together are one piece of news, not a hundred."""
    endpoint = Endpoint()
    endpoint.serve(1, in_use=1)
    endpoint.now += 1
    for _ in range(100):
        endpoint.limit.timed_out(endpoint.now)
    assert endpoint.limit.value == 18


def test_limit_at_the_minimum_recovers_within_seconds():
    """When answers take their usual time again, the limit returns."""
    endpoint = Endpoint()
    endpoint.serve(10, in_use=1)
    assert endpoint.time_out(30) == 1
    assert endpoint.serve(5) >= 20


def test_limit_of_an_endpoint_that_is_slower_for_good_recovers():
    """What was slow becomes usual: the limit is not stuck at the bottom."""
    endpoint = Endpoint()
    endpoint.serve(10)
    low = endpoint.serve(20, took=0.2)
    assert endpoint.serve(600, took=0.2) > 3 * low


def test_usual_time_survives_a_short_slowness():
    """Half a minute of slow answers hardly moves the usual time."""
    endpoint = Endpoint()
    endpoint.serve(60, in_use=1)
    endpoint.queue_up(30, servers=5)
    assert endpoint.limit._usual < 0.06


ANSWER = st.tuples(st.just("answered"), st.floats(0, 5), st.floats(0, 1e4), st.integers(1, 300))
TIMEOUT = st.tuples(st.just("timed_out"), st.floats(0, 5), st.just(0.0), st.just(1))


@settings(max_examples=200)
@given(st.lists(st.one_of(ANSWER, TIMEOUT), max_size=200), st.integers(1, 300))
def test_limit_stays_in_bounds_and_moves_in_small_steps(steps, initial):
    """For any measurements, a step takes at most a tenth off and adds at most 0.8."""
    adaptive = AdaptiveConcurrency(initial=initial, min_limit=1, max_limit=300)
    limit, now = ConcurrencyLimit(adaptive), 0.0
    for what, passed, took, in_use in steps:
        now += passed
        before = limit._limit
        value = limit.answered(now, took, in_use) if what == "answered" else limit.timed_out(now)
        assert value == limit.value
        assert 1 <= value <= 300
        assert before * 0.9 - 1e-9 <= limit._limit <= before + 0.8 + 1e-9


class Plain:
    """The formula, written down plainly: all measurements are kept, and each window is computed from them."""

    def __init__(self):
        self.limit, self.usual, self.windows = 20.0, 0.0, 0
        self.began, self.answers, self.timeouts = None, [], 0

    def tell(self, now, took, in_use):
        if self.began is None:
            self.began = now
        if took is None:
            self.timeouts += 1
        else:
            self.answers.append((took, in_use))
        wanted = min(10, int(self.limit))
        late = self.usual > 0 and sum(took for took, _ in self.answers) >= wanted * 1.5 * self.usual
        enough = took is None or len(self.answers) >= wanted or late or now - self.began >= 1
        length = min(1.0, max(0.1, 2 * self.usual))
        if enough and now - self.began >= length:
            self.judge(length)
            self.began, self.answers, self.timeouts = now, [], 0

    def judge(self, length):
        gradient = 1.0
        if self.answers:
            mean = sum(took for took, _ in self.answers) / len(self.answers)
            self.windows += 1
            weight = 1 / self.windows if self.windows <= 10 else length / 300
            self.usual = (1 - weight) * self.usual + weight * mean
            if self.usual > 2 * mean:
                self.usual *= 0.95
            gradient = min(1.0, max(0.5, 1.5 * self.usual / mean))
        peak = max((in_use for _, in_use in self.answers), default=0)
        wanted = self.limit * gradient + min(4, 0.4 * self.limit)
        if self.timeouts:
            wanted = self.limit / 2
        elif peak < self.limit / 2 and gradient == 1:
            self.limit = max(self.limit, min(20, 0.8 * self.limit + 0.2 * wanted))
            return
        elif peak < self.limit / 2:
            wanted = self.limit if peak == 1 else min(self.limit, max(wanted, 2 * peak))
        self.limit = min(200.0, max(1.0, 0.8 * self.limit + 0.2 * wanted))


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.floats(0.001, 0.5), st.one_of(st.none(), st.floats(0.001, 3)), st.integers(1, 60)), max_size=300
    )
)
def test_limit_agrees_with_the_plain_formula(steps):
    """Any answers and timeouts at any times give the number that the formula gives."""
    limit, plain, now = ConcurrencyLimit(AdaptiveConcurrency()), Plain(), 0.0
    for passed, took, in_use in steps:
        now += passed
        plain.tell(now, took, in_use)
        if took is None:
            limit.timed_out(now)
        else:
            limit.answered(now, took, in_use)
        assert limit._limit == pytest.approx(plain.limit)
