"""The defaults in all scenarios: not worse than without retries, and better wherever a repeat can help.

The scenarios are the ready ones, and partial and hanging outages. Each is run with the defaults, with the same client
without retries, and with a client that has timeouts only (no retries, no circuit). Run with ``-s`` to see the table.
``benchmarks/reliability.py`` makes the same table with more seeds for docs/reliability.md.
"""

from __future__ import annotations

import statistics
from functools import cache

import pytest
from tests.simulation.support import plain

from resilient_client import CircuitBreaker, ClientConfig
from resilient_client._policies.circuit.circuit import Circuit, CircuitState
from resilient_client.simulation import DEFAULT, NONE, Errors, Outage, Run, Scenario, ready_scenario, simulate

pytestmark = pytest.mark.slow

SEEDS = range(1, 6)
OFF = ClientConfig(retry=None)
"""The same client without retries."""
EARLY = ClientConfig(
    circuit_breaker=CircuitBreaker(
        failure_ratio=0.5, minimum_calls=10, window=30, break_duration=2, max_break_duration=10, half_open_probes=3
    )
)
"""Circuits that open at 50 % failures, with breaks that double: the default before these tests existed."""
CONFIGS = {"default": DEFAULT, "retries off": OFF, "time limits only": NONE, "early": EARLY}


def scenario(name: str) -> Scenario:
    """A ready scenario, or one in which a share of all requests fails for 30 s or always, or all hang."""
    kind, _, rate = name.partition(" ")
    if kind == "always":
        return plain(clients=10, rate=5, duration=60, error_rate=float(rate) / 100)
    if kind == "errors":
        return plain(Errors(at=20, lasting=30, rate=float(rate) / 100), clients=10, rate=5, duration=80)
    if kind == "hanging":
        return plain(Outage(at=20, lasting=20, how="hang"), clients=10, rate=5, duration=60)
    return ready_scenario(name).scenario


@cache
def runs_of(name: str, config: str) -> list[Run]:
    """Run the scenario once per seed, and print a line of the table."""
    runs = [simulate(scenario(name).with_config(CONFIGS[config]), seed=seed) for seed in SEEDS]
    load = statistics.mean(run.totals.amplification for run in runs)
    print(f"| {name:16} | {config:16} | {mean(runs):6.2f} % | {load:.2f} |")
    return runs


def mean(runs: list[Run]) -> float:
    """Calls that succeed, in per cent, on average."""
    return 100 * statistics.mean(run.totals.success for run in runs)


def gain(name: str, *, over: str, config: str = "default") -> float:
    """The success of ``config`` minus that of ``over``, in percentage points, on average."""
    return mean(runs_of(name, config)) - mean(runs_of(name, over))


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
def test_defaults_help_where_a_repeat_can_help(name: str, least: float, over: str) -> None:
    """More calls succeed than without retries, by at least ``least`` percentage points."""
    assert gain(name, over=over) > least


@pytest.mark.parametrize("over", ["retries off", "time limits only"])
@pytest.mark.parametrize("name", ["brownout", "tail", "errors 90"])
def test_defaults_do_no_harm_where_repeats_are_useless(name: str, over: str) -> None:
    """No fewer calls succeed where the capacity limits success, where nothing fails, and where 90 % fail."""
    assert gain(name, over=over) >= 0


@pytest.mark.parametrize(("name", "noise"), [("outage", 0.2), ("hanging", 0.2)])
def test_defaults_in_total_outage_equal_no_retries(name: str, noise: float) -> None:
    """No repeat can succeed, and none makes a call fail, so the results are equal within random noise."""
    assert gain(name, over="retries off") >= -noise


@pytest.mark.parametrize("name", ["outage", "hanging"])
def test_circuit_costs_a_second_after_total_outage(name: str) -> None:
    """The circuit refuses calls between the end of the outage and the first probe: at most 1 % of 60 or 80 s."""
    assert gain(name, over="time limits only") >= -1


def test_circuits_of_four_layers_cost_some_seconds() -> None:
    """The circuits recover one after the other: at most 2.5 % of 45 s, of which retries cause at most 1 %."""
    assert gain("layered-retries", over="time limits only") >= -2.5
    assert gain("layered-retries", over="retries off") >= -1


@pytest.mark.parametrize("name", ["spike", "stall"])
def test_defaults_in_spike_and_stall_cost_at_most_a_point(name: str) -> None:
    """Close to the capacity, where naive clients never recover, the defaults lose at most one percentage point."""
    assert gain(name, over="time limits only") >= -1


@pytest.mark.parametrize("name", ["outage", "hanging"])
def test_defaults_recover_within_two_seconds(name: str) -> None:
    """After an outage, calls succeed as before within two seconds, with each seed."""
    for run in runs_of(name, "default"):
        recovery = run.recovery()
        assert recovery is not None
        assert recovery <= 2


@pytest.mark.parametrize(
    ("name", "loss"), [("outage", 3), ("errors 80", 5), ("always 50", 25), ("layered-retries", 15)]
)
def test_early_circuits_with_long_breaks_lose_calls(name: str, loss: float) -> None:
    """Negative control: more than ``loss`` per cent of all calls fail that succeed with timeouts only."""
    assert gain(name, over="time limits only", config="early") < -loss


def test_circuit_that_waits_for_probes_recovers_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a hanging probe would keep all callers out until it times out, ten seconds later."""
    admits = Circuit._admits_unclosed

    def waiting(circuit: Circuit, now: float) -> bool:
        hanging = circuit.state is CircuitState.HALF_OPEN and circuit.probes_out > 0
        return not hanging and admits(circuit, now)

    monkeypatch.setattr(Circuit, "_admits_unclosed", waiting)
    recovery = simulate(scenario("hanging"), seed=1).recovery()
    assert recovery is not None
    assert recovery > 2


def test_offered_calls_depend_on_the_seed_alone() -> None:
    """The offered calls are the same with all settings, so that settings can be compared."""
    for ours, bare in zip(runs_of("blip", "default"), runs_of("blip", "retries off"), strict=True):
        assert ours.calls["shop"].offered == bare.calls["shop"].offered
