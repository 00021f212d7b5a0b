"""The rule of the budget: in an outage, retries cost the upstream a bucketful and no more; counted by the server."""

from __future__ import annotations

import asyncio

import pytest
from tests.behaviour.support import failure, soon

from resilient_client import APIClient, Call, Endpoint, ErrorKind, Retry, RetryBudget, Timeout
from resilient_client._core.events import Event, RetryRefused
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import Step
from resilient_client.testing.faults import drop, hang_before_headers, reply

pytestmark = pytest.mark.one_loop

EAGER = Retry(max_attempts=3, backoff=lambda _: 0.0)
"""Three attempts, no pause."""
CALLS = 30


def budgeted(server: FaultServer, budget: RetryBudget | None, **options: object) -> APIClient:
    """A client without a circuit, so that only the budget stands between an outage and a storm."""
    given = {"retry": EAGER, "retry_budget": budget, "circuit_breaker": None} | options
    return APIClient(server.url, **given)  # type: ignore[arg-type]  # by name


def bucket(initial: float) -> RetryBudget:
    """A budget into which nothing trickles, so that a test can count."""
    return RetryBudget(initial=initial, ratio=0, min_per_second=0)


async def outage(api: APIClient, calls: int = CALLS, concurrency: int = 1) -> None:
    """Calls of which all fail."""
    result = await soon(api.gather([Call.get("/")] * calls, concurrency=concurrency))
    assert len(result.failures) == calls


# --- what an outage costs ---


@pytest.mark.parametrize("concurrency", [1, CALLS])
@pytest.mark.parametrize("fault", [drop(), reply(503)], ids=str)
async def test_outage_costs_calls_and_one_bucket(server: FaultServer, fault: Step, concurrency: int) -> None:
    """Requests on the wire are calls plus tokens, one after the other or all at once."""
    server.script(fault)
    async with budgeted(server, bucket(5)) as api:
        await outage(api, concurrency=concurrency)
    assert server.hits == CALLS + 5


async def test_outage_without_budget_costs_thrice(server: FaultServer) -> None:
    """The control: without a budget every caller makes all its attempts."""
    server.script(drop())
    async with budgeted(server, None) as api:
        await outage(api)
    assert server.hits == CALLS * 3


async def test_outage_with_default_budget(server: FaultServer) -> None:
    """Sixty calls, one a second of a minute's outage: at most 1.25 times the offered load."""
    server.script(drop())
    async with APIClient(server.url, retry=EAGER, circuit_breaker=None) as api:
        await outage(api, calls=60)
    assert server.hits <= 60 * 1.25


# --- where tokens come from and go ---


async def test_successes_earn_retries(server: FaultServer) -> None:
    """Eight answers at a ratio of 0.25 pay for two retries."""
    async with budgeted(server, RetryBudget(initial=0, ratio=0.25, min_per_second=0)) as api:
        await soon(api.gather([Call.get("/")] * 8))
        server.script(reply(503))
        await outage(api)
    assert server.hits == 8 + CALLS + 2


async def test_failures_earn_nothing(server: FaultServer) -> None:
    """A deposit when a call starts would let the outage feed its own retries."""
    server.script(drop())
    async with budgeted(server, RetryBudget(initial=0, ratio=1, min_per_second=0)) as api:
        await outage(api)
    assert server.hits == CALLS


async def test_unretried_error_earns_nothing(server: FaultServer) -> None:
    """A 501 is an answer, but not one that shows the upstream has room for retries."""
    server.script(reply(501))
    async with budgeted(server, RetryBudget(initial=0, ratio=1, min_per_second=0)) as api:
        await outage(api, calls=3)
        server.script(reply(503))
        await outage(api)
    assert server.hits == 3 + CALLS


@pytest.mark.parametrize(("step", "hits"), [(hang_before_headers(), 2), (drop(), 3)], ids=["timeout", "drop"])
async def test_timeout_retry_costs_five_tokens(server: FaultServer, step: Step, hits: int) -> None:
    """Five tokens buy one retry of a call that timed out, or all of one that was dropped."""
    server.script(step)
    async with budgeted(server, bucket(5), timeout=Timeout(total=5, attempt=0.2)) as api:
        error = await failure(api.get("/"))
    assert (server.hits, error.attempts) == (hits, hits)


async def test_views_share_the_budget(server: FaultServer) -> None:
    """``with_options`` gives no second bucket."""
    server.script(drop())
    async with budgeted(server, bucket(2)) as api:
        await failure(api.with_options(timeout=5).get("/"))
        await failure(api.get("/"))
    assert server.hits == 2 + 2


async def test_bucket_per_upstream(server: FaultServer) -> None:
    """The outage of one upstream takes no retry from another."""
    async with FaultServer() as other, APIClient(retry=EAGER, retry_budget=bucket(2), circuit_breaker=None) as api:
        server.script(drop())
        other.script(drop())
        for upstream in (server, other):
            for _ in range(2):
                await failure(api.get(upstream.url))
    assert (server.hits, other.hits) == (2 + 2, 2 + 2)


async def test_unretried_call_takes_no_token(server: FaultServer) -> None:
    """A POST that may not be repeated leaves the budget to those that may."""
    server.script(drop())
    async with budgeted(server, bucket(2)) as api:
        for _ in range(5):
            await failure(api.post("/", json={}))
        await failure(api.get("/"))
    assert server.hits == 5 + 3


# --- what the caller learns ---


async def test_empty_budget_raises_last_error(server: FaultServer) -> None:
    """The error is what the server did; that there was no retry is said beside it, and told as an event."""
    server.script(drop())
    events: list[Event] = []
    async with budgeted(server, bucket(0)) as api:
        api.subscribe(events.append)
        error = await failure(api.get("/"))
    assert error.kind is ErrorKind.DISCONNECTED
    assert str(error).endswith("not retried: the retry budget of this upstream is empty")
    assert [event.reason for event in events if isinstance(event, RetryRefused)] == [
        "not retried: the retry budget of this upstream is empty"
    ]


# --- looking at it ---


async def test_retry_budgets_show_tokens_left(server: FaultServer) -> None:
    """What retries took is missing, and a view shows the same."""
    server.script(drop())
    async with budgeted(server, bucket(5)) as api:
        assert dict(api.retry_budgets) == {}
        await failure(api.get("/"))
        tokens = api.retry_budgets[Endpoint.of(server.url)]
        assert tokens.available(asyncio.get_running_loop().time()) == 5 - (server.hits - 1)
        assert api.with_options(timeout=5).retry_budgets is api.retry_budgets


async def test_retry_budgets_empty_if_off(server: FaultServer) -> None:
    """An empty mapping, so that whoever looks need not ask."""
    async with budgeted(server, None) as api:
        await api.get("/")
        assert dict(api.retry_budgets) == {}
