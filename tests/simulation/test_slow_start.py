"""An endpoint that came back gets a growing share of the attempts, however few of them are in flight."""

from __future__ import annotations

import statistics

import pytest

from resilient_client import APIClient, ClientConfig, LoadBalancing
from resilient_client._policies.balancing.endpoint import EndpointStats
from resilient_client.events import EndpointRestored
from resilient_client.simulation import Callers, ClosedLoop, Lognormal, Outage, Scenario, Upstream, simulate

pytestmark = pytest.mark.slow

BACK, *_ = NAMES = ("api-0", "api-1", "api-2")
SLOW_START = 9


def shares_after_return(workers: int, slow_start: float = SLOW_START, seed: int = 1) -> list[float]:
    """The share of one of three endpoints in the thirds of its slow start, and in the three seconds after it.

    The endpoint refuses connections for some seconds and is ejected meanwhile. Each worker waits for its answer.
    """
    balancing = LoadBalancing(eject_failures=1, ejection_time=5, max_ejection_time=5, slow_start=slow_start)
    returned: list[float] = []

    def client(_: object, **options: object) -> APIClient:
        api = APIClient([f"http://{name}" for name in NAMES], **options)  # type: ignore[arg-type]  # as simulate gives
        api.subscribe(lambda event: returned.append(event.at) if isinstance(event, EndpointRestored) else None)
        return api

    run = simulate(
        Scenario(
            upstreams=[
                Upstream(
                    name=name,
                    service=Lognormal(median=0.02, sigma=0.1),
                    changes=[Outage(at=1, lasting=4, how="refuse")] if name == BACK else [],
                )
                for name in NAMES
            ],
            callers=[
                Callers(
                    name="shop",
                    calls=BACK,
                    arrivals=ClosedLoop(workers=workers, pause=0.001),
                    client=client,
                    config=ClientConfig(load_balancing=balancing),
                )
            ],
            duration=23,
        ),
        seed=seed,
    )
    (at,) = returned
    starts = range(int(at) + 1, int(at) + 1 + 12, 3)
    loads = [{name: sum(run.upstreams[name].load[start : start + 3]) for name in NAMES} for start in starts]
    return [load[BACK] / sum(load.values()) for load in loads]


def mean_shares(workers: int, slow_start: float = SLOW_START, seeds: int = 10) -> list[float]:
    """The same on average. With one attempt at a time the share varies much, with and without a slow start."""
    runs = [shares_after_return(workers, slow_start, seed) for seed in range(1, seeds + 1)]
    return [statistics.mean(third) for third in zip(*runs, strict=True)]


@pytest.mark.parametrize(("workers", "seeds"), [(1, 20), (2, 10), (5, 3)])
def test_slow_start_is_a_ramp_at_any_concurrency(workers: int, seeds: int) -> None:
    """The share grows from third to third, from about a third of the full share, which is a third."""
    first, second, last, full = mean_shares(workers, seeds=seeds)
    assert 0.05 < first < 0.15
    assert first + 0.05 < second
    assert second + 0.03 < last
    assert full == pytest.approx(1 / 3, abs=0.06)


def test_slow_start_switched_off_returns_the_full_share() -> None:
    """Negative control: without a slow start, the endpoint has its full share at once."""
    assert mean_shares(1, slow_start=0)[0] > 0.25


def test_slow_start_by_load_alone_is_a_cliff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: one attempt at a time never goes to an idle endpoint whose load is multiplied."""

    def load(stats: EndpointStats, now: float, typical: float) -> float:
        return stats.expected(now, typical) * (stats.in_flight + 1) / stats.outlier_state.weight(now)

    monkeypatch.setattr(EndpointStats, "load", load)
    assert mean_shares(1)[0] < 0.01
