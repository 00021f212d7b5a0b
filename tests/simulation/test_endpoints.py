"""Four endpoints: one turns fifty times slower, then another dies. Callers must notice neither.

Run with ``-s`` to see the table of each run.
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
WELL_BY = 110  # an ejection lasts 37.5 s at the most, and half of the slow start is enough
LEAST_LOADED = LoadBalancing()
UNMINDFUL = LoadBalancing(strategy="round_robin", eject_failures=None, eject_slow=None)


class RecordedTrace(NamedTuple):
    """What a run came to."""

    failed: int
    p50: float
    p99: float
    slow_share: float
    dead_share: float
    share_afterwards: float


def scenario(balancing: LoadBalancing, *, incident: bool, how: str, clients: int) -> Scenario:
    """Calls by chance, 100 a second by one client or 10 by each of many, to four copies; lognormal, median 20 ms."""
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
                changes=changes.get(name, ()) if incident else (),
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
    """Of the requests in these seconds, those to one endpoint."""
    loads = {each: sum(run.upstreams[each].load[begins:ends]) for each in NAMES}
    return loads[name] / sum(loads.values())


def told(
    label: str, seed: int, balancing: LoadBalancing, *, incident: bool, how: str = "refuse", clients: int = 1
) -> RecordedTrace:
    """A run in numbers, as a line of the table, too."""
    run = simulate(scenario(balancing, incident=incident, how=how, clients=clients), seed=seed)
    totals = run.totals
    result = RecordedTrace(
        failed=totals.failed,
        p50=totals.p50,
        p99=totals.p99,
        slow_share=share(run, SLOW, SLOW_FROM, SLOW_TO),
        dead_share=share(run, DEAD, DEAD_FROM, DEAD_TO),
        share_afterwards=share(run, SLOW, WELL_BY, 130),
    )
    print(
        f"{label:<26} seed {seed}  failed {result.failed:>4}  p50 {result.p50 * 1e3:>5.1f} ms  "
        f"p99 {result.p99 * 1e3:>7.1f} ms  slow one {result.slow_share:>6.1%}  dead one {result.dead_share:>6.1%}  "
        f"slow one afterwards {result.share_afterwards:>6.1%}"
    )
    return result


@cache
def healthy(seed: int) -> RecordedTrace:
    """The same without any trouble."""
    return told("healthy", seed, LEAST_LOADED, incident=False)


@pytest.mark.parametrize("how", ["refuse", "reset", "hang", "unreachable", "error"])
@pytest.mark.parametrize("seed", [1, 2])
def test_one_of_four_endpoints_slow_and_one_dead_is_noticed_by_nobody(how: str, seed: int) -> None:
    """However it dies: no call fails, p99 is within twice the healthy one, the sick get under 5 % meanwhile."""
    sick = told(f"least loaded, {how}", seed, LEAST_LOADED, incident=True, how=how)
    assert sick.failed == 0
    assert sick.p99 <= 2 * healthy(seed).p99
    assert sick.slow_share < 0.05
    assert sick.dead_share < 0.05
    assert sick.share_afterwards > 0.1


@pytest.mark.parametrize("how", ["refuse", "hang"])
def test_one_of_four_endpoints_slow_and_one_dead_is_not_noticed_by_a_fleet_either(how: str) -> None:
    """Twenty clients that make a tenth of the calls each, and so learn later."""
    sick = told(f"fleet, {how}", 1, LEAST_LOADED, incident=True, how=how, clients=20)
    assert sick.failed == 0
    assert sick.p99 <= 2 * healthy(1).p99
    assert sick.slow_share < 0.05
    assert sick.dead_share < 0.05


def test_one_of_four_endpoints_slow_and_one_dead_in_turn_without_ejection_harms_many() -> None:
    """Negative control: who gives each its turn, whatever it does with it, fails calls and waits for the slow one."""
    sick = told("in turn, no ejection", 1, UNMINDFUL, incident=True)
    assert sick.failed > 0
    assert sick.p99 > 10 * healthy(1).p99
    assert sick.slow_share > 0.2


def test_round_robin_with_ejection_leaves_the_sick_out_too() -> None:
    """What each endpoint's replies tell is enough, without a look at its load: later, but soon enough for most."""
    sick = told("in turn", 1, LoadBalancing(strategy="round_robin"), incident=True)
    assert sick.failed == 0
    assert sick.p99 <= 2 * healthy(1).p99
    assert sick.slow_share < 0.05
    assert sick.dead_share < 0.05
