"""Four endpoints, of which one becomes fifty times slower and another one dies. Callers must not notice.

Run with ``-s`` to see a line of numbers per run.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import pytest

from resilient_client import APIClient, ClientConfig, LoadBalancing
from resilient_client.simulation import Callers, Lognormal, Outage, Run, Scenario, Slowdown, Upstream, simulate

pytestmark = pytest.mark.slow

NAMES = ("api-0", "api-1", "api-2", "api-3")
SLOW, DEAD = NAMES[:2]
SLOW_FROM, SLOW_TO = 20, 80
DEAD_FROM, DEAD_TO = 50, 70
RECOVERED_BY = 110  # an ejection lasts at most 37.5 s, and half of the slow start is enough
LEAST_LOADED = LoadBalancing()
NO_EJECTION = LoadBalancing(strategy="round_robin", eject_failures=None, eject_slow=None)


class Result(NamedTuple):
    """The numbers of a run."""

    failed: int
    p50: float
    p99: float
    slow_share: float
    dead_share: float
    share_afterwards: float


def scenario(balancing: LoadBalancing, *, faults: bool, how: str, clients: int) -> Scenario:
    """Four copies with lognormal service times (median 20 ms), and random calls to them.

    A single client sends 100 calls per second; each of several clients sends 10.
    """
    changes = {
        SLOW: (Slowdown(at=SLOW_FROM, lasting=SLOW_TO - SLOW_FROM, factor=50),),
        DEAD: (Outage(at=DEAD_FROM, lasting=DEAD_TO - DEAD_FROM, how=how),),
    }
    return Scenario(
        name="one of four",
        upstreams=[
            Upstream(
                name=name,
                service=Lognormal(median=0.02, sigma=0.5),
                changes=changes.get(name, ()) if faults else (),
            )
            for name in NAMES
        ],
        callers=[
            Callers(
                name="shop",
                calls=NAMES[0],
                clients=clients,
                arrivals=100.0 if clients == 1 else 10.0,
                client=lambda _, **options: APIClient([f"http://{name}" for name in NAMES], **options),
                config=ClientConfig(load_balancing=balancing),
            )
        ],
        duration=130,
    )


def share(run: Run, name: str, begins: int, ends: int) -> float:
    """The share of the requests in these seconds that went to one endpoint."""
    loads = {each: sum(run.upstreams[each].load[begins:ends]) for each in NAMES}
    return loads[name] / sum(loads.values())


def measure(
    label: str, seed: int, balancing: LoadBalancing, *, faults: bool, how: str = "refuse", clients: int = 1
) -> Result:
    """Run the scenario, and print a line of the table."""
    run = simulate(scenario(balancing, faults=faults, how=how, clients=clients), seed=seed)
    totals = run.totals
    result = Result(
        failed=totals.failed,
        p50=totals.p50,
        p99=totals.p99,
        slow_share=share(run, SLOW, SLOW_FROM, SLOW_TO),
        dead_share=share(run, DEAD, DEAD_FROM, DEAD_TO),
        share_afterwards=share(run, SLOW, RECOVERED_BY, 130),
    )
    print(
        f"{label:<26} seed {seed}  failed {result.failed:>4}  p50 {result.p50 * 1e3:>5.1f} ms  "
        f"p99 {result.p99 * 1e3:>7.1f} ms  slow one {result.slow_share:>6.1%}  dead one {result.dead_share:>6.1%}  "
        f"slow one afterwards {result.share_afterwards:>6.1%}"
    )
    return result


@cache
def healthy(seed: int) -> Result:
    """The same scenario without faults."""
    return measure("healthy", seed, LEAST_LOADED, faults=False)


@pytest.mark.parametrize("how", ["refuse", "reset", "hang", "unreachable", "error"])
@pytest.mark.parametrize("seed", [1, 2])
def test_slow_and_dead_endpoint_do_not_affect_callers(how: str, seed: int) -> None:
    """No call fails, p99 at most doubles, and the faulty endpoints get less than 5 % of the requests meanwhile."""
    faulty = measure(f"least loaded, {how}", seed, LEAST_LOADED, faults=True, how=how)
    assert faulty.failed == 0
    assert faulty.p99 <= 2 * healthy(seed).p99
    assert faulty.slow_share < 0.05
    assert faulty.dead_share < 0.05
    assert faulty.share_afterwards > 0.1


@pytest.mark.parametrize("how", ["refuse", "hang"])
def test_slow_and_dead_endpoint_do_not_affect_a_fleet(how: str) -> None:
    """The same holds for twenty clients with a tenth of the calls each, which detect faults later."""
    faulty = measure(f"fleet, {how}", 1, LEAST_LOADED, faults=True, how=how, clients=20)
    assert faulty.failed == 0
    assert faulty.p99 <= 2 * healthy(1).p99
    assert faulty.slow_share < 0.05
    assert faulty.dead_share < 0.05


def test_round_robin_without_ejection_affects_callers() -> None:
    """Negative control: calls go to each endpoint in turn, so some fail and some wait for the slow one."""
    faulty = measure("round robin, no ejection", 1, NO_EJECTION, faults=True)
    assert faulty.failed > 0
    assert faulty.p99 > 10 * healthy(1).p99
    assert faulty.slow_share > 0.2


def test_round_robin_with_ejection_avoids_faulty_endpoints() -> None:
    """Ejection by replies alone, without regard to the load, takes longer and is still fast enough."""
    faulty = measure("round robin", 1, LoadBalancing(strategy="round_robin"), faults=True)
    assert faulty.failed == 0
    assert faulty.p99 <= 2 * healthy(1).p99
    assert faulty.slow_share < 0.05
    assert faulty.dead_share < 0.05
