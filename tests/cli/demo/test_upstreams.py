"""The timetable, and the upstreams in each condition on real sockets."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest

from resilient_client import APIClient, APIStatusError, ErrorKind, Success, Timeout
from resilient_client._cli.demo.orders import Answer, calls_of
from resilient_client._cli.demo.upstreams import INCIDENTS, UPSTREAMS, Condition, Timetable, Upstreams, run_upstreams
from resilient_client._core.outcome import Outcome


@pytest.mark.parametrize("seconds", [3.0, 15.0, 600.0])
def test_incidents_scale_with_the_run(seconds: float) -> None:
    """Each incident begins and ends at its share of the run, however long the run is."""
    timetable = Timetable(seconds)
    for incident in INCIDENTS:
        middle = (incident.begins + incident.ends) / 2 * seconds
        assert timetable.condition(incident.upstream, middle) is incident.condition


def test_incidents_of_one_upstream_never_overlap() -> None:
    """Of two incidents at the same time only one would be visible."""
    for name in UPSTREAMS:
        times = sorted((incident.begins, incident.ends) for incident in INCIDENTS if incident.upstream == name)
        assert times, name
        assert all(before[1] <= after[0] for before, after in pairwise(times))


def test_timetable_begins_and_ends_healthy() -> None:
    """The beginning shows the normal state, and at the end the circuits have time to close."""
    timetable = Timetable()
    for at in (0.0, 14.0, 20.0):
        assert {timetable.condition(name, at) for name in UPSTREAMS} == {Condition.HEALTHY}


def test_changes_match_the_conditions() -> None:
    """Each change is listed at the time at which the condition takes effect."""
    timetable = Timetable()
    changes = timetable.changes
    assert len(changes) == 2 * len(INCIDENTS)
    for at, name, condition in changes:
        assert timetable.condition(name, at + 0.001) is condition


def always(condition: Condition) -> Timetable:
    """Return a timetable with one condition for all upstreams, all the time."""

    class Always(Timetable):
        def condition(self, upstream: str, elapsed: float) -> Condition:
            return condition

    return Always()


async def outcomes(condition: Condition, orders: int, attempt: float = 30) -> tuple[list[Outcome[Answer]], Upstreams]:
    """Place ``orders`` orders one after the other, with one attempt of ``attempt`` seconds per call."""
    results: list[Outcome[Answer]] = []
    client = APIClient(retry=None, circuit_breaker=None, timeout=Timeout(attempt=attempt))
    async with run_upstreams(always(condition)) as upstreams, client as api:
        for order in range(orders):
            results += await api.gather(calls_of(order, upstreams.urls))
    return results, upstreams


def kinds_of(results: Iterable[Outcome[Answer]]) -> set[ErrorKind | None]:
    return {None if isinstance(result, Success) else result.kind for result in results}


@pytest.mark.parametrize(
    ("condition", "kinds"),
    [
        (Condition.HEALTHY, {None}),
        (Condition.DOWN, {ErrorKind.DISCONNECTED}),
        (Condition.CORRUPT, {None, ErrorKind.PROTOCOL, ErrorKind.INVALID_RESPONSE}),
        (Condition.LOSSY, {None, ErrorKind.DISCONNECTED}),
    ],
)
async def test_condition_determines_the_outcomes(condition: Condition, kinds: set[ErrorKind | None]) -> None:
    """Each condition causes exactly its kinds of failure, and every request is counted."""
    results, upstreams = await outcomes(condition, orders=12)
    assert kinds_of(result for result in results if result.key == "logistics") == kinds
    assert [server.hits for server in upstreams.servers.values()] == [12, 12, 12]


async def test_slow_upstream_causes_timeouts() -> None:
    """Its latency of three seconds exceeds every timeout of the demo."""
    results, _ = await outcomes(Condition.SLOW, orders=1, attempt=1)
    assert kinds_of(results) == {ErrorKind.TIMEOUT}


async def test_overloaded_upstream_sends_retry_after() -> None:
    """Of many requests at once a few are answered. The others get a 503 with ``Retry-After``."""
    async with run_upstreams(always(Condition.OVERLOADED)) as upstreams, APIClient(retry=None) as api:
        result = await api.gather([calls_of(order, upstreams.urls)[0] for order in range(12)])
    waits = [failure.error.retry_after for failure in result.failures if isinstance(failure.error, APIStatusError)]
    assert 0 < len(waits) == len(result.failures) < 12
    assert set(waits) == {1.0}


async def test_lossy_upstream_charges_without_replying() -> None:
    """Every payment is charged, whether its reply arrives or not. Idempotency keys exist for this case."""
    results, upstreams = await outcomes(Condition.LOSSY, orders=12)
    payments = [result for result in results if result.key == "payment"]
    assert sum(result.ok for result in payments) < 12
    assert sorted(upstreams.ledger.charges) == list(range(12))
