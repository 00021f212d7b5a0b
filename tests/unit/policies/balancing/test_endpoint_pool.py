"""Which endpoints are left out for a while, and how the set changes."""

import pytest
from tests.unit.policies.balancing.support import A, B, C, D, Doors, balancer, choices, fail, picked, serve
from yarl import URL

from resilient_client._core.endpoint import Endpoint
from resilient_client._settings.load_balancing import HealthCheck

# --- ejection ---


def test_failures_in_a_row_eject() -> None:
    """Five in a row eject, as in Envoy. A success in between starts the count over."""
    chooser = balancer(strategy="round_robin")
    fail(chooser, A, times=4)
    serve(chooser, A, 0.02)
    fail(chooser, A, times=4)
    assert A in choices(chooser, 3)
    fail(chooser, A)
    assert choices(chooser, 4) == {B: 2, C: 2}


def test_ejected_endpoint_is_still_healthy_for_its_checks() -> None:
    """``EndpointState.healthy`` is the verdict of the health checks alone, and an ejection is shown apart from it."""
    chooser = balancer("ab")
    fail(chooser, A, times=5)
    state = chooser.states(1.0)[A]
    assert state.ejected_for > 0
    assert state.healthy


def test_failure_after_an_ejection_ejects_again() -> None:
    """An endpoint that fails again at once does not get another five failures."""
    chooser = balancer(strategy="round_robin", slow_start=0)
    fail(chooser, A, times=5)
    assert A in choices(chooser, 3, now=13.0)
    fail(chooser, A, now=13.0)
    assert A not in choices(chooser, 30, now=13.0)


def test_slowness_far_beyond_the_others_ejects() -> None:
    """Ten times the median of the others ejects, a single slow reply does not."""
    chooser = balancer(strategy="round_robin")
    for endpoint in (A, B, C):
        serve(chooser, endpoint, 0.02, times=11)
    serve(chooser, A, 1.0, times=5)
    assert A in choices(chooser, 3)
    serve(chooser, A, 1.0)
    assert A not in choices(chooser, 30)


def test_slowness_shared_by_all_ejects_nobody() -> None:
    """It is the load, or the network: passing one over would only make it worse."""
    chooser = balancer(strategy="round_robin")
    for _ in range(20):
        for endpoint in (A, B, C):
            serve(chooser, endpoint, 1.0)
    assert choices(chooser, 3) == {A: 1, B: 1, C: 1}


@pytest.mark.parametrize("off", [{"eject_failures": None}, {"eject_slow": None}])
def test_ejection_switched_off_does_not_eject(off: dict[str, None]) -> None:
    """Negative control: each reason can be taken away by itself."""
    chooser = balancer(strategy="round_robin", **off)
    for endpoint in (B, C):
        serve(chooser, endpoint, 0.02, times=5)
    if "eject_slow" in off:
        serve(chooser, A, 1.0, times=20)
    else:
        fail(chooser, A, times=20)
    assert A in choices(chooser, 3)


def test_ejection_never_takes_the_last_one() -> None:
    """With all others out, even the worst stays in."""
    chooser = balancer("ab", strategy="round_robin")
    fail(chooser, A, times=10)
    fail(chooser, B, times=10)
    assert choices(chooser, 4) == {B: 4}


@pytest.mark.parametrize(("hosts", "ceiling", "at_most"), [("abcd", 0.5, 2), ("abc", 0.5, 1), ("abcd", 0.0, 1)])
def test_ejection_has_a_ceiling(hosts: str, ceiling: float, at_most: int) -> None:
    """A share of all, but one in any case."""
    chooser = balancer(hosts, strategy="round_robin", max_ejected_ratio=ceiling)
    for stats in chooser.endpoint_pool.endpoints:
        fail(chooser, stats.endpoint, times=10)
    assert sum(state.ejected_for > 0 for state in chooser.states(0.0).values()) == at_most


def test_ejected_endpoint_comes_back_slowly() -> None:
    """It gets a tenth of its share at first, then more, and in the end all of it."""
    chooser = balancer("ab", strategy="round_robin")
    fail(chooser, A, times=5)
    back = chooser.endpoint_pool.endpoints[0].outlier_state.until
    shares = [choices(chooser, 1000, now=back + after)[A] / 1000 for after in (0.0, 5.0, 10.0)]
    assert shares[0] == pytest.approx(0.1, abs=0.05)
    assert shares[0] < shares[1] < shares[2] == 0.5


