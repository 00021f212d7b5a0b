"""Simulate whole systems in virtual time, with the real middleware chain.

::

    Scenario      callers, upstreams, load, and what goes wrong     upstream, changes, arrivals, distributions, files
       │  simulate(scenario, seed=...)                              run
       ▼
    callers ──► APIClient, its unchanged chain ──► network in memory ──► servers with queues      caller_group, wire,
       │              in virtual time, with all randomness from one seed                          server, replica
       ▼
    invariants, checked after every run                             invariants
       ▼
    Run           series per second, totals, time to recovery       stats, report
"""

from resilient_client.simulation._arrivals import ClosedLoop, Herd, Poisson, RateChange, Steady
from resilient_client.simulation._changes import Capacity, Errors, Outage, Slowdown, Stall
from resilient_client.simulation._client_counters import Transition
from resilient_client.simulation._distributions import (
    Constant,
    Exponential,
    LoadDependent,
    Lognormal,
    Mixture,
    Share,
)
from resilient_client.simulation._files import ScenarioFile, read_scenario
from resilient_client.simulation._invariants import InvariantBrokenError
from resilient_client.simulation._presets import DEFAULT, NAIVE, NONE
from resilient_client.simulation._ready import ready_scenario
from resilient_client.simulation._report import Run, Totals
from resilient_client.simulation._run import simulate
from resilient_client.simulation._scenario import Callers, Network, Scenario
from resilient_client.simulation._stats import CallStats, UpstreamStats
from resilient_client.simulation._upstream import Reply, Upstream, Visit

__all__ = [
    "DEFAULT",
    "NAIVE",
    "NONE",
    "CallStats",
    "Callers",
    "Capacity",
    "ClosedLoop",
    "Constant",
    "Errors",
    "Exponential",
    "Herd",
    "InvariantBrokenError",
    "LoadDependent",
    "Lognormal",
    "Mixture",
    "Network",
    "Outage",
    "Poisson",
    "RateChange",
    "Reply",
    "Run",
    "Scenario",
    "ScenarioFile",
    "Share",
    "Slowdown",
    "Stall",
    "Steady",
    "Totals",
    "Transition",
    "Upstream",
    "UpstreamStats",
    "Visit",
    "read_scenario",
    "ready_scenario",
    "simulate",
]
