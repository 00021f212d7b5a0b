"""An upstream loses half of its capacity for a minute: adaptive concurrency keeps the other half useful.

Callers send 150 calls per second to an upstream that serves 200 of them, then only 100, then 200 again. Clients leave
after 2 s, and the servers continue to work for clients that have left.
"""

from __future__ import annotations

import math
from functools import cache

import pytest
from tests.docs.pages import ROOT, rows

from resilient_client import AdaptiveConcurrency, Bulkhead, ClientConfig, Timeout
from resilient_client._middleware import bulkhead as middleware
from resilient_client._policies.limits import adaptive
from resilient_client.simulation import Callers, Capacity, Exponential, Poisson, Run, Scenario, Upstream, simulate

pytestmark = pytest.mark.slow

BEGAN, ENDED = 15, 75
REMAINING = 100.0
"""Requests per second that half of the upstream serves: 5 servers, 50 ms each on average."""
SEEDS = [1, 2]
ADAPTIVE = AdaptiveConcurrency()


@cache
def half_gone(bulkhead: Bulkhead | AdaptiveConcurrency | None, seed: int = 1, clients: int = 5) -> Run:
    """Run the minute, with 15 s before it and 25 s after it."""
    halved = Capacity(at=BEGAN, lasting=ENDED - BEGAN, servers=5)
    config = ClientConfig(timeout=Timeout(attempt=2), bulkhead=bulkhead)
    return simulate(
        Scenario(
            upstreams=[Upstream(name="api", servers=10, service=Exponential(mean=0.05), changes=[halved])],
            callers=[
                Callers(name="shop", calls="api", clients=clients, arrivals=Poisson(rate=150 / clients), config=config)
            ],
            duration=ENDED + 25,
        ),
        seed=seed,
    )


def goodput(run: Run, begin: int, end: int) -> float:
    """Successful calls per second."""
    return sum(run.calls["shop"].goodput[begin:end]) / (end - begin)


def figures(run: Run) -> tuple[float, float, float, int]:
    """A line of the table: goodput before, during and 10 s after the minute, and the peak of requests in progress."""
    return (
        goodput(run, 5, BEGAN),
        goodput(run, BEGAN, ENDED),
        goodput(run, ENDED + 10, ENDED + 20),
        run.upstreams["api"].peak,
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("clients", [1, 5, 20])
def test_adaptive_concurrency_keeps_goodput(clients: int, seed: int) -> None:
    """Goodput is at least 90 % of the remaining capacity, for any number of clients that share it."""
    assert goodput(half_gone(ADAPTIVE, seed, clients), BEGAN, ENDED) >= 0.9 * REMAINING


@pytest.mark.parametrize("seed", SEEDS)
def test_goodput_without_a_bulkhead_collapses(seed: int) -> None:
    """Negative control: with retries, budget and circuits only, goodput is below two thirds of the capacity."""
    assert goodput(half_gone(None, seed), BEGAN, ENDED) < 0.67 * REMAINING


@pytest.mark.parametrize("seed", SEEDS)
def test_adaptive_concurrency_keeps_the_queue_short(seed: int) -> None:
    """The queue of the upstream holds at most one second of work; without a bulkhead, more than five."""
    assert half_gone(ADAPTIVE, seed).upstreams["api"].peak <= REMAINING
    assert half_gone(None, seed).upstreams["api"].peak > 5 * REMAINING


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("clients", [1, 5, 20])
def test_adaptive_concurrency_recovers_within_10_s(clients: int, seed: int) -> None:
    """Calls succeed as before, to the end of the run."""
    recovery = half_gone(ADAPTIVE, seed, clients).recovery()
    assert recovery is not None
    assert recovery <= 10


def test_large_growth_of_small_clients_overloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: room for four attempts in each of 20 clients, as in the original formula, costs a tenth."""
    monkeypatch.setattr(adaptive, "_SMALL_ROOM", math.inf)
    assert goodput(half_gone.__wrapped__(ADAPTIVE, clients=20), BEGAN, ENDED) < 0.85 * REMAINING


def test_unbounded_wait_for_a_permit_collapses_goodput(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the max wait: attempts sent too late are given up before the answer can arrive."""
    monkeypatch.setattr(middleware, "_max_wait", lambda _request, _permits: math.inf)
    assert goodput(half_gone.__wrapped__(ADAPTIVE), BEGAN, ENDED) < 0.5 * REMAINING


def test_table_in_docs_matches_simulation() -> None:
    """The numbers agree within a tenth, so that small changes of the chain do not need new docs."""
    fixed = Bulkhead(max_concurrent=2, max_queue=20)
    table = {
        "neither": figures(half_gone(None)),
        "`Bulkhead(max_concurrent=2, max_queue=20)`": figures(half_gone(fixed)),
        "`AdaptiveConcurrency()`": figures(half_gone(ADAPTIVE)),
    }
    for name, (before, meanwhile, after, peak) in table.items():
        print(f"| {name} | {before:.0f} | {meanwhile:.0f} | {after:.0f} | {peak} |")
    lines = {cells[0]: cells[1:] for cells in rows(ROOT / "docs" / "bulkhead.md")}
    documented = {name: tuple(float(cell) for cell in lines[name]) for name in table}
    assert documented == {name: pytest.approx(line, rel=0.1) for name, line in table.items()}