def test_ejected_endpoint_is_used_when_the_others_refuse() -> None:
    """An ejection may be ignored, an open circuit may not."""
    chooser = balancer("ab", circuits=Doors(B))
    fail(chooser, A, times=5)
    assert picked(chooser.pick(0.0)) == A


def test_health_checks_that_leave_too_few_are_ignored() -> None:
    """The few could not bear the load of all, and more likely the check is wrong."""
    chooser = balancer("abcd", strategy="round_robin", health_check=HealthCheck(fall=1))
    for stats in chooser.endpoint_pool.endpoints[:2]:
        chooser.endpoint_pool.checked(stats, 0.0, "status 503")
    assert choices(chooser, 4) == {C: 2, D: 2}
    chooser.endpoint_pool.checked(chooser.endpoint_pool.endpoints[2], 0.0, "status 503")
    assert choices(chooser, 4) == {A: 1, B: 1, C: 1, D: 1}


def test_changes_are_reported_once() -> None:
    """An ejection is reported with its reason, a return without. A second reason is not reported."""
    changes: list[tuple[Endpoint, str]] = []
    check = HealthCheck(fall=1, rise=1)
    chooser = balancer("ab", health_check=check, on_change=lambda *change: changes.append(change))
    fail(chooser, A, times=5)
    chooser.endpoint_pool.checked(chooser.endpoint_pool.endpoints[0], 1.0, "status 503")
    chooser.pick(60.0)
    chooser.endpoint_pool.checked(chooser.endpoint_pool.endpoints[0], 61.0, "")
    assert changes == [(A, "5 failures in a row"), (A, "")]


# --- the set ---


def test_replaced_endpoints_keep_what_is_known() -> None:
    """New endpoints start slowly. Removed ones are not picked, and their attempts still end."""
    chooser = balancer("ab", strategy="round_robin")
    fail(chooser, A, times=5)
    leaving = chooser.pick(0.0)
    assert leaving is not None
    assert leaving.stats.endpoint == B
    chooser.endpoint_pool.replace([URL("http://a"), URL("http://c")], 1.0)
    states = chooser.states(1.0)
    assert states[A].ejected_for > 0
    assert states[C].weight < 1
    assert choices(chooser, 5, now=1.0) == {C: 5}
    leaving.failure(2.0, 1.0)
    leaving.release()
    assert leaving.stats.in_flight == 0


def test_endpoint_whose_circuit_closed_starts_slowly() -> None:
    """Three probes do not prove that it bears its full share."""
    chooser = balancer()
    chooser.endpoint_pool.recovered(B, 5.0)
    assert chooser.states(5.0)[B].weight < 1.0 == chooser.states(5.0)[A].weight


def test_endpoint_that_came_back_is_not_judged_by_its_failures() -> None:
    """They made it look ten times slower. Its slow start limits it from now on, and its next replies."""
    chooser = balancer("ab", eject_failures=None, health_check=HealthCheck(rise=1, fall=1))
    pool = chooser.endpoint_pool
    a, b = pool.endpoints
    for stats in (a, b):
        fail(chooser, stats.endpoint, 5.0)
        assert chooser.states(5.0)[stats.endpoint].latency > pool.typical
    pool.recovered(A, 5.0)
    pool.checked(b, 5.0, "status 500")
    pool.checked(b, 5.0, "")
    assert [chooser.states(5.0)[endpoint].latency for endpoint in (A, B)] == [pool.typical] * 2


def test_reply_of_an_endpoint_that_is_gone_harms_nobody() -> None:
    """However much was known of it, and however little of those that are there now."""
    chooser = balancer("ab")
    serve(chooser, A, 0.02, times=10)
    late = chooser.pick(0.0, (), [B])
    assert late is not None
    chooser.endpoint_pool.replace([URL("http://c"), URL("http://d")], 1.0)
    late.success(2.0, 60.0)
    late.release()
    assert set(choices(chooser, 20, now=2.0)) == {C, D}
