"""A hundred clients change one row at once: the figures of *Exponential Backoff And Jitter* (Brooker, AWS, 2015).

Each client reads a version, and writes if the version is unchanged. If it has changed, the client starts again. The
calls and seconds below are means of a hundred runs of the article's simulator. These tests run the real chain.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable
from random import Random

import pytest

from resilient_client import Backoff, ClientConfig, Retry
from resilient_client.simulation import Callers, Herd, Network, Scenario, Upstream, Visit, simulate
from resilient_client.simulation._presets import at_once

pytestmark = pytest.mark.slow

ORIGINAL = {
    "none": (2423, 2.023),
    "exponential": (1851, 63.37),
    "equal_jitter": (811, 6.660),
    "full_jitter": (795, 4.901),
    "decorrelated": (1003, 4.661),
}
SEEDS = range(12)


def hop(rng: Random, _in_flight: int = 1) -> float:
    return abs(rng.normalvariate(0.010, 0.002))


class Row:
    """A row of a database, with a version."""

    def __init__(self) -> None:
        self.version = 0
        self.writes = 0
        self.settled_at = 0.0

    async def update(self, visit: Visit) -> int:
        """Read, and write if the version is unchanged.

        The arrival of the request is one hop. The answer to the read, the write and its answer are one hop each.
        """
        seen = self.version
        await asyncio.sleep(hop(visit.rng) + hop(visit.rng))
        self.writes += 1
        if won := self.version == seen:
            self.version += 1
            self.settled_at = asyncio.get_running_loop().time()
        await asyncio.sleep(hop(visit.rng))
        return 200 if won else 409


def contend(backoff: Backoff | Callable[[object], float], seed: int) -> tuple[int, float]:
    """Return the number of writes until all clients had succeeded, and when the last one succeeded."""
    row = Row()
    retry = Retry(max_attempts=100, statuses={409}, backoff=backoff)
    config = ClientConfig(timeout=None, retry=retry, retry_budget=None, circuit_breaker=None)
    run = simulate(
        Scenario(
            upstreams=[Upstream(name="row", service=hop, handler=row.update)],
            callers=[Callers(name="writer", calls="row", clients=100, arrivals=Herd(), method="PUT", config=config)],
            network=Network(round_trip=0),
            duration=1,
        ),
        seed=seed,
    )
    assert run.totals.succeeded == row.version == 100
    return row.writes, row.settled_at


def on_average(backoff: Backoff | Callable[[object], float]) -> tuple[float, float]:
    results = [contend(backoff, seed) for seed in SEEDS]
    return statistics.mean(writes for writes, _ in results), statistics.mean(settled for _, settled in results)


def backoff_of(kind: str) -> Backoff | Callable[[object], float]:
    """The backoff with the parameters of the original: base 5 ms, cap 2 s, exponent 1 after the first failure."""
    if kind == "none":
        return at_once
    return Backoff(kind=kind, initial=0.005 if kind == "decorrelated" else 0.010, max_delay=2)


@pytest.mark.parametrize("kind", ORIGINAL)
def test_contention_matches_the_original(kind: str) -> None:
    """The real chain on the simulated network takes the same calls within 5 %, and the same time within 10 %."""
    calls, seconds = ORIGINAL[kind]
    assert on_average(backoff_of(kind)) == (pytest.approx(calls, rel=0.05), pytest.approx(seconds, rel=0.10))


def test_contention_with_default_backoff_is_full_jitter() -> None:
    """The default backoff is within 10 calls of full jitter, the best formula of the article."""
    assert on_average(Backoff(initial=0.010, max_delay=2))[0] == pytest.approx(ORIGINAL["full_jitter"][0], abs=10)


def test_contention_with_additive_jitter_is_slow() -> None:
    """Negative control: a little jitter on top of a growing delay does not spread the retries enough."""
    calls, seconds = on_average(Backoff(kind="additive_jitter", initial=0.010, max_delay=2))
    assert calls > 1.8 * ORIGINAL["full_jitter"][0]
    assert seconds > 10 * ORIGINAL["full_jitter"][1]
