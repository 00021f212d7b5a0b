"""Scenarios that several proofs share."""

from __future__ import annotations

from resilient_client import ClientConfig, Timeout
from resilient_client.simulation import (
    Callers,
    LoadDependent,
    Outage,
    Poisson,
    RateChange,
    Run,
    Scenario,
    Stall,
    Upstream,
    simulate,
)

SEEDS = range(1, 21)


def plain(
    *changes: object, rate: float = 10.0, clients: int = 1, duration: float = 30.0, **upstream: object
) -> Scenario:
    """One group of callers, one upstream."""
    return Scenario(
        upstreams=[Upstream(name="api", changes=changes, **upstream)],
        callers=[Callers(name="shop", calls="api", clients=clients, arrivals=rate)],
        duration=duration,
    )


def outage(*, clients: int, rate: float, lasting: float, before: float = 10.0, after: float = 10.0) -> Scenario:
    """A total outage: every request is answered 503 at once."""
    return plain(
        Outage(at=before, lasting=lasting, how="error"), rate=rate, clients=clients, duration=before + lasting + after
    )


def load_in_outage(run: Run, upstream: str = "api") -> float:
    """Requests for each call, in the seconds of the outage."""
    assert run.scenario.incident is not None
    began, ended = map(int, run.scenario.incident)
    (group,) = run.scenario.callers
    return sum(run.upstreams[upstream].load[began:ended]) / sum(run.calls[group.name].offered[began:ended])


def at_the_edge(incident: str, *, clients: int = 1) -> Scenario:
    """40 calls a second to what takes 1 s and 10 ms more for each request in hand; clients leave after 3 s.

    It lives with 67 requests in hand; at 200 everything takes 3 s, and whoever waits has left. ``spike``: twice the
    calls for 5 s. ``stall``: frozen for 10 s. What clients have left behind is worked on all the same.
    """
    spike = [RateChange(at=20, lasting=5, rate=80 / clients)] if incident == "spike" else []
    stall = [Stall(at=20, lasting=10)] if incident == "stall" else []
    return Scenario(
        upstreams=[Upstream(name="api", service=LoadDependent(base=1.0, per_request=0.010), changes=stall)],
        callers=[
            Callers(
                name="shop",
                calls="api",
                clients=clients,
                arrivals=Poisson(rate=40 / clients, changes=spike),
                config=ClientConfig(timeout=Timeout(attempt=3)),
            )
        ],
        duration=65,
    )


def runs(scenario: Scenario, over: ClientConfig, seeds: range = SEEDS) -> list[Run]:
    """The scenario under settings laid over its own, once for each seed."""
    return [simulate(scenario.with_config(over), seed=seed) for seed in seeds]
