"""The load on an upstream during a total outage: our clients compared with naive clients."""

from __future__ import annotations

import pytest
from tests.simulation.support import load_in_outage, outage

from resilient_client import CircuitBreaker, ClientConfig, RetryBudget
from resilient_client.simulation import DEFAULT, NAIVE, Callers, Outage, Scenario, Upstream, simulate

pytestmark = pytest.mark.slow

WITHOUT_CIRCUIT = ClientConfig(circuit_breaker=None)
WITHOUT_BUDGET = ClientConfig(circuit_breaker=None, retry_budget=None)

MANY = outage(clients=100, rate=10, lasting=60)
ENDING = outage(clients=10, rate=10, lasting=60, before=20, after=60)
TINY = outage(clients=1000, rate=0.1, lasting=300, before=60, after=1)


def layers(lasting: float) -> Scenario:
    """Two services above a database that fails, so that three layers of clients retry."""
    return Scenario(
        upstreams=[
            Upstream(name="front", calls=["middle"], replicas=3),
            Upstream(name="middle", calls=["db"], replicas=3),
            Upstream(name="db", service=0.005, changes=[Outage(at=10, lasting=lasting, how="error")]),
        ],
        callers=[Callers(name="user", calls="front", clients=10, arrivals=10)],
        duration=10 + lasting,
    )


def test_outage_with_budget_alone_adds_a_quarter() -> None:
    """100 clients with 10 calls per second, without circuits: at most 1.25 times the offered load."""
    assert load_in_outage(simulate(MANY.with_config(WITHOUT_CIRCUIT))) <= 1.25


def test_outage_with_defaults_reduces_the_load() -> None:
    """The same with circuits: at most a third of the offered load."""
    assert load_in_outage(simulate(MANY)) <= 0.33


def test_outage_with_defaults_recovers_within_15_s() -> None:
    """Circuits do not prolong the outage: calls succeed as before within 15 s, with each of 5 seeds."""
    for seed in range(1, 6):
        recovery = simulate(ENDING, seed=seed).recovery()
        assert recovery is not None
        assert recovery <= 15


def test_outage_with_long_breaks_recovers_late() -> None:
    """Negative control: with breaks that double up to a minute, callers are refused for 30 s after the end."""
    long_breaks = ClientConfig(circuit_breaker=CircuitBreaker(break_duration=5, max_break_duration=60))
    recovery = simulate(ENDING.with_config(long_breaks)).recovery()
    assert recovery is not None
    assert recovery > 30


def test_outage_without_budget_and_circuit_triples_the_load() -> None:
    """Negative control: with backoff and jitter only, there are three requests per call."""
    assert load_in_outage(simulate(outage(clients=100, rate=10, lasting=5).with_config(WITHOUT_BUDGET))) > 2.8


def test_outage_with_fleet_of_tiny_clients_adds_a_half() -> None:
    """1,000 clients with a call every 10 s, for 5 minutes, without circuits: at most 1.5 times the load."""
    assert load_in_outage(simulate(TINY.with_config(WITHOUT_CIRCUIT))) <= 1.5


def test_outage_with_refilled_budgets_doubles_the_load() -> None:
    """Negative control: a refill of 0.1 tokens per second and process, which looks harmless, defeats the budget."""
    floor = ClientConfig(circuit_breaker=None, retry_budget=RetryBudget(min_per_second=0.1))
    fewer = outage(clients=300, rate=0.1, lasting=300, before=60, after=1)  # the ratio does not depend on their number
    assert load_in_outage(simulate(fewer.with_config(floor))) > 1.9


def test_outage_below_layers_with_budget_alone_doubles() -> None:
    """Where every layer retries, without circuits, the database gets at most two requests per call."""
    assert load_in_outage(simulate(layers(60).with_config(WITHOUT_CIRCUIT)), "db") <= 2


def test_outage_below_layers_with_defaults_reduces_load() -> None:
    """With circuits, the database gets at most a third of a request per call."""
    assert load_in_outage(simulate(layers(60).with_config(DEFAULT)), "db") <= 0.33


def test_outage_below_naive_layers_multiplies_load_by_27() -> None:
    """Negative control: three attempts in each of three layers are 27 requests per call."""
    assert load_in_outage(simulate(layers(5).with_config(NAIVE)), "db") > 25
