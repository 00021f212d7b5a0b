"""Which endpoint gets the next attempt."""

from collections import Counter

import pytest
from tests.unit.policies.balancing.support import A, B, C, D, Doors, balancer, choices, fail, picked, serve

from resilient_client._core.endpoint import Endpoint
from resilient_client._policies.balancing.endpoint_pool import (
    FAILURE_COST,
    INITIAL_TYPICAL,
)

# --- the strategies ---


def test_round_robin_gives_each_its_turn() -> None:
    """In the order in which they were given."""
    chooser = balancer(strategy="round_robin")
    assert [picked(chooser.pick(0.0)) for _ in range(7)] == [A, B, C, A, B, C, A]


def test_round_robin_skips_an_endpoint_that_refuses() -> None:
    """The order of the others does not change."""
    chooser = balancer(strategy="round_robin", circuits=Doors(B))
    assert [picked(chooser.pick(0.0)) for _ in range(4)] == [A, C, A, C]


def test_ordered_takes_the_first_that_admits() -> None:
    """The primary while it admits, then the first backup, and the primary again."""
    doors = Doors()
    chooser = balancer(strategy="ordered", circuits=doors)
    assert choices(chooser, 5) == {A: 5}
    doors.closed = {A: 5.0}
    assert choices(chooser, 5) == {B: 5}
    doors.closed = {}
    assert choices(chooser, 5) == {A: 5}


def test_least_loaded_prefers_the_idle_to_the_busy() -> None:
    """Equal latency: what is in flight decides."""
    chooser = balancer("ab")
    attempts = [chooser.pick(0.0) for _ in range(10)]
    assert Counter(in_flight.stats.endpoint for in_flight in attempts if in_flight) == {A: 5, B: 5}


def test_least_loaded_prefers_the_quick_to_the_slow() -> None:
    """Equal load: latency decides."""
    chooser = balancer("ab")
    serve(chooser, A, 0.2)
    serve(chooser, B, 0.02)
    assert choices(chooser, 20) == {B: 20}


def test_least_loaded_trades_load_for_latency() -> None:
    """One that is five times quicker has about five in flight for each of the other."""
    chooser = balancer("ab")
    serve(chooser, A, 0.1)
    serve(chooser, B, 0.02)
    attempts = [chooser.pick(0.0) for _ in range(12)]
    assert Counter(in_flight.stats.endpoint for in_flight in attempts if in_flight) == {A: 2, B: 10}


def test_least_loaded_spreads_equals_evenly() -> None:
    """Of endpoints that do not differ none is favoured."""
    chosen = choices(balancer("abcd"), 4000)
    assert all(900 < chosen[endpoint] < 1100 for endpoint in (A, B, C, D))


@pytest.mark.parametrize(("hosts", "strategy"), [("ab", "least_loaded"), ("abcd", "least_loaded"), ("ab", "ordered")])
@pytest.mark.parametrize("after", [0.0, 5.0])
def test_slow_start_of_an_idle_endpoint_is_a_ramp(hosts: str, strategy: str, after: float) -> None:
    """With one attempt at a time, it gets its weight of the share that it has without a slow start."""
    weight = max(0.1, after / 10)
    count = 4000
    usual = choices(balancer(hosts, strategy), count)[A]
    chooser = balancer(hosts, strategy)
    chooser.endpoint_pool.recovered(A, 100.0)
    assert choices(chooser, count, now=100.0 + after)[A] == pytest.approx(weight * usual, rel=0.15)


@pytest.mark.parametrize("after", [0.0, 5.0])
def test_slow_start_of_a_busy_endpoint_bounds_its_attempts(after: float) -> None:
    """With many attempts at once, it has no more than its weight of the attempts of the other."""
    chooser = balancer("ab")
    chooser.endpoint_pool.recovered(A, 100.0)
    attempts = [chooser.pick(100.0 + after) for _ in range(200)]
    in_flight = Counter(attempt.stats.endpoint for attempt in attempts if attempt)
    weight = max(0.1, after / 10)
    assert weight / 2 < in_flight[A] / in_flight[B] < 1.1 * weight


def test_slow_start_of_all_endpoints_favours_none() -> None:
    """After an outage of all, none is passed over for another that came back at the same time."""
    chooser = balancer("ab")
    for endpoint in (A, B):
        chooser.endpoint_pool.recovered(endpoint, 100.0)
    chosen = choices(chooser, 4000, now=100.0)
    assert all(1800 < chosen[endpoint] < 2200 for endpoint in (A, B))


def test_slow_start_does_not_pass_over_for_a_slow_endpoint() -> None:
    """One that came back is a better choice than one that is far slower than usual."""
    chooser = balancer("ab")
    serve(chooser, B, 1.0, now=100.0)
    chooser.endpoint_pool.recovered(A, 100.0)
    assert choices(chooser, 50, now=100.0) == {A: 50}


