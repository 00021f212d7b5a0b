"""What a total outage costs an upstream: the load of our clients beside that of naive ones."""

from __future__ import annotations

import pytest
from tests.simulation.kit import load_in_outage, outage

from resilient_client import CircuitBreaker, ClientConfig, RetryBudget
from resilient_client.simulation import DEFAULT, NAIVE, Callers, Outage, Scenario, Upstream, simulate

pytestmark = pytest.mark.slow

WITHOUT_CIRCUIT = ClientConfig(circuit_breaker=None)
WITHOUT_BUDGET = ClientConfig(circuit_breaker=None, retry_budget=None)

MANY = outage(clients=100, rate=10, lasting=60)
ENDING = outage(clients=10, rate=10, lasting=60, before=20, after=60)
TINY = outage(clients=1000, rate=0.1, lasting=300, before=60, after=1)


def layers(lasting: float) -> Scenario:
    """Three layers of services above a database that fails; each calls the next with a client of its own."""
    return Scenario(
        upstreams=[
            Upstream(name="front", calls=["middle"], replicas=3),
            Upstream(name="middle", calls=["db"], replicas=3),
            Upstream(name="db", service=0.005, changes=[Outage(at=10, lasting=lasting, how="error")]),
        ],
        callers=[Callers(name="user", calls="front", clients=10, arrivals=10)],
        duration=10 + lasting,
    )


def test_outage_of_a_minute_with_the_budget_alone_costs_at_most_a_quarter_more() -> None:
    """100 clients with 10 calls a second, circuit off: at most 1.25 times the offered load."""
    assert load_in_outage(simulate(MANY.with_config(WITHOUT_CIRCUIT))) <= 1.25


def test_outage_of_a_minute_under_the_defaults_costs_far_less_than_the_calls() -> None:
    """The same with the circuit on: a third of the offered load at the most."""
    assert load_in_outage(simulate(MANY)) <= 0.33


def test_outage_of_a_minute_under_the_defaults_is_over_when_it_is() -> None:
    """Circuits do not keep it up: all calls succeed again within 15 s, on each of 5 seeds."""
    for seed in range(1, 6):
        recovery = simulate(ENDING, seed=seed).recovery()
        assert recovery is not None
        assert recovery <= 15


def test_outage_of_a_minute_under_long_breaks_outlives_itself() -> None:
    """Negative control: breaks that double up to a minute keep callers out for half a minute after the end."""
    long_breaks = ClientConfig(circuit_breaker=CircuitBreaker(break_duration=5, max_break_duration=60))
    recovery = simulate(ENDING.with_config(long_breaks)).recovery()
    assert recovery is not None
    assert recovery > 30


def test_outage_without_budget_and_circuit_triples_the_load() -> None:
    """Negative control: pauses and jitter alone leave three requests for every call."""
    assert load_in_outage(simulate(outage(clients=100, rate=10, lasting=5).with_config(WITHOUT_BUDGET))) > 2.8


def test_outage_met_by_a_fleet_of_tiny_clients_costs_at_most_half_more() -> None:
    """1,000 clients with a call every 10 s, for 5 minutes, circuit off: at most 1.5 times the offered load."""
    assert load_in_outage(simulate(TINY.with_config(WITHOUT_CIRCUIT))) <= 1.5


def test_outage_met_by_a_fleet_whose_budgets_have_a_floor_doubles_the_load() -> None:
    """Negative control: a tenth of a token a second for each process, harmless as it looks, defeats the budget."""
    floor = ClientConfig(circuit_breaker=None, retry_budget=RetryBudget(min_per_second=0.1))
    fewer = outage(clients=300, rate=0.1, lasting=300, before=60, after=1)  # a fleet is as bad as each of its clients
    assert load_in_outage(simulate(fewer.with_config(floor))) > 1.9


def test_outage_below_three_layers_with_the_budget_alone_at_most_doubles_the_load() -> None:
    """Every layer retries, circuits off, and the database still gets at most two requests for each call."""
    assert load_in_outage(simulate(layers(60).with_config(WITHOUT_CIRCUIT)), "db") <= 2


def test_outage_below_three_layers_under_the_defaults_costs_far_less_than_the_calls() -> None:
    """With circuits on, the database gets a third of the calls at the most."""
    assert load_in_outage(simulate(layers(60).with_config(DEFAULT)), "db") <= 0.33


def test_outage_below_three_naive_layers_multiplies_the_load_by_27() -> None:
    """Negative control: three attempts in each of three layers are 27 requests where there was one."""
    assert load_in_outage(simulate(layers(5).with_config(NAIVE)), "db") > 25
