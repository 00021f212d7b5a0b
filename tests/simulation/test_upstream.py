"""A simulated upstream serves, queues, sheds, falls over and comes back as a real one does."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator
from random import Random

import pytest
from tests.simulation.kit import plain

from resilient_client import CircuitBreaker, ClientConfig, ConnectionSettings, ErrorKind, Retry, RetryBudget, Timeout
from resilient_client.simulation import (
    NONE,
    Callers,
    Capacity,
    Errors,
    Exponential,
    Herd,
    LawBrokenError,
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
    """One client that calls at these times; a wire that takes no time, a service of 1 s."""

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
def test_server_with_exponential_service_waits_as_queueing_theory_says(servers: int, load: float) -> None:
    """The mean time in the system is that of an M/M/c queue (Erlang's C formula)."""
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


def test_server_that_is_busy_lets_requests_wait_in_order() -> None:
    """One server, three requests at once: 1, 2 and 3 seconds."""
    assert latencies(calling_at(0, 0, 0, servers=1)) == [1, 2, 3]


def test_queue_that_is_full_sheds_at_once() -> None:
    """One server and one place to wait: the third is answered 503 in no time."""
    run = calling_at(0, 0, 0, servers=1, queue=1)
    assert run.upstreams["api"].shed == 1
    assert list(run.calls["shop"].waits) == [0]


def test_retry_after_of_a_shedding_upstream_is_heeded() -> None:
    """The header reaches the chain: the second attempt comes no earlier than it says."""
    config = ClientConfig(retry=Retry(max_attempts=2), circuit_breaker=None)
    assert latencies(calling_at(0, 0, config=config, servers=1, queue=0, retry_after=7))[1] >= 8


def test_client_that_leaves_is_worked_for_all_the_same() -> None:
    """The usual server does not notice: its work is wasted, and those behind wait for it."""
    impatient = ClientConfig(timeout=Timeout(attempt=0.5), retry=None, circuit_breaker=None)
    run = calling_at(0, 0.7, 5, config=impatient, servers=1)
    assert (run.totals.succeeded, run.totals.wasted, run.upstreams["api"].unfinished) == (0, 2, 1)


def test_client_that_leaves_frees_a_server_that_notices() -> None:
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
def test_outage_of_each_kind_is_met_as_the_real_transport_would(how: str, kind: ErrorKind) -> None:
    """Refused, reset, silent, unreachable, failing: each gives the error of its kind, and passes."""
    run = calling_at(
        10, 30, config=NONE.merge(ClientConfig(timeout=Timeout(attempt=6))), changes=[Outage(at=5, lasting=10, how=how)]
    )
    assert run.kinds == {kind: 1}
    assert run.totals.succeeded == 1


@pytest.mark.parametrize(("how", "seconds"), [("hang", 6), ("unreachable", 2)])
def test_outage_that_is_silent_lasts_as_long_as_the_timeout_of_its_stage(how: str, seconds: float) -> None:
    """Who cannot connect gives up after ``connect``, who gets no answer after ``attempt``."""
    limits = NONE.merge(ClientConfig(timeout=Timeout(attempt=6, connect=2)))
    run = calling_at(10, config=limits, changes=[Outage(at=5, lasting=10, how=how)])
    assert list(run.calls["shop"].waits) == pytest.approx([seconds])


def test_outage_that_begins_resets_what_is_in_hand() -> None:
    """A process that dies takes its requests with it."""
    run = calling_at(4.5, changes=[Outage(at=5, lasting=10)])
    assert run.kinds == {ErrorKind.DISCONNECTED: 1}
    assert list(run.calls["shop"].waits) == [0.5]


def test_connection_kept_over_a_restart_is_not_reused() -> None:
    """After an outage the client connects anew; it is not charged for a stale connection."""
    run = calling_at(
        1, 20, config=ClientConfig(connection=ConnectionSettings(keepalive=60)), changes=[Outage(at=5, lasting=10)]
    )
    assert (run.totals.succeeded, run.totals.requests) == (2, 2)


@pytest.mark.parametrize(("times", "requests"), [((1, 3), 3), ((3,), 1)])
def test_connection_reset_on_reuse_is_repeated_for_free(times: tuple[float, ...], requests: int) -> None:
    """A *kept* connection that is reset is nobody's fault: the real chain repeats, though the budget is empty."""
    poor = ClientConfig(retry_budget=RetryBudget(initial=0, ratio=0, min_per_second=0))
    run = calling_at(*times, config=poor, changes=[Outage(at=3.5, lasting=1, how="reset")])
    assert run.kinds == {ErrorKind.DISCONNECTED: 1}
    assert run.totals.requests == requests


def test_new_connection_costs_another_round_trip() -> None:
    """The first call connects, the second finds a connection, the third comes too late for it."""

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


def test_pool_that_is_full_lets_calls_wait_at_the_client() -> None:
    """The limits of ``ConnectionSettings`` hold: the upstream never sees more requests at once."""
    run = calling_at(0, 0, 0, 0, config=ClientConfig(connection=ConnectionSettings(pool_size=2)))
    assert latencies(run) == [1, 1, 2, 2]
    assert run.upstreams["api"].peak == 2


def test_stall_holds_everything_and_lets_it_go_on() -> None:
    """Work that was frozen halfway needs its other half; what came meanwhile begins at the end."""
    assert latencies(calling_at(4.5, 6, changes=[Stall(at=5, lasting=4)])) == [5, 4]


def test_capacity_that_is_halved_serves_half_at_once() -> None:
    """With one of two servers left, the second request waits."""
    run = calling_at(0, 0, 10, 10, servers=2, changes=[Capacity(at=5, lasting=10, servers=1)])
    assert latencies(run) == [1, 1, 1, 2]


def test_capacity_that_returns_serves_those_who_wait() -> None:
    """Servers that come back take up the queue at once."""
    assert latencies(calling_at(6, 6, servers=2, changes=[Capacity(at=5, lasting=3, servers=0)])) == [3, 3]


def test_slowdown_stretches_what_begins_in_it() -> None:
    """Service times are multiplied; two slowdowns at once multiply, too."""
    slow = [Slowdown(at=5, lasting=10, factor=2), Slowdown(at=8, lasting=3, factor=3)]
    assert latencies(calling_at(0, 6, 9, 20, changes=slow)) == [1, 2, 6, 1]


def test_errors_strike_one_replica_of_two() -> None:
    """A change may befall one replica: half of the requests meet it."""
    scenario = plain(Errors(at=0, rate=1, replica=1), rate=50, replicas=2, duration=60)
    assert simulate(scenario.with_config(NONE)).totals.success == pytest.approx(0.5, abs=0.03)


def test_handler_of_ones_own_decides_the_answer() -> None:
    """A handler sees the request and gives any status, with headers if need be."""

    async def handler(visit: Visit) -> Reply | int:
        await asyncio.sleep(2)
        return Reply(429, {"Retry-After": "3"}) if visit.replica == 0 else 200

    run = calling_at(0, config=NONE, handler=handler)
    assert run.kinds == {ErrorKind.THROTTLED: 1}
    assert list(run.calls["shop"].waits) == [3]


def test_handler_that_breaks_ends_the_run() -> None:
    """A bug in a handler is raised from ``simulate``, not taken for a failure of the upstream."""

    async def handler(_visit: Visit) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        calling_at(0, handler=handler)


def test_layer_whose_dependency_fails_answers_an_error() -> None:
    """A service that calls others fails with them, and its callers see a 503."""
    run = simulate(
        Scenario(
            upstreams=[Upstream(name="front", calls=["db"]), Upstream(name="db", error_rate=1)],
            callers=[Callers(name="shop", calls="front", arrivals=Herd())],
            duration=1,
        ).with_config(NONE)
    )
    assert run.kinds == {ErrorKind.SERVER_ERROR: 1}
    assert run.calls["front"].kinds == {ErrorKind.SERVER_ERROR: 1}


def test_layer_that_dies_abandons_its_own_calls() -> None:
    """Requests of a service that is gone are counted all the same: the laws hold."""
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


def test_call_without_any_time_limit_to_what_never_answers_breaks_a_law() -> None:
    """A call that would never end is reported, with the remedy, and does not hang the run."""
    with pytest.raises(
        LawBrokenError, match="1 calls have not ended 3600 s after the scenario; give their clients a T"
    ):
        calling_at(0, config=NONE.merge(ClientConfig(timeout=None)), changes=[Outage(at=0, how="hang")])


def test_circuit_that_opens_is_told_by_the_second() -> None:
    """The report shows how many circuits are open and half-open at the end of each second."""
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
    told = run.circuits("api")
    assert (told[0], told[2]) == ((1, 0), (1, 0))
    assert told[-1] == (0, 0)
