"""A simulated upstream serves, queues, sheds, fails and recovers as a real one does."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator
from random import Random

import pytest
from tests.simulation.support import plain

from resilient_client import CircuitBreaker, ClientConfig, ConnectionSettings, ErrorKind, Retry, RetryBudget, Timeout
from resilient_client.simulation import (
    NONE,
    Callers,
    Capacity,
    Errors,
    Exponential,
    Herd,
    InvariantBrokenError,
    Network,
    Outage,
    Reply,
    Run,
    Scenario,
    Slowdown,
    Stall,
    Upstream,
    Visit,
    simulate,
)


def calling_at(*times: float, config: ClientConfig = NONE, **upstream: object) -> Run:
    """Run one client that calls at these times, without network delay, with a service time of 1 s."""

    def moments(_rng: Random, _clients: int) -> Iterator[tuple[float, int]]:
        return ((time, 0) for time in times)

    return simulate(
        Scenario(
            upstreams=[Upstream(**{"name": "api", "service": 1, **upstream})],
            callers=[Callers(name="shop", calls="api", arrivals=moments, config=config)],
            network=Network(round_trip=0),
            duration=100,
        )
    )


def latencies(run: Run) -> list[float]:
    return [round(latency, 6) for latency in run.calls["shop"].latencies]


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (1, 0.8), (4, 0.7)])
@pytest.mark.slow
def test_exponential_service_matches_queueing_theory(servers: int, load: float) -> None:
    """The mean time in the system is that of an M/M/c queue (Erlang C formula)."""
    service, rate = 0.02, load * servers / 0.02
    scenario = plain(rate=rate, duration=400, service=Exponential(mean=service), servers=servers)
    unlimited = ClientConfig(connection=ConnectionSettings(pool_size=0))
    run = simulate(
        scenario.model_copy(update={"network": Network(round_trip=0)}).with_config(unlimited).with_config(NONE)
    )
    erlang_b = 1.0
    for number in range(1, servers + 1):
        erlang_b = load * servers * erlang_b / (number + load * servers * erlang_b)
    waits = erlang_b / (1 - load * (1 - erlang_b))
    expected = service + waits * service / (servers * (1 - load))
    assert statistics.mean(run.calls["shop"].latencies) == pytest.approx(expected, rel=0.06)


def test_busy_server_queues_requests_in_order() -> None:
    """With one server, three requests at once take 1, 2 and 3 seconds."""
    assert latencies(calling_at(0, 0, 0, servers=1)) == [1, 2, 3]


def test_full_queue_sheds_at_once() -> None:
    """With one server and a queue of one, the third request is answered 503 without delay."""
    run = calling_at(0, 0, 0, servers=1, queue=1)
    assert run.upstreams["api"].shed == 1
    assert list(run.calls["shop"].waits) == [0]


def test_retry_after_of_an_upstream_is_respected() -> None:
    """The header reaches the chain: the second attempt is not sent before the requested delay."""
    config = ClientConfig(retry=Retry(max_attempts=2), circuit_breaker=None)
    assert latencies(calling_at(0, 0, config=config, servers=1, queue=0, retry_after=7))[1] >= 8


def test_client_that_leaves_still_occupies_a_server() -> None:
    """By default a server continues: its work is wasted, and the requests in the queue wait for it."""
    impatient = ClientConfig(timeout=Timeout(attempt=0.5), retry=None, circuit_breaker=None)
    run = calling_at(0, 0.7, 5, config=impatient, servers=1)
    assert (run.totals.succeeded, run.totals.wasted, run.upstreams["api"].unfinished) == (0, 2, 1)


def test_client_that_leaves_frees_a_server() -> None:
    """With ``keeps_working=False`` the next request is served at once."""
    impatient = ClientConfig(timeout=Timeout(attempt=1.1), retry=None, circuit_breaker=None)
    run = calling_at(0, 0.5, config=impatient, servers=1, service=1.05, keeps_working=False)
    assert latencies(run) == [1.05]  # the second waited from 0.5 to 1.05, and left at 1.6
    assert run.upstreams["api"].dropped == 1
    assert run.totals.wasted == 0


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("refuse", ErrorKind.CONNECT),
        ("reset", ErrorKind.DISCONNECTED),
        ("hang", ErrorKind.TIMEOUT),
        ("unreachable", ErrorKind.TIMEOUT),
        ("error", ErrorKind.SERVER_ERROR),
    ],
)
def test_outage_of_each_kind_raises_its_error(how: str, kind: ErrorKind) -> None:
    """Each kind of outage gives the error of the real transport, and calls succeed after it."""
    run = calling_at(
        10, 30, config=NONE.merge(ClientConfig(timeout=Timeout(attempt=6))), changes=[Outage(at=5, lasting=10, how=how)]
    )
    assert run.kinds == {kind: 1}
    assert run.totals.succeeded == 1


@pytest.mark.parametrize(("how", "seconds"), [("hang", 6), ("unreachable", 2)])
def test_silent_outage_ends_with_the_timeout_of_its_stage(how: str, seconds: float) -> None:
    """Without a connection the timeout is ``connect``, without an answer it is ``attempt``."""
    limits = NONE.merge(ClientConfig(timeout=Timeout(attempt=6, connect=2)))
    run = calling_at(10, config=limits, changes=[Outage(at=5, lasting=10, how=how)])
    assert list(run.calls["shop"].waits) == pytest.approx([seconds])


def test_outage_resets_requests_in_progress() -> None:
    """The requests of a process that dies fail at once."""
    run = calling_at(4.5, changes=[Outage(at=5, lasting=10)])
    assert run.kinds == {ErrorKind.DISCONNECTED: 1}
    assert list(run.calls["shop"].waits) == [0.5]


def test_connection_from_before_an_outage_is_not_reused() -> None:
    """After an outage the client opens a new connection, and sends no request on the closed one."""
    run = calling_at(
        1, 20, config=ClientConfig(connection=ConnectionSettings(keepalive=60)), changes=[Outage(at=5, lasting=10)]
    )
    assert (run.totals.succeeded, run.totals.requests) == (2, 2)


@pytest.mark.parametrize(("times", "requests"), [((1, 3), 3), ((3,), 1)])
def test_reset_of_a_kept_connection_is_retried_for_free(times: tuple[float, ...], requests: int) -> None:
    """If a *kept* connection is reset, the real chain repeats the request even with an empty budget."""
    poor = ClientConfig(retry_budget=RetryBudget(initial=0, max_extra_load=0, min_per_second=0))
    run = calling_at(*times, config=poor, changes=[Outage(at=3.5, lasting=1, how="reset")])
    assert run.kinds == {ErrorKind.DISCONNECTED: 1}
    assert run.totals.requests == requests


def test_new_connection_costs_another_round_trip() -> None:
    """The first call opens a connection, the second one reuses it, and for the third one it has expired."""

    def moments(_rng: Random, _clients: int) -> Iterator[tuple[float, int]]:
        return ((time, 0) for time in (0.0, 10.0, 40.0))

    run = simulate(
        Scenario(
            upstreams=[Upstream(name="api", service=1)],
            callers=[Callers(name="shop", calls="api", arrivals=moments)],
            network=Network(round_trip=0.1),
            duration=50,
        )
    )
    assert latencies(run) == [1.2, 1.1, 1.2]


def test_full_pool_queues_calls_at_the_client() -> None:
    """The upstream never gets more requests at once than ``pool_size``."""
    run = calling_at(0, 0, 0, 0, config=ClientConfig(connection=ConnectionSettings(pool_size=2)))
    assert latencies(run) == [1, 1, 2, 2]
    assert run.upstreams["api"].peak == 2


def test_stall_pauses_requests_and_resumes_them() -> None:
    """A request in progress needs its remaining time after the stall, and one that arrived meanwhile all of it."""
    assert latencies(calling_at(4.5, 6, changes=[Stall(at=5, lasting=4)])) == [5, 4]


def test_capacity_halved_serves_half_at_once() -> None:
    """When one of two servers is gone, the second request waits."""
    run = calling_at(0, 0, 10, 10, servers=2, changes=[Capacity(at=5, lasting=10, servers=1)])
    assert latencies(run) == [1, 1, 1, 2]


def test_capacity_restored_serves_the_queue() -> None:
    """When servers are back, they serve requests from the queue at once."""
    assert latencies(calling_at(6, 6, servers=2, changes=[Capacity(at=5, lasting=3, servers=0)])) == [3, 3]


def test_slowdown_multiplies_service_times() -> None:
    """Service times that begin during a slowdown are multiplied; overlapping factors multiply."""
    slow = [Slowdown(at=5, lasting=10, factor=2), Slowdown(at=8, lasting=3, factor=3)]
    assert latencies(calling_at(0, 6, 9, 20, changes=slow)) == [1, 2, 6, 1]


def test_errors_of_one_replica_of_two() -> None:
    """If a change affects one of two replicas, half of the requests fail."""
    scenario = plain(Errors(at=0, rate=1, replica=1), rate=50, replicas=2, duration=60)
    assert simulate(scenario.with_config(NONE)).totals.success == pytest.approx(0.5, abs=0.03)


def test_handler_decides_the_answer() -> None:
    """A handler may answer any status, with headers."""

    async def handler(visit: Visit) -> Reply | int:
        await asyncio.sleep(2)
        return Reply(429, {"Retry-After": "3"}) if visit.replica == 0 else 200

    run = calling_at(0, config=NONE, handler=handler)
    assert run.kinds == {ErrorKind.THROTTLED: 1}
    assert list(run.calls["shop"].waits) == [3]


def test_handler_that_raises_ends_the_run() -> None:
    """An exception of a handler is raised from ``simulate``: it is a bug, not a failure of the upstream."""

    async def handler(_visit: Visit) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        calling_at(0, handler=handler)


def test_layer_with_failed_dependency_answers_503() -> None:
    """If an upstream in ``calls`` fails, the service answers its own callers 503."""
    run = simulate(
        Scenario(
            upstreams=[Upstream(name="front", calls=["db"]), Upstream(name="db", error_rate=1)],
            callers=[Callers(name="shop", calls="front", arrivals=Herd())],
            duration=1,
        ).with_config(NONE)
    )
    assert run.kinds == {ErrorKind.SERVER_ERROR: 1}
    assert run.calls["front"].kinds == {ErrorKind.SERVER_ERROR: 1}


def test_layer_that_dies_cancels_its_own_calls() -> None:
    """The requests of a service that dies are still counted, so the invariants hold."""
    run = simulate(
        Scenario(
            upstreams=[
                Upstream(name="front", calls=["db"], changes=[Outage(at=2, lasting=1)]),
                Upstream(name="db", service=3),
            ],
            callers=[Callers(name="shop", calls="front", arrivals=Herd(), clients=3)],
            duration=1,
        ).with_config(NONE)
    )
    assert run.kinds == {ErrorKind.DISCONNECTED: 3}
    assert sum(run.upstreams["db"].arrived) == 3


def test_call_that_never_ends_is_reported() -> None:
    """A call without any timeout to a hanging upstream ends the run with an error that names the remedy."""
    with pytest.raises(
        InvariantBrokenError, match="1 calls have not ended 3600 s after the scenario; give their clients a T"
    ):
        calling_at(0, config=NONE.merge(ClientConfig(timeout=None)), changes=[Outage(at=0, how="hang")])


def test_circuits_are_reported_per_second() -> None:
    """The run has the numbers of open and half-open circuits at the end of each second."""
    breaker = CircuitBreaker(minimum_calls=2, break_duration=3)
    run = calling_at(
        1,
        1,
        9,
        10,
        11,
        config=ClientConfig(retry=None, circuit_breaker=breaker),
        service=0.1,
        changes=[Outage(at=0, lasting=5)],
    )
    circuits = run.circuits("api")
    assert (circuits[0], circuits[2]) == ((1, 0), (1, 0))
    assert circuits[-1] == (0, 0)
