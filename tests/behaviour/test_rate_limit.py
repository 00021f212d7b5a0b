"""A rate limit spreads attempts in order, and a reply that asks to slow down holds for all callers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.behaviour.support import client, failure, soon, turns

from resilient_client import (
    APIClient,
    Backoff,
    Call,
    CallRejectedError,
    CircuitBreaker,
    CircuitState,
    ClientConfig,
    ErrorKind,
    LocalRateLimitError,
    RateLimit,
    RateLimitError,
    Retry,
    Stage,
    Timeout,
)
from resilient_client.events import AttemptFinished, CallRejected, EndpointPaused
from resilient_client.testing import MockUpstream, record_events, run_virtual
from resilient_client.testing import reply as mock_reply
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._mock_steps import Step
from resilient_client.testing.faults import redirect, reply

URL = "https://api.example.com"
Scenario = Callable[[APIClient, MockUpstream], Coroutine[Any, Any, Any]]


def played(scenario: Scenario, *steps: Step, **settings: Any) -> list[float]:
    """The times at which requests reached an upstream in memory, in virtual time."""

    async def main() -> list[float]:
        upstream = MockUpstream()
        upstream.script(*steps or (mock_reply(),))
        async with APIClient(URL, transport=upstream, **({"retry": None} | settings)) as api:
            await scenario(api, upstream)
        return [request.at for request in upstream.requests]

    return run_virtual(main())


def many(count: int) -> Scenario:
    """Return a scenario of ``count`` calls at once."""
    return lambda api, _upstream: api.gather([Call.get(f"/{number}") for number in range(count)], concurrency=count)


# --- so many in a time ---


def test_attempts_are_spread_after_burst() -> None:
    """Three at once, then one each half second."""
    times = played(many(6), rate_limit=RateLimit(rate=2, burst=3, max_wait=9))
    assert times == pytest.approx([0, 0, 0, 0.5, 1.0, 1.5])


def test_without_rate_limit_sent_at_once() -> None:
    """Negative control: the default is off."""
    assert played(many(6)) == [0] * 6


def test_waiters_are_served_in_fifo_order() -> None:
    """The first to come is served first."""
    order: list[str] = []

    async def scenario(api: APIClient, upstream: MockUpstream) -> None:
        await many(20)(api, upstream)
        order.extend(request.path for request in upstream.requests)

    played(scenario, rate_limit=RateLimit(rate=10, max_wait=9))
    assert order == [f"/{number}" for number in range(20)]


def test_retries_are_paced_too() -> None:
    """The limit is on attempts: three of them take three slots."""
    retry = Retry(max_attempts=3, backoff=lambda _: 0.0)
    times = played(
        many(1), mock_reply(503), mock_reply(503), mock_reply(), retry=retry, rate_limit=RateLimit(rate=1, max_wait=9)
    )
    assert times == pytest.approx([0, 1, 2])


async def test_rate_limit_is_one_for_each_endpoint(server: FaultServer) -> None:
    """What one endpoint gets takes nothing from another."""
    async with FaultServer() as other, APIClient(retry=None, rate_limit=RateLimit(rate=0.001)) as api:
        await api.get(f"{server.url}/")
        await api.get(f"{other.url}/")
        assert isinstance(await failure(api.get(f"{server.url}/")), LocalRateLimitError)
    assert (server.hits, other.hits) == (1, 1)


async def test_rate_limit_none_overrides_config(server: FaultServer) -> None:
    """``None`` switches it off, and the middleware is not in the chain."""
    config = ClientConfig(rate_limit=RateLimit(rate=0.001))
    async with client(server, config=config, rate_limit=None) as api:
        await api.get("/")
        await api.get("/")
        assert "rate limit" not in [link.name for link in api.explain("GET", "/").chain]
    assert server.hits == 2


# --- who cannot wait ---


async def test_late_slot_is_refused_without_sending(server: FaultServer) -> None:
    """The refusal names the next slot, and neither the server nor its circuit sees the attempt."""
    breaker = CircuitBreaker(minimum_calls=1, failure_ratio=0.1)
    async with client(server, rate_limit=RateLimit(rate=6, per=60), circuit_breaker=breaker) as api:
        await api.get("/")
        with record_events(api) as events:
            error = await failure(api.get("/orders/7"))
        (circuit,) = api.circuits.values()
        assert circuit.state is CircuitState.CLOSED
    assert isinstance(error, LocalRateLimitError)
    assert isinstance(error, CallRejectedError)
    assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.REJECTED, Stage.LOCAL, False)
    assert (error.attempts, error.history, error.retryable) == (0, (), False)
    assert error.retry_after == pytest.approx(10, abs=0.5)
    assert str(error).startswith(
        f"GET {server.url}/orders/7: the next slot of the rate limit of {server.url} is due in "
    )
    assert str(error).endswith(" s, and the attempt may wait 0 s; nothing was sent")
    assert [event.cause for event in events if isinstance(event, CallRejected)] == ["rate_limited"]
    assert server.hits == 1


def test_wait_beyond_max_wait_not_started() -> None:
    """Calls with a slot within a second wait for it, and the others are refused at the beginning."""
    refused: list[float] = []

    async def scenario(api: APIClient, _upstream: MockUpstream) -> None:
        result = await api.gather([Call.get("/") for _ in range(5)])
        refused.extend(failed.error.elapsed for failed in result.failures)

    times = played(scenario, rate_limit=RateLimit(rate=2, max_wait=1))
    assert times == pytest.approx([0, 0.5, 1.0])
    assert refused == [0, 0]


@pytest.mark.parametrize("timeout", [Timeout(total=1), Timeout(attempt=1), 1])
def test_wait_beyond_deadline_not_started(timeout: Timeout | float) -> None:
    """A refusal at once is worth more than a timeout later."""
    refused: list[tuple[float, float | None]] = []

    async def scenario(api: APIClient, _upstream: MockUpstream) -> None:
        await api.get("/")
        error = await failure(api.get("/", timeout=timeout))
        assert isinstance(error, LocalRateLimitError)
        refused.append((error.elapsed, error.retry_after))

    played(scenario, rate_limit=RateLimit(rate=1, max_wait=60))
    assert refused == [(0, 1)]


def test_refused_retry_raises_previous_failure() -> None:
    """The upstream's failure is more useful than the refusal, which is its context."""

    async def scenario(api: APIClient, _upstream: MockUpstream) -> None:
        error = await failure(api.get("/"))
        assert isinstance(error, RateLimitError)
        assert error.attempts == 1
        assert "not retried further: the next slot of the rate limit of https://api.example.com is due in " in str(
            error
        )
        assert "nothing was sent" not in str(error)

    retry = Retry(backoff=lambda _: 0.1)
    assert len(played(scenario, mock_reply(429), retry=retry, rate_limit=RateLimit(rate=1))) == 1


