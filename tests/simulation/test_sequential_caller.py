"""A caller that waits for each answer of a hung upstream: the circuit opens, although the window holds one result."""

from __future__ import annotations

import pytest

from resilient_client import CircuitBreaker, ClientConfig, Timeout
from resilient_client._policies.circuit.circuit import Circuit
from resilient_client.simulation import Callers, ClosedLoop, Outage, Run, Scenario, Upstream, simulate

BEGINS, LASTS = 10, 300
WINDOW_2 = ClientConfig(circuit_breaker=CircuitBreaker(window=2), timeout=Timeout(attempt=8))


def hung(config: ClientConfig, workers: int = 1) -> Run:
    """An upstream that hangs for five minutes. Each worker waits for its answer before it calls again."""
    return simulate(
        Scenario(
            upstreams=[Upstream(name="api", changes=[Outage(at=BEGINS, lasting=LASTS, how="hang")])],
            callers=[Callers(name="job", calls="api", arrivals=ClosedLoop(workers=workers, pause=0.1), config=config)],
            duration=BEGINS + LASTS + 30,
        )
    )


def refused_share(run: Run) -> float:
    """The share of the calls in the outage that were refused at once, instead of waiting for a timeout."""
    during = slice(BEGINS, BEGINS + LASTS)
    return sum(run.calls["job"].rejected[during]) / sum(run.calls["job"].offered[during])


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("config", [ClientConfig(), ClientConfig(retry=None), WINDOW_2], ids=["", "alone", "window 2"])
def test_caller_that_waits_is_refused_at_once(config: ClientConfig, workers: int) -> None:
    """Four of five calls are refused at once, and the circuit has closed again a second after the end."""
    run = hung(config, workers)
    assert refused_share(run) > 0.8
    assert run.transitions[-1].state.value == "closed"
    assert run.transitions[-1].at < BEGINS + LASTS + 10 + 2  # the probe in flight at the end takes one timeout


def test_caller_that_waits_without_the_rule_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: if waiting aged the results, the window of 10 s would hold one, and no circuit would open."""
    monkeypatch.setattr(Circuit, "_count_in_a_row", lambda circuit, now, elapsed: None)
    run = hung(ClientConfig(), workers=3)
    assert refused_share(run) == 0
    assert run.transitions == ()
