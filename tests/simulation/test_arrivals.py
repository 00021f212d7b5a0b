"""Arrival processes and distributions, and the validation of scenarios."""

from __future__ import annotations

import statistics
from itertools import takewhile
from random import Random

import pytest
from tests.simulation.support import plain

from resilient_client import ConfigurationError
from resilient_client.simulation import (
    NONE,
    Callers,
    ClosedLoop,
    Constant,
    Exponential,
    Herd,
    LoadDependent,
    Lognormal,
    Mixture,
    Poisson,
    RateChange,
    Scenario,
    Share,
    Steady,
    Upstream,
    simulate,
)


def before(end: float, arrivals: Poisson | Steady | Herd, clients: int = 1) -> list[tuple[float, int]]:
    return list(takewhile(lambda moment: moment[0] < end, arrivals.moments(Random(7), clients)))


def test_poisson_arrivals_have_mean_and_variance_of_the_rate() -> None:
    """Mean and variance of the calls per second are the rate, and each client gets an equal share."""
    moments = before(2000, Poisson(rate=5), clients=4)
    seconds = [0] * 2000
    for at, _ in moments:
        seconds[int(at)] += 1
    assert statistics.mean(seconds) == pytest.approx(20, rel=0.02)
    assert statistics.variance(seconds) == pytest.approx(20, rel=0.1)
    assert [sum(client == number for _, client in moments) / len(moments) for number in range(4)] == pytest.approx(
        [0.25] * 4, abs=0.01
    )


def test_rate_changes_apply_while_they_last() -> None:
    """The rate is doubled from 10 to 20 s, and 0 from 30 s on."""
    steady = Steady(rate=10, changes=[RateChange(at=10, lasting=10, rate=20), RateChange(at=30, rate=0)])
    times = [at for at, _ in before(100, steady)]
    counts = [sum(begin <= at < begin + 10 for at in times) for begin in (0, 10, 20, 30)]
    assert counts == pytest.approx([100, 200, 100, 0], abs=1)


def test_rate_of_zero_first_starts_with_the_change() -> None:
    """There are no calls until the change, and the full rate after it: no call is carried over."""
    times = [at for at, _ in before(12, Steady(rate=0, changes=[RateChange(at=10, rate=2)]))]
    assert times == [10.5, 11.0, 11.5]


def test_herd_calls_at_once_and_every_period() -> None:
    """All clients call at the same time, and again in every period."""
    assert before(12, Herd(at=1, every=10), clients=2) == [(1, 0), (1, 1), (11, 0), (11, 1)]


def test_closed_loop_never_has_more_calls_than_workers() -> None:
    """Workers wait for their answers, so a slow upstream is called less often."""
    run = simulate(
        Scenario(
            upstreams=[Upstream(name="api", service=4)],
            callers=[Callers(name="batch", calls="api", clients=2, arrivals=ClosedLoop(workers=3, pause=1))],
            duration=50,
        )
    )
    assert run.upstreams["api"].peak == 6
    assert run.totals.calls == 6 * 10


@pytest.mark.parametrize(
    ("distribution", "mean"),
    [
        (Constant(seconds=2), 2),
        (Exponential(mean=2), 2),
        (Lognormal(median=2, sigma=0), 2),
        (Lognormal(median=2, sigma=0.5), 2.266),
        (LoadDependent(base=1, per_request=0.1), 1.3),
        (Mixture(parts=[Share(share=3, of=1), Share(share=1, of=Exponential(mean=9))]), 3),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_distributions_have_their_mean(distribution: Exponential, mean: float) -> None:
    """The mean of many draws is the one that follows from the parameters, with 3 requests in progress."""
    rng = Random(3)
    assert statistics.mean(distribution.draw(rng, 3) for _ in range(40_000)) == pytest.approx(mean, rel=0.03)


def test_numbers_and_texts_stand_for_common_models() -> None:
    """A number is a constant time or a Poisson rate, and a text is a duration."""
    assert Upstream(name="api", service="50ms").service == Constant(seconds=0.05)
    assert Callers(name="shop", calls="api", arrivals=3).arrivals == Poisson(rate=3)


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        ({"upstreams": [{"name": "Api"}]}, r"Upstream.name is 'Api'"),
        ({"upstreams": [{"name": "api", "service": {"kind": "gamma"}}]}, r"service .*'constant', 'exponential'"),
        ({"upstreams": [{"name": "api", "changes": [{"kind": "outage", "at": 1, "haw": 2}]}]}, "did you mean 'how'"),
        ({"callers": [{"name": "shop", "calls": "db"}]}, "'shop' calls 'db', which is not an upstream; there are: api"),
        ({"callers": [{"name": "api", "calls": "api"}]}, "the name 'api' is used twice"),
        ({"upstreams": [{"name": "api", "calls": ["api"]}]}, "'api' calls itself"),
        ({"duration": None}, "Scenario.duration is None"),
    ],
)
def test_scenario_invalid_is_rejected(invalid: dict[str, object], message: str) -> None:
    """An invalid scenario is rejected with a message before anything runs."""
    valid = {"upstreams": [{"name": "api"}], "callers": [{"name": "shop", "calls": "api"}], "duration": 1}
    with pytest.raises(ConfigurationError, match=message):
        Scenario(**valid | invalid)


def test_scenario_without_duration_is_rejected() -> None:
    """The message names the missing field."""
    with pytest.raises(ConfigurationError, match=r"Scenario\.duration is missing"):
        Scenario(upstreams=[Upstream(name="api")], callers=[Callers(name="shop", calls="api")])


def test_with_config_keeps_other_settings() -> None:
    """``with_config`` overrides field by field, for callers and for services."""
    scenario = plain().with_config(NONE)
    assert scenario.callers[0].config.retry is scenario.upstreams[0].config.retry is None
    assert scenario.callers[0].config.timeout == plain().callers[0].config.timeout
