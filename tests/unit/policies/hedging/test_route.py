"""What the calls of one route share for hedging: which requests belong to it, when a hedge is worthwhile, its cost."""

from __future__ import annotations

import math
from random import Random

import pytest
from multidict import CIMultiDict
from yarl import URL

from resilient_client import Call, Endpoint, Hedging, Request, Retry, RetryBudget, Timeout
from resilient_client._core.attempt import Attempt
from resilient_client._core.context import CallContext, ClientContext
from resilient_client._core.listeners import Events
from resilient_client._policies.hedging.budget import INITIAL_TOKENS, HedgeTokens
from resilient_client._policies.hedging.latency_histogram import LatencyHistogram
from resilient_client._policies.hedging.route import HedgingRoute
from resilient_client._policies.retry.budget import RetryBudgets
from resilient_client._settings.call_settings import CallSettings

URL_ = URL("http://api.example.com/users")
ENDPOINT = Endpoint.of(URL_)
CLIENT = ClientContext("test", Events(), Random(0))


def a_request(method: str = "GET", endpoint: Endpoint = ENDPOINT, elapsed: float = 0.01) -> Request:
    """An attempt that took so long."""
    context = CallContext(Call(method, "/users"), CLIENT, CallSettings(Timeout().limits(), Retry()), 0.0)
    context.upstream = endpoint
    attempt = Attempt(1, endpoint, 0.0)
    attempt.elapsed = elapsed
    return Request(method, URL_, CIMultiDict(), None, context, attempt, endpoint)


def a_route(budgets: RetryBudgets[Endpoint] | None = None) -> HedgingRoute:
    """Nothing is known of it."""
    return HedgingRoute(a_request(), LatencyHistogram(), HedgeTokens(), budgets)


def fed(*latencies: float) -> HedgingRoute:
    """It has had these answers."""
    route = a_route()
    for latency in latencies:
        route.answered(a_request(elapsed=latency), Hedging())
    return route


def all_alike() -> list[float]:
    """Times without memory, 50 ms in the mean."""
    return [-0.05 * math.log(1 - (number + 0.5) / 1000) for number in range(1000)]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (a_request(), True),
        (a_request(method="HEAD"), False),
        (a_request(endpoint=Endpoint("http", "other.example.com", 80)), False),
    ],
)
def test_route_matches_its_own_requests(other: Request, same: bool) -> None:
    """These have the same method and endpoint. The path has been matched by the caller."""
    assert a_route().matches(other) is same


def test_hedge_without_samples_is_worthwhile() -> None:
    """A fixed delay is the user's decision, within the budgets."""
    assert a_route().is_worthwhile(0.05)


def test_hedge_is_worthwhile_only_for_a_slow_few() -> None:
    """One in twenty that takes a hundred times as long is hedged, random latencies are not."""
    assert fed(*[0.002] * 950, *[0.2] * 50).is_worthwhile(0.003)
    assert not fed(*all_alike()).is_worthwhile(0.15)


def test_hedge_for_what_is_slower_than_anything_before_is_a_gain() -> None:
    """Where it was none all the time: something has happened to this one."""
    assert fed(*all_alike()).is_worthwhile(1.0)


def test_hedge_is_not_worthwhile_while_many_are_late() -> None:
    """With 30 in a hundred late, hedges would add to what slows them."""
    route = fed(*[0.002] * 950, *[0.2] * 50)
    for number in range(1, 30):
        route.late(number, 0.003, Hedging())
    assert not route.is_worthwhile(0.003)


def test_usual_lateness_of_a_delay_is_no_congestion() -> None:
    """Half of all attempts take longer than the median, so that half of them are late is usual."""
    route = fed(*[0.002] * 500, *[0.2] * 500)
    for number in range(1, 1000, 2):
        route.late(number, 0.003, Hedging(delay="p50"))
        assert not route.tokens.congested


def test_hedge_takes_from_both_budgets_or_neither() -> None:
    """With five retry tokens and ten for hedges there are five hedges. The sixth takes nothing."""
    budgets: RetryBudgets[Endpoint] = RetryBudgets(RetryBudget(initial=5, min_per_second=0))
    route, request = a_route(budgets), a_request()
    assert [route.try_spend(request, 0.0, 1.0) for _ in range(6)] == [True] * 5 + [False]
    assert route.tokens.available == INITIAL_TOKENS - 5
    route.refund(request, 1.0)
    assert route.tokens.available == INITIAL_TOKENS - 4
    assert route.try_spend(request, 0.0, 1.0)


def test_attempt_that_had_not_begun_teaches_nothing() -> None:
    """A hedge that was cancelled before it had a record."""
    route, request = a_route(), a_request()
    del request.attempt
    route.ended(request, complete=False)
    assert route.latencies._count == 0