def test_least_loaded_avoids_quick_failures() -> None:
    """A server that refuses in a microsecond must not look like the fastest of all."""
    chooser = balancer("ab", eject_failures=None)
    serve(chooser, A, INITIAL_TYPICAL)
    fail(chooser, B)
    attempts = [chooser.pick(0.0) for _ in range(int(FAILURE_COST))]
    assert Counter(in_flight.stats.endpoint for in_flight in attempts if in_flight)[A] >= FAILURE_COST - 1


def test_least_loaded_avoids_who_throttles() -> None:
    """A quick 429 does not attract more requests either."""
    chooser = balancer("ab")
    serve(chooser, A, INITIAL_TYPICAL)
    in_flight = chooser.pick(0.0, (), [A])
    assert in_flight is not None
    in_flight.throttled(0.0, 0.001)
    in_flight.release()
    assert choices(chooser, 20) == {A: 20}


def test_least_loaded_avoids_a_silent_endpoint() -> None:
    """An endpoint that hangs gets one attempt before the first times out, not ten."""
    chooser = balancer("ab")
    serve(chooser, A, 0.02)
    serve(chooser, B, 0.02)
    hanging = chooser.pick(0.0, (), [A])
    assert hanging is not None
    assert choices(chooser, 20, now=1.0) == {A: 20}


def test_least_loaded_does_not_take_an_open_stream_for_silence() -> None:
    """Its head has come: what is still in flight is only a body."""
    chooser = balancer("ab")
    serve(chooser, A, 0.1)
    stream = chooser.pick(0.0, (), [A])
    assert stream is not None
    stream.success(0.0, 0.02)
    assert choices(chooser, 20, now=3600.0) == {A: 20}  # by load alone, at equal latency
    stream.release()
    assert choices(chooser, 20, now=0.0) == {B: 20}


def test_least_loaded_compares_all_after_a_bad_draw() -> None:
    """In a small set a bad draw is frequent: with two slow ones of four, every sixth."""
    chooser = balancer("abcd", eject_slow=None)
    for endpoint, seconds in zip((A, B, C, D), (1.0, 1.0, 0.02, 0.02), strict=True):
        serve(chooser, endpoint, seconds, times=5)
    assert set(choices(chooser, 300)) == {C, D}


# --- endpoints that were tried or refuse ---


@pytest.mark.parametrize("strategy", ["least_loaded", "round_robin", "ordered"])
def test_retry_goes_to_the_least_tried_endpoint(strategy: str) -> None:
    """The next attempt of a call goes elsewhere, as long as there is another endpoint."""
    chooser = balancer(strategy=strategy)
    tried: list[Endpoint] = []
    for _ in range(6):
        tried.append(picked(chooser.pick(0.0, tried)))
    assert set(tried[:3]) == set(tried[3:]) == {A, B, C}


def test_retry_prefers_an_untried_ejected_endpoint() -> None:
    """A slow answer is better than none."""
    chooser = balancer("ab", strategy="ordered")
    fail(chooser, B, times=5)
    assert picked(chooser.pick(1.0, [A])) == B


def test_pick_without_an_admitting_endpoint_is_none() -> None:
    """An open circuit always refuses. The wait is that of the first circuit to be tried again."""
    doors = Doors(A, B, C)
    doors.closed[B] = 3.0
    chooser = balancer(circuits=doors)
    assert chooser.pick(0.0) is None
    assert chooser.rejects_for(0.0) == 3.0
    assert chooser.retry_after(0.0) == 3.0


def test_retry_after_when_nobody_knows_is_none() -> None:
    """Forced open by hand: no number is made up."""
    doors = Doors(A, B)
    doors.closed = {A: float("inf"), B: float("inf")}
    assert balancer("ab", circuits=doors).retry_after(0.0) is None


# --- whether one endpoint failed alone ---


def test_failed_alone_when_another_served_meanwhile() -> None:
    """One that took far longer than is typical, while others served: it is not the upstream that is overloaded."""
    chooser = balancer("ab")
    serve(chooser, B, 0.02, now=95.0, times=5)
    assert chooser.failed_alone(A, 100.0, 10.0)


def test_failed_alone_needs_another_that_served() -> None:
    """An answer from before the attempt proves nothing: the whole upstream may be silent."""
    chooser = balancer("ab")
    serve(chooser, B, 0.02, now=89.0, times=5)
    serve(chooser, A, 0.02, now=95.0)
    fail(chooser, B, now=95.0)
    assert not chooser.failed_alone(A, 100.0, 10.0)


def test_not_failed_alone_when_all_are_slow() -> None:
    """An attempt that took little longer than the replies of the others is one of the many in an overload."""
    chooser = balancer("ab")
    serve(chooser, B, 5.0, now=95.0, times=10)
    assert not chooser.failed_alone(A, 100.0, 10.0)


def test_failed_alone_needs_another_that_admits() -> None:
    """The retry could not go to the endpoint that served."""
    doors = Doors()
    chooser = balancer("ab", circuits=doors)
    serve(chooser, B, 0.02, now=95.0)
    doors.closed = {B: 5.0}
    assert not chooser.failed_alone(A, 100.0, 10.0)
