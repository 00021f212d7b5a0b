"""Half of an upstream is gone for a minute: what is left of it serves as much as it can, if clients let it.

Callers go on to call 150 times a second what serves 200, then only 100, then 200 again. Whoever waits for more than 2 s
leaves, and the servers, who do not notice, work on for nobody.
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
LEFT = 100.0
"""Requests a second that half of the upstream serves: 5 servers, 50 ms each on average."""
SEEDS = [1, 2]
ADAPTIVE = AdaptiveConcurrency()


@cache
def half_gone(bulkhead: Bulkhead | AdaptiveConcurrency | None, seed: int = 1, clients: int = 5) -> Run:
    """The minute, with 15 s before it and 25 s after."""
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
    """Successful calls a second."""
    return sum(run.calls["shop"].goodput[begin:end]) / (end - begin)


def figures(run: Run) -> tuple[float, float, float, int]:
    """A line of the table: goodput before, in the minute, and 10 s after it; the most requests over there."""
    return (
        goodput(run, 5, BEGAN),
        goodput(run, BEGAN, ENDED),
        goodput(run, ENDED + 10, ENDED + 20),
        run.upstreams["api"].peak,
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("clients", [1, 5, 20])
def test_goodput_with_adaptive_concurrency_stays_at_what_is_left(clients: int, seed: int) -> None:
    """At least 90 % of it, however many clients share it and none knows of the others."""
    assert goodput(half_gone(ADAPTIVE, seed, clients), BEGAN, ENDED) >= 0.9 * LEFT


@pytest.mark.parametrize("seed", SEEDS)
def test_goodput_without_a_bulkhead_collapses(seed: int) -> None:
    """Negative control: retries, budget and circuits alone leave less than two thirds of it."""
    assert goodput(half_gone(None, seed), BEGAN, ENDED) < 0.67 * LEFT


@pytest.mark.parametrize("seed", SEEDS)
def test_queue_with_adaptive_concurrency_stays_short_over_there(seed: int) -> None:
    """One second of work at the most; without it, more than five."""
    assert half_gone(ADAPTIVE, seed).upstreams["api"].peak <= LEFT
    assert half_gone(None, seed).upstreams["api"].peak > 5 * LEFT


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("clients", [1, 5, 20])
def test_goodput_with_adaptive_concurrency_is_back_within_10_s(clients: int, seed: int) -> None:
    """Calls succeed as before, for good."""
    recovery = half_gone(ADAPTIVE, seed, clients).recovery()
    assert recovery is not None
    assert recovery <= 10


def test_small_clients_with_much_room_to_grow_keep_the_upstream_overloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: four attempts of room for each of 20 clients, as in the original law, cost a tenth more."""
    monkeypatch.setattr(adaptive, "_SMALL_ROOM", math.inf)
    assert goodput(half_gone.__wrapped__(ADAPTIVE, clients=20), BEGAN, ENDED) < 0.85 * LEFT


def test_attempts_that_wait_for_all_their_time_bring_the_collapse_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of a wait's bound: who is sent at the last moment is given up before the answer can come."""
    monkeypatch.setattr(middleware, "_max_wait", lambda _request, _permits: math.inf)
    assert goodput(half_gone.__wrapped__(ADAPTIVE), BEGAN, ENDED) < 0.5 * LEFT


def test_table_of_the_docs_is_that_of_the_simulation() -> None:
    """Give or take a tenth, which changes elsewhere in the chain may move."""
    fixed = Bulkhead(max_concurrent=2, max_queue=20)
    table = {
        "neither": figures(half_gone(None)),
        "`Bulkhead(max_concurrent=2, max_queue=20)`": figures(half_gone(fixed)),
        "`AdaptiveConcurrency()`": figures(half_gone(ADAPTIVE)),
    }
    for name, (before, meanwhile, after, peak) in table.items():
        print(f"| {name} | {before:.0f} | {meanwhile:.0f} | {after:.0f} | {peak} |")
    lines = {cells[0]: cells[1:] for cells in rows(ROOT / "docs" / "bulkhead.md")}
    told = {name: tuple(float(cell) for cell in lines[name]) for name in table}
    assert told == {name: pytest.approx(line, rel=0.1) for name, line in table.items()}
