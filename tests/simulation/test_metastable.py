"""Trouble that outlives its cause: at the edge of capacity, naive retries keep a spike or a stall alive for ever.

The model of *Metastable Failures in Distributed Systems* (Bronson et al., HotOS 2021), see ``kit.at_the_edge``: the
server works on for clients that have left, so once everybody waits too long, it works for nobody.
"""

from __future__ import annotations

import statistics
from functools import cache

import pytest
from tests.simulation.kit import SEEDS, at_the_edge, plain, runs

from resilient_client import Backoff, ClientConfig, Retry, RetryBudget, Timeout
from resilient_client._policies import retry
from resilient_client.simulation import DEFAULT, NAIVE, NONE, Run, Stall, simulate

pytestmark = pytest.mark.slow

JITTER_ALONE = ClientConfig(retry=Retry(backoff=Backoff()), retry_budget=None, circuit_breaker=None)
FEW = range(1, 4)

each = pytest.mark.parametrize(("incident", "clients"), [("spike", 1), ("stall", 1), ("spike", 40), ("stall", 40)])


@cache
def twenty(incident: str, clients: int, preset: str) -> list[Run]:
    """One run for each seed; several tests look at the same."""
    return runs(at_the_edge(incident, clients=clients), {"default": DEFAULT, "none": NONE}[preset])


def goodput_after(run: Run, seconds: int) -> float:
    """Successful calls for each call offered, from so long after the end of the trouble."""
    assert run.scenario.incident is not None
    begin = int(run.scenario.incident[1]) + seconds
    end = int(run.scenario.duration)
    stats = run.calls["shop"]
    return sum(stats.goodput[begin:end]) / sum(stats.offered[begin:end])


def lost(ours: list[Run], bare: list[Run]) -> float:
    """Percentage points of success that the bare clients have more, on average."""
    successes = (statistics.mean(run.totals.success for run in them) for them in (bare, ours))
    return 100 * (next(successes) - next(successes))


@each
def test_trouble_under_the_defaults_is_over_15_s_after_its_cause(incident: str, clients: int) -> None:
    """On each of 20 seeds calls succeed as before, and goodput is 95 % of what is offered, within 15 s."""
    for run in twenty(incident, clients, "default"):
        recovery = run.recovery()
        assert recovery is not None
        assert recovery <= 15
        assert goodput_after(run, 15) >= 0.95


@each
def test_trouble_under_the_defaults_costs_hardly_more_than_without_retries(incident: str, clients: int) -> None:
    """Over 20 seeds, success is at most one percentage point below that of one request a call."""
    assert lost(twenty(incident, clients, "default"), twenty(incident, clients, "none")) <= 1


@pytest.mark.parametrize("incident", ["spike", "stall"])
@pytest.mark.parametrize("config", [NAIVE, JITTER_ALONE], ids=["naive", "jitter alone"])
def test_trouble_under_retries_without_a_budget_never_ends(incident: str, config: ClientConfig) -> None:
    """Negative control: three attempts, with jittered pauses or without, and nobody is served any more."""
    for run in runs(at_the_edge(incident), config, FEW):
        assert run.recovery() is None
        assert goodput_after(run, 15) < 0.05


def test_stall_met_by_a_hundred_small_clients_costs_little() -> None:
    """However many buckets there are, timeouts empty them at once: at most two percentage points."""
    assert _lost_by_a_hundred() <= 2


def test_stall_met_by_a_hundred_small_clients_costs_much_if_timeouts_are_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: at two tokens for a retry after a timeout, it would be more than four."""
    monkeypatch.setattr(retry, "TIMEOUT_COST", 2.0)
    assert _lost_by_a_hundred() > 4


def test_stall_met_by_a_hundred_small_clients_with_full_buckets_costs_little() -> None:
    """After hours of health, every one of them has all the tokens that a bucket holds."""
    assert _lost_by_a_hundred(RetryBudget(initial=RetryBudget().burst)) <= 2


def test_stall_met_by_a_hundred_small_clients_costs_more_if_buckets_hold_two_timeouts() -> None:
    """Negative control: with one token more in each bucket, it would be more than two percentage points."""
    assert _lost_by_a_hundred(RetryBudget(initial=10, burst=10)) > 2


def _lost_by_a_hundred(budget: RetryBudget | None = None) -> float:
    scenario = at_the_edge("stall", clients=100)
    ours = DEFAULT if budget is None else ClientConfig(retry_budget=budget)
    return lost(runs(scenario, ours, FEW), runs(scenario, NONE, FEW))


def test_replica_that_hangs_is_healed_in_part() -> None:
    """The price of it: where a fifth of the requests times out for half a minute, a fifth of them is saved."""
    scenario = plain(Stall(at=60, lasting=30, replica=0), replicas=5, clients=10, rate=4, duration=120)
    scenario = scenario.with_config(ClientConfig(timeout=Timeout(attempt=3)))
    failed, failed_bare = (1 - simulate(which).totals.success for which in (scenario, scenario.with_config(NONE)))
    assert failed <= 0.8 * failed_bare


def test_trouble_is_the_same_for_all_who_are_compared() -> None:
    """The calls offered depend on the seed alone: settings are compared on equal terms, on 20 seeds."""
    for ours, bare in zip(twenty("spike", 1, "default"), twenty("spike", 1, "none"), strict=True):
        assert ours.calls["shop"].offered == bare.calls["shop"].offered
    assert len(SEEDS) == 20
