"""Trouble that outlives its cause: at the edge of capacity, naive retries keep a spike or a stall alive for ever.

The model of *Metastable Failures in Distributed Systems* (Bronson et al., HotOS 2021), see ``kit.at_the_edge``: the
server works on for clients that have left, so once everybody waits too long, it works for nobody.
"""

from __future__ import annotations

import statistics

import pytest
from tests.simulation.kit import SEEDS, at_the_edge, runs

from resilient_client import Backoff, ClientConfig, Retry
from resilient_client.simulation import DEFAULT, NAIVE, NONE, Run

JITTER_ALONE = ClientConfig(retry=Retry(backoff=Backoff()), retry_budget=None, circuit_breaker=None)
FEW = range(1, 6)

both = pytest.mark.parametrize("trouble", ["spike", "stall"])


def goodput_after(run: Run, seconds: int) -> float:
    """Successful calls for each call offered, from so long after the end of the trouble."""
    assert run.scenario.trouble is not None
    begin = int(run.scenario.trouble[1]) + seconds
    end = int(run.scenario.duration)
    tally = run.calls["shop"]
    return sum(tally.goodput[begin:end]) / sum(tally.offered[begin:end])


@both
def test_trouble_under_the_defaults_is_over_15_s_after_its_cause(trouble: str) -> None:
    """On each of 20 seeds calls succeed as before, and goodput is 95 % of what is offered, within 15 s."""
    for run in runs(at_the_edge(trouble), DEFAULT):
        recovery = run.recovery()
        assert recovery is not None
        assert recovery <= 15
        assert goodput_after(run, 15) >= 0.95


@both
def test_trouble_under_the_defaults_costs_hardly_more_than_without_retries(trouble: str) -> None:
    """Over 20 seeds, success is at most one percentage point below that of one request a call."""
    ours, bare = (runs(at_the_edge(trouble), config) for config in (DEFAULT, NONE))
    assert (
        statistics.mean(run.totals.success for run in ours)
        >= statistics.mean(run.totals.success for run in bare) - 0.01
    )


@both
@pytest.mark.parametrize("config", [NAIVE, JITTER_ALONE], ids=["naive", "jitter alone"])
def test_trouble_under_retries_without_a_budget_never_ends(trouble: str, config: ClientConfig) -> None:
    """Negative control: three attempts, with jittered pauses or without, and nobody is served any more."""
    for run in runs(at_the_edge(trouble), config, FEW):
        assert run.recovery() is None
        assert goodput_after(run, 15) < 0.05


def test_trouble_is_the_same_for_all_who_are_compared() -> None:
    """The calls offered depend on the seed alone: settings are compared on equal terms."""
    scenario = at_the_edge("spike")
    offered = [[run.calls["shop"].offered for run in runs(scenario, config, FEW)] for config in (DEFAULT, NONE)]
    assert offered[0] == offered[1]
    assert len(SEEDS) == 20
