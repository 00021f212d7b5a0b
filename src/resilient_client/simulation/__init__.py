"""Whole systems in virtual time, running the real chain: try an outage at your desk.

::

    Scenario      who calls whom, how often, and what goes wrong     upstream, changes, arrivals, distributions, files
       │  simulate(scenario, seed=...)                               run
       ▼
    callers ──► APIClient, its unchanged chain ──► wire in memory ──► servers with queues      crowd, wire, replica
       │                        all in virtual time, all chance from one seed
       ▼
    the laws of conservation, asserted                               laws
       ▼
    Run           series by the second, totals, time to recovery     tally, report
"""

from resilient_client.simulation._account import Transition
from resilient_client.simulation._arrivals import ClosedLoop, Herd, Poisson, RateChange, Steady
from resilient_client.simulation._changes import Capacity, Errors, Outage, Slowdown, Stall
from resilient_client.simulation._distributions import (
    Constant,
    Exponential,
    LoadDependent,
    Lognormal,
    Mixture,
    Share,
)
from resilient_client.simulation._files import ScenarioFile, read_scenario
from resilient_client.simulation._laws import LawBrokenError
from resilient_client.simulation._presets import DEFAULT, NAIVE, NONE
from resilient_client.simulation._ready import ready_scenario
from resilient_client.simulation._report import Run, Totals
from resilient_client.simulation._run import simulate
from resilient_client.simulation._scenario import Callers, Network, Scenario
from resilient_client.simulation._tally import CallTally, UpstreamTally
from resilient_client.simulation._upstream import Reply, Upstream, Visit

__all__ = [
    "DEFAULT",
    "NAIVE",
    "NONE",
    "CallTally",
    "Callers",
    "Capacity",
    "ClosedLoop",
    "Constant",
    "Errors",
    "Exponential",
    "Herd",
    "LawBrokenError",
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
    "UpstreamTally",
    "Visit",
    "read_scenario",
    "ready_scenario",
    "simulate",
]
