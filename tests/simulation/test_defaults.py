"""The defaults on everything there is: never worse than not retrying, and better wherever a repeat can help.

Each ready scenario, and partial and hanging outages besides, under the defaults, under the same client with retries
off, and under one that has time limits only (no retries, no circuit). Run with ``-s`` to see the table;
``benchmarks/reliability.py`` makes the same with more seeds for docs/reliability.md.
"""

from __future__ import annotations

import statistics
from functools import cache

import pytest
from tests.simulation.kit import plain

from resilient_client import CircuitBreaker, ClientConfig
from resilient_client._policies.circuit.circuit import Circuit, CircuitState
from resilient_client.simulation import DEFAULT, NONE, Errors, Outage, Run, Scenario, ready_scenario, simulate

pytestmark = pytest.mark.slow

SEEDS = range(1, 6)
OFF = ClientConfig(retry=None)
"""The same client, not retrying."""
EARLY = ClientConfig(
    circuit_breaker=CircuitBreaker(
        failure_ratio=0.5, minimum_calls=10, window=30, break_duration=2, max_break_duration=10, half_open_probes=3
    )
)
"""Circuits that open at half the failures, in breaks that double: what was the default before these tests."""
CONFIGS = {"default": DEFAULT, "retries off": OFF, "time limits only": NONE, "early": EARLY}


def scenario(name: str) -> Scenario:
    """A ready one; or one in which a share of all requests fails, for half a minute or always, or all hang."""
    kind, _, rate = name.partition(" ")
    if kind == "always":
        return plain(clients=10, rate=5, duration=60, error_rate=float(rate) / 100)
    if kind == "errors":
        return plain(Errors(at=20, lasting=30, rate=float(rate) / 100), clients=10, rate=5, duration=80)
    if kind == "hanging":
        return plain(Outage(at=20, lasting=20, how="hang"), clients=10, rate=5, duration=60)
    return ready_scenario(name).scenario


@cache
def told(name: str, config: str) -> list[Run]:
    """A run for each seed, as a line of the table, too."""
    runs = [simulate(scenario(name).with_config(CONFIGS[config]), seed=seed) for seed in SEEDS]
    load = statistics.mean(run.totals.amplification for run in runs)
    print(f"| {name:16} | {config:16} | {mean(runs):6.2f} % | {load:.2f} |")
    return runs


def mean(runs: list[Run]) -> float:
    """Calls that succeed, in per cent."""
    return 100 * statistics.mean(run.totals.success for run in runs)


def gain(name: str, *, over: str, config: str = "default") -> float:
    """Percentage points of success that ``config`` has more than ``over``, on average."""
    return mean(told(name, config)) - mean(told(name, over))


@pytest.mark.parametrize("over", ["retries off", "time limits only"])
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("blip", 2),
        ("slow-endpoint", 0.5),
        ("thundering-herd", 1),
        ("errors 50", 2),
        ("errors 80", 0.3),
        ("always 50", 5),
    ],
)
def test_defaults_where_a_repeat_can_help_are_better_than_none(name: str, least: float, over: str) -> None:
    """So many more of all calls succeed, in per cent."""
    assert gain(name, over=over) > least


@pytest.mark.parametrize("over", ["retries off", "time limits only"])
@pytest.mark.parametrize("name", ["brownout", "tail", "errors 90"])
def test_defaults_where_a_repeat_can_hardly_help_harm_nobody(name: str, over: str) -> None:
    """What can be served is served, whoever asks again for the rest; nothing to heal; a tenth that gets through."""
    assert gain(name, over=over) >= 0


@pytest.mark.parametrize(("name", "noise"), [("outage", 0.2), ("hanging", 0.2)])
def test_defaults_in_a_total_outage_are_as_good_as_the_same_client_without_retries(name: str, noise: float) -> None:
    """No repeat can succeed, and none is to blame for a failure: equal, but for chance."""
    assert gain(name, over="retries off") >= -noise


@pytest.mark.parametrize("name", ["outage", "hanging"])
def test_circuit_costs_a_second_of_a_total_outage(name: str) -> None:
    """The price of the circuit: calls between the end and the first probe. At most 1 % of these 60 and 80 s."""
    assert gain(name, over="time limits only") >= -1


def test_circuits_of_four_layers_cost_some_seconds() -> None:
    """Each of them has to find out in turn: at most 2.5 % of 45 s, of which hardly any for the retries."""
    assert gain("layered-retries", over="time limits only") >= -2.5
    assert gain("layered-retries", over="retries off") >= -1


@pytest.mark.parametrize("name", ["spike", "stall"])
def test_defaults_in_a_spike_and_a_stall_cost_at_most_a_point(name: str) -> None:
    """At the edge of capacity, where naive clients fall for good."""
    assert gain(name, over="time limits only") >= -1


@pytest.mark.parametrize("name", ["outage", "hanging"])
def test_outage_under_the_defaults_is_noticed_to_be_over_within_two_seconds(name: str) -> None:
    """On each seed."""
    for run in told(name, "default"):
        recovery = run.recovery()
        assert recovery is not None
        assert recovery <= 2


@pytest.mark.parametrize(
    ("name", "loss"), [("outage", 3), ("errors 80", 5), ("always 50", 25), ("layered-retries", 15)]
)
def test_early_circuits_with_long_breaks_cost_more_than_they_save(name: str, loss: float) -> None:
    """Negative control: of all calls, so many per cent fail that would be answered with no retries and no circuit."""
    assert gain(name, over="time limits only", config="early") < -loss


def test_hanging_outage_under_a_circuit_that_waits_for_its_probes_outlives_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: a probe that hangs would keep everybody out until it is given up, ten seconds later."""
    passes = Circuit._passes

    def waiting(circuit: Circuit, now: float) -> bool:
        hanging = circuit.state is CircuitState.HALF_OPEN and circuit.probes_out > 0
        return not hanging and passes(circuit, now)

    monkeypatch.setattr(Circuit, "_passes", waiting)
    recovery = simulate(scenario("hanging"), seed=1).recovery()
    assert recovery is not None
    assert recovery > 2


def test_calls_are_the_same_for_all_who_are_compared() -> None:
    """The calls offered depend on the seed alone: settings are compared on equal terms."""
    for ours, bare in zip(told("blip", "default"), told("blip", "retries off"), strict=True):
        assert ours.calls["shop"].offered == bare.calls["shop"].offered
