"""The simulated wire respects the limits of a client as the real transport does: idle, connect and pool."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from resilient_client import ClientConfig, ConnectionSettings, ErrorKind, Timeout
from resilient_client.simulation import NONE, Callers, Network, Outage, Run, Scenario, Upstream, simulate


def calling_at(*times: float, config: ClientConfig, round_trip: float = 0, **upstream: object) -> Run:
    """Run one client that calls at these times, with a service time of 1 s."""

    def moments(_rng: Random, _clients: int) -> Iterator[tuple[float, int]]:
        return ((time, 0) for time in times)

    return simulate(
        Scenario(
            upstreams=[Upstream(**{"name": "api", "service": 1, **upstream})],
            callers=[Callers(name="shop", calls="api", arrivals=moments, config=NONE.merge(config))],
            network=Network(round_trip=round_trip),
            duration=60,
        )
    )


@pytest.mark.parametrize(("idle", "kinds"), [(0.4, {ErrorKind.TIMEOUT: 1}), (1.5, {})])
def test_silent_server_ends_at_the_idle_timeout(idle: float, kinds: dict[ErrorKind, int]) -> None:
    """The server works for 1 s without sending anything, which a shorter ``idle`` timeout does not allow."""
    run = calling_at(0, config=ClientConfig(timeout=Timeout(idle=idle)))
    assert run.kinds == kinds
    assert list(run.calls["shop"].waits) == [idle] * len(kinds)


def test_call_waits_for_a_slot_in_the_pool() -> None:
    """With one connection, calls are sent one after the other."""
    run = calling_at(0, 0, 0, config=ClientConfig(connection=ConnectionSettings(pool_size=1)), servers=5)
    assert list(run.calls["shop"].latencies) == [1, 2, 3]


def test_call_that_waits_too_long_sends_nothing() -> None:
    """A call whose deadline passes while it waits for the pool does not reach the upstream."""
    narrow = ClientConfig(timeout=Timeout(total=1.5), connection=ConnectionSettings(pool_size=1))
    run = calling_at(0, 0, 0, config=narrow, servers=5)
    assert run.kinds == {ErrorKind.DEADLINE: 2}
    assert run.totals.requests == 2


@pytest.mark.parametrize("how", ["refuse", "unreachable"])
def test_attempt_to_connect_ends_with_its_call(how: str) -> None:
    """A call whose deadline passes does not wait for the result of the connection attempt."""
    limits = ClientConfig(timeout=Timeout(total=0.5))
    run = calling_at(0, config=limits, round_trip=2, changes=[Outage(at=0, how=how)])
    assert run.kinds == {ErrorKind.DEADLINE: 1}
    assert list(run.calls["shop"].waits) == [0.5]


@pytest.mark.parametrize(("service", "dropped"), [(0.4, 1), (1, 2)], ids=["one in the queue", "one in progress too"])
def test_server_drops_requests_of_clients_that_left(service: float, dropped: int) -> None:
    """With ``keeps_working=False`` it drops requests in its queue and those in progress."""
    limits = ClientConfig(timeout=Timeout(total=0.5))
    run = calling_at(0, 0, config=limits, keeps_working=False, servers=1, service=service)
    assert run.kinds == {ErrorKind.DEADLINE: dropped}
    assert (run.upstreams["api"].dropped, sum(run.upstreams["api"].wasted)) == (dropped, 0)
