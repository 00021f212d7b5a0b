"""What the calls of one route share for their hedges: who they are, when a hedge is a gain, and what it costs."""

from __future__ import annotations

import math
from random import Random

import pytest
from multidict import CIMultiDict
from yarl import URL

from resilient_client import Call, Endpoint, Hedging, Request, Retry, RetryBudget, Timeout
from resilient_client._core.attempt import Attempt
from resilient_client._core.context import CallContext, ClientContext
from resilient_client._core.events import Events
from resilient_client._policies.hedging.budget import START, HedgeTokens
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
def test_route_knows_its_own_requests(other: Request, same: bool) -> None:
    """Those with the same method to the same endpoint; whoever asks has found it by the path."""
    assert a_route().matches(other) is same


def test_hedge_before_anything_is_known_counts_as_a_gain() -> None:
    """A fixed delay is the user's own word; what the budgets allow is tried."""
    assert a_route().is_worthwhile(0.05)


def test_hedge_for_a_slow_few_is_a_gain_and_where_all_are_slow_it_is_none() -> None:
    """One in twenty that takes a hundred times as long, or times that differ by chance alone."""
    assert fed(*[0.002] * 950, *[0.2] * 50).is_worthwhile(0.003)
    assert not fed(*all_alike()).is_worthwhile(0.15)


def test_hedge_for_what_is_slower_than_anything_before_is_a_gain() -> None:
    """Where it was none all the time: something has happened to this one."""
    assert fed(*all_alike()).is_worthwhile(1.0)


def test_hedge_is_no_gain_while_many_are_late() -> None:
    """Whatever was learnt before: 30 in a hundred are late now, and hedges would add to what slows them."""
    route = fed(*[0.002] * 950, *[0.2] * 50)
    for number in range(1, 30):
        route.late(number, 0.003, Hedging())
    assert not route.is_worthwhile(0.003)


def test_step_that_is_late_as_often_as_its_delay_says_is_no_news() -> None:
    """Half of all take longer than the median: that half of them are late is no crowd."""
    route = fed(*[0.002] * 500, *[0.2] * 500)
    for number in range(1, 1000, 2):
        route.late(number, 0.003, Hedging(delay="p50"))
        assert not route.tokens.crowded


def test_hedge_takes_of_both_budgets_or_of_none() -> None:
    """Five tokens for retries, ten for hedges: five hedges; the sixth leaves the ten minus five as they are."""
    budgets: RetryBudgets[Endpoint] = RetryBudgets(RetryBudget(initial=5, min_per_second=0))
    route, request = a_route(budgets), a_request()
    assert [route.pay(request, 0.0, 1.0) for _ in range(6)] == [True] * 5 + [False]
    assert route.tokens.available == START - 5
    route.refund(request, 1.0)
    assert route.tokens.available == START - 4
    assert route.pay(request, 0.0, 1.0)


def test_attempt_that_had_not_begun_teaches_nothing() -> None:
    """A hedge that was cancelled before it had a record."""
    route, request = a_route(), a_request()
    del request.attempt
    route.ended(request, complete=False)
    assert route.latencies._count == 0
