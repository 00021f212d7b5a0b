"""The upstreams, in each condition, on real sockets."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from resilient_client import APIClient, APIStatusError, ErrorKind, Success, Timeout
from resilient_client._cli.demo.orders import Answer, calls_of
from resilient_client._cli.demo.timetable import Condition, Timetable
from resilient_client._cli.demo.upstreams import Upstreams, running
from resilient_client._core.outcome import Outcome


def always(condition: Condition) -> Timetable:
    """A timetable that knows one condition for all, all the time."""

    class Always(Timetable):
        def condition(self, upstream: str, elapsed: float) -> Condition:
            return condition

    return Always()


async def outcomes(condition: Condition, orders: int) -> tuple[list[Outcome[Answer]], Upstreams]:
    """What comes of ``orders`` orders, one after the other, with one attempt a call."""
    results: list[Outcome[Answer]] = []
    client = APIClient(retry=None, circuit_breaker=None, timeout=Timeout(attempt=0.3))
    async with running(always(condition)) as upstreams, client as api:
        for order in range(orders):
            results += await api.gather(calls_of(order, upstreams.urls))
    return results, upstreams


def kinds_of(results: Iterable[Outcome[Answer]]) -> set[ErrorKind | None]:
    return {None if isinstance(result, Success) else result.kind for result in results}


@pytest.mark.parametrize(
    ("condition", "kinds"),
    [
        (Condition.WELL, {None}),
        (Condition.DOWN, {ErrorKind.DISCONNECTED}),
        (Condition.SPOILT, {None, ErrorKind.PROTOCOL, ErrorKind.INVALID_RESPONSE}),
        (Condition.FORGETFUL, {None, ErrorKind.DISCONNECTED}),
    ],
)
async def test_upstreams_do_what_their_condition_says(condition: Condition, kinds: set[ErrorKind | None]) -> None:
    """And nothing else; every request is counted."""
    results, upstreams = await outcomes(condition, orders=12)
    assert kinds_of(result for result in results if result.key == "logistics") == kinds
    assert [server.hits for server in upstreams.servers.values()] == [12, 12, 12]


async def test_upstreams_that_are_slow_do_not_answer_in_time() -> None:
    """Three seconds are longer than anybody here waits."""
    results, _ = await outcomes(Condition.SLOW, orders=1)
    assert kinds_of(results) == {ErrorKind.TIMEOUT}


async def test_upstreams_that_are_overloaded_say_when_to_come_back() -> None:
    """Of many requests at once a few are answered; the others get a 503 with ``Retry-After``."""
    async with running(always(Condition.OVERLOADED)) as upstreams, APIClient(retry=None) as api:
        result = await api.gather([calls_of(order, upstreams.urls)[0] for order in range(12)])
    waits = [failure.error.retry_after for failure in result.failures if isinstance(failure.error, APIStatusError)]
    assert 0 < len(waits) == len(result.failures) < 12
    assert set(waits) == {1.0}


async def test_upstreams_that_are_forgetful_have_acted_all_the_same() -> None:
    """Every payment is charged, confirmed or not: this is what idempotency keys are for."""
    results, upstreams = await outcomes(Condition.FORGETFUL, orders=12)
    payments = [result for result in results if result.key == "payment"]
    assert sum(result.ok for result in payments) < 12
    assert sorted(upstreams.ledger.charges) == list(range(12))
