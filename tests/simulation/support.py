"""Scenarios that several test modules share."""

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
    """A scenario of one group of callers and one upstream."""
    return Scenario(
        upstreams=[Upstream(name="api", changes=changes, **upstream)],
        callers=[Callers(name="shop", calls="api", clients=clients, arrivals=rate)],
        duration=duration,
    )


def outage(*, clients: int, rate: float, lasting: float, before: float = 10.0, after: float = 10.0) -> Scenario:
    """A scenario with a total outage: every request is answered 503 at once."""
    return plain(
        Outage(at=before, lasting=lasting, how="error"), rate=rate, clients=clients, duration=before + lasting + after
    )


def load_in_outage(run: Run, upstream: str = "api") -> float:
    """Requests per call, in the seconds of the outage."""
    assert run.scenario.incident is not None
    began, ended = map(int, run.scenario.incident)
    (group,) = run.scenario.callers
    return sum(run.upstreams[upstream].load[began:ended]) / sum(run.calls[group.name].offered[began:ended])


def near_capacity(incident: str, *, clients: int = 1) -> Scenario:
    """A scenario of an upstream close to its capacity, with a ``spike`` or a ``stall``.

    It gets 40 calls per second. A request takes 1 s, and 10 ms more for each request in progress, and clients leave
    after 3 s. The upstream is stable with 67 requests in progress. With 200 of them every request takes 3 s, so that
    its client has left when it is answered. ``spike``: twice the calls for 5 s. ``stall``: frozen for 10 s. The
    upstream continues to work for clients that have left.
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
    """Run the scenario with ``over`` overriding its settings, once per seed."""
    return [simulate(scenario.with_config(over), seed=seed) for seed in seeds]
