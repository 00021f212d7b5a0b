"""What the tests of the balancer share: a balancer of endpoints named by letters, and attempts that succeed or fail."""

from __future__ import annotations

import random
from collections import Counter

from yarl import URL

from resilient_client._core.endpoint import Endpoint
from resilient_client._policies.balancing.balancer import Balancer
from resilient_client._policies.balancing.endpoint_pool import (
    EndpointPool,
    InFlight,
    OnChange,
)
from resilient_client._settings.load_balancing import LoadBalancing

A, B, C, D = (Endpoint("http", host, 80) for host in "abcd")


class Doors:
    """Circuits of which only it is known whether they admit."""

    def __init__(self, *closed: Endpoint) -> None:
        self.closed = dict.fromkeys(closed, 5.0)

    def would_admit(self, key: Endpoint, _now: float) -> bool:
        return key not in self.closed

    def rejects_for(self, key: Endpoint, _now: float) -> float:
        return self.closed.get(key, 0.0)


def balancer(
    hosts: str = "abc",
    strategy: str = "least_loaded",
    circuits: Doors | None = None,
    on_change: OnChange | None = None,
    **settings: object,
) -> Balancer:
    """A balancer over some of A, B, C and D."""
    config = LoadBalancing(strategy=strategy, **settings)
    rng = random.Random(1)
    return Balancer(
        config, EndpointPool(config, [URL(f"http://{host}") for host in hosts], rng, on_change), rng, circuits
    )


def picked(in_flight: InFlight | None) -> Endpoint:
    """Pick an endpoint, release the attempt and return the endpoint."""
    assert in_flight is not None
    in_flight.release()
    return in_flight.stats.endpoint


def choices(chooser: Balancer, count: int = 300, now: float = 0.0) -> Counter[Endpoint]:
    """How often each is chosen when every attempt ends at once."""
    return Counter(picked(chooser.pick(now)) for _ in range(count))


def serve(chooser: Balancer, endpoint: Endpoint, seconds: float, now: float = 0.0, times: int = 1) -> None:
    """Have one endpoint answer in so many seconds."""
    for _ in range(times):
        others = [stats.endpoint for stats in chooser.endpoint_pool.endpoints if stats.endpoint != endpoint]
        in_flight = chooser.pick(now, (), others)
        assert in_flight is not None
        in_flight.success(now, seconds)
        in_flight.release()


def fail(chooser: Balancer, endpoint: Endpoint, now: float = 0.0, times: int = 1) -> None:
    """Have attempts at one endpoint fail at once."""
    for _ in range(times):
        others = [stats.endpoint for stats in chooser.endpoint_pool.endpoints if stats.endpoint != endpoint]
        in_flight = chooser.pick(now, (), others)
        assert in_flight is not None
        in_flight.failure(now, 0.0)
        in_flight.release()