def test_cancelled_waiter_passes_slot_on() -> None:
    """No slot is lost, and the next call has it at once."""

    async def scenario(api: APIClient, upstream: MockUpstream) -> None:
        await api.get("/first")
        second, third = (asyncio.create_task(api.get(f"/{name}")) for name in ("second", "third"))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_at(1.0, second.cancel)  # set after the timer of the turn: runs right behind it
        assert (await third).status == 200
        assert second.cancelled()
        assert [request.path for request in upstream.requests] == ["/first", "/third"]

    times = played(scenario, rate_limit=RateLimit(rate=1, max_wait=9))
    assert times == pytest.approx([0, 1])


# --- a reply that says "slow down" ---


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (429, {"Retry-After": "5"}),
        (503, {"Retry-After": "5"}),
        (200, {"RateLimit": '"default";r=0;t=5', "RateLimit-Policy": '"default";q=100;w=60'}),
        (200, {"RateLimit": '"default";r=0', "RateLimit-Policy": '"default";q=100;w=5'}),
        (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "5"}),
        (404, {"RateLimit-Remaining": "0", "RateLimit-Reset": "5"}),
    ],
)
def test_retry_after_holds_back_all_callers(status: int, headers: dict[str, str]) -> None:
    """All callers wait, and then go at the rate without a burst."""

    async def scenario(api: APIClient, upstream: MockUpstream) -> None:
        await api.get("/first", raise_for_status=False)
        await many(3)(api, upstream)

    limit = RateLimit(rate=10, burst=10, max_wait=9)
    times = played(scenario, mock_reply(status, headers=headers), mock_reply(), rate_limit=limit)
    assert times == pytest.approx([0, 5, 5.1, 5.2])


def test_retry_after_without_rate_limit() -> None:
    """Negative control: only the caller that got the reply waits."""

    async def scenario(api: APIClient, upstream: MockUpstream) -> None:
        await api.get("/first", raise_for_status=False)
        await many(3)(api, upstream)

    assert played(scenario, mock_reply(429, headers={"Retry-After": "5"}), mock_reply()) == [0] * 4


@pytest.mark.parametrize("step", [mock_reply(429), mock_reply(500, headers={"Retry-After": "5"}), mock_reply(200)])
def test_reply_without_retry_after(step: Step) -> None:
    """Neither a 429 without ``Retry-After`` nor a ``Retry-After`` of another status holds back calls."""

    async def scenario(api: APIClient, _upstream: MockUpstream) -> None:
        await api.get("/first", raise_for_status=False)
        await api.get("/second", raise_for_status=False)

    assert played(scenario, step, rate_limit=RateLimit(rate=10, burst=10)) == [0, 0]


