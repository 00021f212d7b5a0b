"""Metastable failures: close to the capacity, naive retries sustain the overload of a spike or a stall for ever.

The model is that of *Metastable Failures in Distributed Systems* (Bronson et al., HotOS 2021), see
``kit.near_capacity``. The server continues to work for clients that have left, so that once all clients wait too long,
all of its work is wasted.
"""

from __future__ import annotations

import statistics
from functools import cache

import pytest
from tests.simulation.support import SEEDS, near_capacity, plain, runs

from resilient_client import Backoff, ClientConfig, Retry, RetryBudget, Timeout
from resilient_client._policies.retry import decision
from resilient_client.simulation import DEFAULT, NAIVE, NONE, Run, Stall, simulate

pytestmark = pytest.mark.slow

JITTER_ALONE = ClientConfig(retry=Retry(backoff=Backoff()), retry_budget=None, circuit_breaker=None)
FEW = range(1, 4)

each = pytest.mark.parametrize(("incident", "clients"), [("spike", 1), ("stall", 1), ("spike", 40), ("stall", 40)])


@cache
def twenty(incident: str, clients: int, preset: str) -> list[Run]:
    """One run per seed, shared by several tests."""
    return runs(near_capacity(incident, clients=clients), {"default": DEFAULT, "none": NONE}[preset])


def goodput_after(run: Run, seconds: int) -> float:
    """Successful calls per offered call, from ``seconds`` after the end of the incident."""
    assert run.scenario.incident is not None
    begin = int(run.scenario.incident[1]) + seconds
    end = int(run.scenario.duration)
    stats = run.calls["shop"]
    return sum(stats.goodput[begin:end]) / sum(stats.offered[begin:end])


def lost(ours: list[Run], bare: list[Run]) -> float:
    """Success of the bare clients minus success of ours, in percentage points, on average."""
    successes = (statistics.mean(run.totals.success for run in group) for group in (bare, ours))
    return 100 * (next(successes) - next(successes))


@each
def test_defaults_recover_within_15_s(incident: str, clients: int) -> None:
    """Within 15 s calls succeed as before and goodput is 95 % of the offered load, with each of 20 seeds."""
    for run in twenty(incident, clients, "default"):
        recovery = run.recovery()
        assert recovery is not None
        assert recovery <= 15
        assert goodput_after(run, 15) >= 0.95


@each
def test_defaults_cost_at_most_a_point(incident: str, clients: int) -> None:
    """Over 20 seeds, success is at most one percentage point below that of one request per call."""
    assert lost(twenty(incident, clients, "default"), twenty(incident, clients, "none")) <= 1


@pytest.mark.parametrize("incident", ["spike", "stall"])
@pytest.mark.parametrize("config", [NAIVE, JITTER_ALONE], ids=["naive", "jitter alone"])
def test_retries_without_a_budget_never_recover(incident: str, config: ClientConfig) -> None:
    """Negative control: with three attempts, with jitter or without, hardly any call succeeds afterwards."""
    for run in runs(near_capacity(incident), config, FEW):
        assert run.recovery() is None
        assert goodput_after(run, 15) < 0.05


def test_stall_costs_a_hundred_clients_little() -> None:
    """Timeouts empty all hundred buckets at once: the loss is at most two percentage points."""
    assert _lost_by_hundred_clients() <= 2


def test_stall_costs_much_if_timeouts_are_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: if a retry after a timeout cost two tokens, the loss would be more than four points."""
    monkeypatch.setattr(decision, "TIMEOUT_COST", 2.0)
    assert _lost_by_hundred_clients() > 4


def test_stall_costs_little_with_full_buckets() -> None:
    """The loss is as small if all buckets are full, as they are after hours without failures."""
    assert _lost_by_hundred_clients(RetryBudget(initial=RetryBudget().burst)) <= 2


def test_stall_costs_more_with_buckets_for_two_timeouts() -> None:
    """Negative control: without circuits, buckets that pay for two timeouts lose two points more."""
    more = _lost_by_hundred_clients(RetryBudget(initial=10, burst=10), circuits=False)
    assert more > _lost_by_hundred_clients(circuits=False) + 2


def _lost_by_hundred_clients(budget: RetryBudget | None = None, *, circuits: bool = True) -> float:
    scenario = near_capacity("stall", clients=100)
    ours = DEFAULT if budget is None else ClientConfig(retry_budget=budget)
    if not circuits:
        ours = ours.merge(ClientConfig(circuit_breaker=None))
    return lost(runs(scenario, ours, FEW), runs(scenario, NONE, FEW))


def test_hanging_replica_is_partly_compensated() -> None:
    """The cost of expensive timeouts: where a fifth of requests times out for 30 s, a fifth of them is saved."""
    scenario = plain(Stall(at=60, lasting=30, replica=0), replicas=5, clients=10, rate=4, duration=120)
    scenario = scenario.with_config(ClientConfig(timeout=Timeout(attempt=3)))
    failed, failed_bare = (1 - simulate(which).totals.success for which in (scenario, scenario.with_config(NONE)))
    assert failed <= 0.8 * failed_bare


def test_offered_calls_depend_on_the_seed_alone() -> None:
    """The offered calls are the same with all settings, so that settings can be compared, on 20 seeds."""
    for ours, bare in zip(twenty("spike", 1, "default"), twenty("spike", 1, "none"), strict=True):
        assert ours.calls["shop"].offered == bare.calls["shop"].offered
    assert len(SEEDS) == 20