@pytest.mark.parametrize(("max_pause", "paused"), [(60.0, 60.0), (2.0, 2.0), (0.0, 0.1)])
def test_pause_is_bounded(max_pause: float, paused: float) -> None:
    """A server that asks for a day is limited to ``max_pause``, and with 0 there is no pause."""

    async def scenario(api: APIClient, _upstream: MockUpstream) -> None:
        await api.get("/first", raise_for_status=False)
        await api.get("/second", timeout=Timeout(total=100, attempt=100))

    limit = RateLimit(rate=10, max_wait=99, max_pause=max_pause)
    times = played(scenario, mock_reply(429, headers={"Retry-After": "86400"}), mock_reply(), rate_limit=limit)
    assert times == pytest.approx([0, paused])


def test_pause_refuses_impatient_waiters() -> None:
    """A waiter whose slot is now too late is refused at once, and the others keep theirs."""
    ends: list[tuple[float, str]] = []

    async def scenario(api: APIClient, _upstream: MockUpstream) -> None:
        async def one(name: str, timeout: float) -> None:
            outcome = await api.run(Call.get(f"/{name}", timeout=Timeout(attempt=timeout)))
            ends.append((asyncio.get_running_loop().time(), f"{name} {outcome.ok}"))

        await asyncio.gather(one("first", 30), one("hasty", 3), one("patient", 30))

    limited = mock_reply(429, headers={"Retry-After": "5"}, delay=0.2)
    played(scenario, limited, mock_reply(), rate_limit=RateLimit(rate=1, max_wait=30))
    assert ends == [(0.2, "first False"), (0.2, "hasty False"), (pytest.approx(5.2), "patient True")]


def test_pause_is_told_once() -> None:
    """An event for the first reply that asks for it, none for those that ask for no more."""
    paused: list[EndpointPaused] = []

    async def scenario(api: APIClient, _upstream: MockUpstream) -> None:
        api.subscribe(lambda event: paused.append(event) if isinstance(event, EndpointPaused) else None)
        await api.gather([Call.get("/", raise_for_status=False) for _ in range(5)])

    step = mock_reply(429, headers={"Retry-After": "5"}, delay=0.1)
    played(scenario, step, rate_limit=RateLimit(rate=10, burst=5))
    assert [(str(event.endpoint), event.seconds, event.at) for event in paused] == [(URL, 5.0, pytest.approx(0.1))]


async def test_retry_after_of_other_endpoint(server: FaultServer) -> None:
    """A redirect led there: its quota is not that of the endpoint that was called."""
    async with FaultServer() as other:
        other.script(reply(429, headers={"Retry-After": "50"}))
        server.script(redirect(f"{other.url}/"), reply())
        async with client(server, rate_limit=RateLimit(rate=1000, burst=9), follow_redirects="any") as api:
            await failure(api.get("/"))
            assert (await soon(api.get("/"))).status == 200


@pytest.mark.virtual_time
async def test_retry_after_paces_hits(server: FaultServer) -> None:
    """After one 429 no caller sends before the time is over, and all are served."""
    server.script(reply(429, headers={"Retry-After": "0.3"}), reply())
    retry = Retry(max_attempts=3, backoff=Backoff(kind="fixed", initial=0.001))
    limit = RateLimit(rate=100, burst=1, max_wait=5)
    async with client(server, retry=retry, rate_limit=limit) as api:
        first = asyncio.create_task(api.get("/"))
        with record_events(api) as events:
            while not any(isinstance(event, EndpointPaused) for event in events):
                await asyncio.sleep(0)
        others = [asyncio.create_task(api.get("/")) for _ in range(9)]
        await turns()
        assert server.hits == 1
        await soon(asyncio.gather(first, *others))
        finished = [event for event in events if isinstance(event, AttemptFinished)]
    times = [request.at - server.requests[0].at for request in server.requests[1:]]
    assert len(times) == 10
    assert min(times) >= 0.29
    assert not [event for event in finished if event.record.kind is ErrorKind.REJECTED]


@pytest.mark.virtual_time
async def test_retry_after_paces_nothing_control(server: FaultServer) -> None:
    """Negative control: the nine others come at once."""
    server.script(reply(429, headers={"Retry-After": "0.3"}), reply())
    async with client(server) as api:
        await api.get("/", raise_for_status=False)
        await soon(api.gather([Call.get("/") for _ in range(9)]))
    assert max(request.at for request in server.requests) - server.requests[0].at < 0.25
