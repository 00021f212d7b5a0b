"""A bulkhead admits no more attempts than it has permits, in order, and never loses a permit."""

from __future__ import annotations

import asyncio

import pytest
from tests.behaviour.support import cancelled, client, failure, soon, turns

from resilient_client import (
    APIClient,
    APITimeoutError,
    Bulkhead,
    BulkheadFullError,
    Call,
    CallRejectedError,
    CircuitBreaker,
    CircuitState,
    ClientConfig,
    ErrorKind,
    InternalServerError,
    InvalidRequestError,
    Permits,
    Retry,
    Stage,
    Timeout,
)
from resilient_client.events import AttemptFinished, CallRejected
from resilient_client.testing import MockUpstream, record_events, run_virtual
from resilient_client.testing import reply as mock_reply
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import hold, reply

URL = "https://api.example.com"


def permits_of(api: APIClient) -> Permits:
    (permits,) = api.bulkheads.values()
    return permits


# --- so many at once ---


@pytest.mark.parametrize(("bulkhead", "peak"), [(Bulkhead(max_concurrent=3, max_queue=100), 3), (None, 20)])
async def test_bulkhead_bounds_concurrency(server: FaultServer, bulkhead: Bulkhead | None, peak: int) -> None:
    """The server sees at most three requests at once and serves all. Without a bulkhead it sees all twenty."""
    held = hold()
    server.script(held)
    async with client(server, bulkhead=bulkhead) as api:
        calls = [asyncio.create_task(api.get(f"/{number}")) for number in range(20)]
        await soon(server.wait_for_hits(peak))
        await turns(20)
        assert server.active == peak
        held.release()
        assert {reply.status for reply in await soon(asyncio.gather(*calls))} == {200}
    assert (server.hits, server.peak) == (20, peak)


async def test_full_bulkhead_refuses_at_once(server: FaultServer) -> None:
    """One call runs and one waits. The third is refused, and the server never sees it."""
    held = hold()
    server.script(held)
    async with client(server, bulkhead=Bulkhead(max_concurrent=1, max_queue=1)) as api:
        calls = [asyncio.create_task(api.get("/")) for _ in range(2)]
        await soon(server.wait_for_hits(1))
        with record_events(api) as events:
            error = await failure(api.get("/orders/7"))
        held.release()
        await soon(asyncio.gather(*calls))
        assert permits_of(api).idle
    assert isinstance(error, BulkheadFullError)
    assert isinstance(error, CallRejectedError)
    assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.REJECTED, Stage.LOCAL, False)
    assert (error.attempts, error.history, error.retryable) == (0, (), False)
    assert str(error) == (
        f"GET {server.url}/orders/7: the bulkhead is full: 1 of 1 permits of {server.url} are in use and 1 wait; "
        "nothing was sent"
    )
    assert [event.cause for event in events if isinstance(event, CallRejected)] == ["bulkhead_full"]
    assert server.hits == 2


async def test_bulkhead_is_per_endpoint(server: FaultServer) -> None:
    """A slow endpoint does not use up the permits of another."""
    held = hold()
    server.script(held)
    async with FaultServer() as other, APIClient(retry=None, bulkhead=Bulkhead(max_concurrent=1)) as api:
        slow = asyncio.create_task(api.get(f"{server.url}/"))
        await soon(server.wait_for_hits(1))
        assert (await soon(api.get(f"{other.url}/"))).status == 200
        assert [(str(endpoint), permits.in_use) for endpoint, permits in api.bulkheads.items()] == [
            (server.url, 1),
            (other.url, 0),
        ]
        held.release()
        await soon(slow)


async def test_no_bulkhead_no_permits(server: FaultServer) -> None:
    """The default is off, and ``None`` overrides a config. The middleware is then not in the chain."""
    config = ClientConfig(bulkhead=Bulkhead(max_concurrent=1))
    for api in (client(server), client(server, config=config, bulkhead=None)):
        async with api:
            await api.get("/")
            assert not api.bulkheads
            assert "bulkhead" not in str(api.explain("GET", "/")).split("settings")[0]


def test_bulkhead_position_in_chain() -> None:
    """A call that waits for a permit has its rate-limit slot and no probe of the circuit yet."""
    api = APIClient(URL, bulkhead=Bulkhead(max_concurrent=5), rate_limit={"rate": 1})
    explained = api.explain("GET", "/", priority="batch")
    names = [link.name for link in explained.chain]
    assert names == ["retry", "attempt", "rate limit", "bulkhead", "circuit breaker", "redirect"]
    rows = {row.setting: (row.value, row.layer) for row in explained.settings}
    assert rows["bulkhead.max_concurrent"] == (5, "client")
    assert rows["bulkhead.max_queue"] == (0, "default")
    assert rows["priority"] == ("batch", "call")


# --- order ---


def order_of(*priorities: str, **options: object) -> list[str]:
    """The order in which calls of these priorities reach the upstream, all but the first waiting for one permit."""

    async def main() -> list[str]:
        upstream = MockUpstream()
        upstream.script(mock_reply(delay=1.0))
        bulkhead = Bulkhead(max_concurrent=1, max_queue=100)
        async with APIClient(
            URL, transport=upstream, timeout=Timeout(total=1000, attempt=1000), bulkhead=bulkhead
        ) as api:
            first = asyncio.create_task(api.get("/first"))
            await upstream.wait_for_hits(1)
            calls = [Call.get(f"/{number}-{one}", priority=one) for number, one in enumerate(priorities)]
            await asyncio.gather(first, *map(api.send, calls))
        return [request.path for request in upstream.requests[1:]]

    return run_virtual(main())


def test_waiters_are_served_in_fifo_order() -> None:
    """In the order in which they came."""
    assert order_of(*["user"] * 5) == [f"/{number}-user" for number in range(5)]


def test_waiters_are_served_by_priority() -> None:
    """The order is user, batch, probe."""
    assert order_of("probe", "batch", "user", "batch", "user") == [
        "/2-user",
        "/4-user",
        "/1-batch",
        "/3-batch",
        "/0-probe",
    ]


async def test_priority_of_view_and_config(server: FaultServer) -> None:
    """A view or a config sets the priority of its calls."""
    held = hold()
    server.script(held)
    bulkhead = Bulkhead(max_concurrent=1, max_queue=9)
    async with client(server, config=ClientConfig(priority="probe"), bulkhead=bulkhead) as api:
        batch = api.with_options(priority="batch")
        calls = [asyncio.create_task(api.get("/first"))]
        await soon(server.wait_for_hits(1))
        for made in (api.get("/probe"), batch.get("/batch"), batch.get("/user", priority="user")):
            calls.append(asyncio.create_task(made))
            await turns()
        held.release()
        await soon(asyncio.gather(*calls))
    assert [request.path for request in server.requests] == ["/first", "/user", "/batch", "/probe"]


async def test_priority_of_coalesced_calls(server: FaultServer) -> None:
    """A flight has that of its calls: those of another priority have one of their own."""
    held = hold()
    server.script(held)
    async with client(server, bulkhead=Bulkhead(max_concurrent=1, max_queue=9), coalesce=True) as api:
        calls = [asyncio.create_task(api.get("/first"))]
        await soon(server.wait_for_hits(1))
        for path, priority in (("/batch", "batch"), ("/both", "batch"), ("/both", "user"), ("/both", "batch")):
            calls.append(asyncio.create_task(api.get(path, priority=priority)))
            await turns()
        held.release()
        await soon(asyncio.gather(*calls))
    assert [request.path for request in server.requests] == ["/first", "/both", "/batch", "/both"]


async def test_high_priority_evicts_last_batch_call(server: FaultServer) -> None:
    """The last batch call is refused at once with the reason, and the user's call is served."""
    held = hold()
    server.script(held)
    async with client(server, bulkhead=Bulkhead(max_concurrent=1, max_queue=2)) as api:
        calls = [asyncio.create_task(api.get(f"/{number}", priority="batch")) for number in range(3)]
        await soon(server.wait_for_hits(1))
        user = asyncio.create_task(api.get("/user"))
        error = await failure(calls[2])
        held.release()
        await soon(asyncio.gather(*calls[:2], user))
    assert isinstance(error, BulkheadFullError)
    assert "a call of higher priority took its place in the queue" in str(error)
    assert [request.path for request in server.requests] == ["/0", "/user", "/1"]


async def test_unknown_priority_refused(server: FaultServer) -> None:
    """An unknown priority is an invalid argument."""
    async with client(server) as api:
        with pytest.raises(InvalidRequestError, match="priority is 'urgent'; give 'user', 'batch' or 'probe'"):
            await api.get("/", priority="urgent")
    assert server.hits == 0


async def test_cancelled_waiter_passes_permit_on(server: FaultServer) -> None:
    """The permit is neither lost nor kept: the next in the queue has it."""
    held = hold()
    server.script(held, reply())
    async with client(server, bulkhead=Bulkhead(max_concurrent=1, max_queue=2)) as api:
        first, second, third = (asyncio.create_task(api.get(f"/{number}")) for number in range(3))
        await soon(server.wait_for_hits(1))
        # The first gives its permit back before it tells of its end, and the second has not run since.
        end = api.subscribe(lambda event: isinstance(event, AttemptFinished) and second.cancel())
        held.release()
        assert (await soon(first)).status == 200
        end()
        assert (await soon(third)).status == 200
        await cancelled([second])
        assert second.cancelled()
        assert permits_of(api).idle
    assert [request.path for request in server.requests] == ["/0", "/2"]


# --- how long one waits ---


def refused_after(**settings: object) -> tuple[float, BulkheadFullError]:
    """Return after how long, and how, a call is refused that waits for the only permit."""

    async def main() -> tuple[float, BulkheadFullError]:
        upstream = MockUpstream()
        upstream.script(mock_reply(delay=1e6))
        bulkhead = Bulkhead(max_concurrent=1, max_queue=1, max_wait=settings.pop("max_wait", None))
        async with APIClient(URL, transport=upstream, bulkhead=bulkhead, retry=None) as api:
            busy = asyncio.create_task(api.get("/", timeout=None))
            await upstream.wait_for_hits(1)
            with pytest.raises(BulkheadFullError) as caught:
                await api.get("/", **settings)
            assert permits_of(api).waiting == 0
            await cancelled([busy])
            return caught.value.elapsed, caught.value

    return run_virtual(main())


def test_wait_ends_after_max_wait() -> None:
    """It says how long it waited."""
    elapsed, error = refused_after(max_wait=0.3)
    assert elapsed == pytest.approx(0.3)
    assert "no permit came free in 0.3 s" in str(error)


@pytest.mark.parametrize(
    ("timeout", "after"),
    [(Timeout(total=30, attempt=10), 5), (Timeout(total=4), 2), (Timeout(total=30, attempt=None), 15)],
)
@pytest.mark.parametrize("max_wait", [None, 25.0])
def test_wait_is_half_of_attempt_at_most(timeout: Timeout, after: float, max_wait: float | None) -> None:
    """A call that gets a permit still has time to use it, within what the deadline leaves."""
    assert refused_after(timeout=timeout, max_wait=max_wait)[0] == pytest.approx(after)


def test_wait_counts_against_attempt() -> None:
    """One timer covers queue and wire: what was waited away is gone."""

    async def main() -> float:
        upstream = MockUpstream()
        upstream.script(mock_reply(delay=4.0), mock_reply(delay=100.0))
        bulkhead = Bulkhead(max_concurrent=1, max_queue=1)
        async with APIClient(URL, transport=upstream, bulkhead=bulkhead, retry=None) as api:
            first = asyncio.create_task(api.get("/"))
            await upstream.wait_for_hits(1)
            with pytest.raises(APITimeoutError) as caught:
                await api.get("/", timeout=Timeout(attempt=10))
            await first
        return caught.value.elapsed

    assert run_virtual(main()) == pytest.approx(10.0)


async def test_wait_is_not_blamed_on_host(server: FaultServer) -> None:
    """However many are refused or give up waiting, the circuit hears of none."""
    held = hold()
    server.script(held)
    breaker = CircuitBreaker(minimum_calls=1, failure_ratio=0.1)
    bulkhead = Bulkhead(max_concurrent=1, max_queue=5, max_wait=0.01)
    async with client(server, bulkhead=bulkhead, circuit_breaker=breaker) as api:
        first = asyncio.create_task(api.get("/"))
        await soon(server.wait_for_hits(1))
        outcomes = await soon(api.gather([Call.get("/") for _ in range(9)]))
        held.release()
        await soon(first)
        assert {failed.kind for failed in outcomes.failures} == {ErrorKind.REJECTED}
        (circuit,) = api.circuits.values()
        assert circuit.state is CircuitState.CLOSED
        assert circuit.failure_ratio(asyncio.get_running_loop().time()) == 0


async def test_refusal_is_not_retried(server: FaultServer) -> None:
    """The queue is full, and a retry a moment later would only make it fuller."""
    held = hold()
    server.script(held)
    async with APIClient(server.url, retry=Retry(max_attempts=5), bulkhead=Bulkhead(max_concurrent=1)) as api:
        first = asyncio.create_task(api.get("/"))
        await soon(server.wait_for_hits(1))
        error = await failure(api.get("/"))
        held.release()
        await soon(first)
    assert (error.attempts, server.hits) == (0, 1)


async def test_refused_retry_raises_previous_failure(server: FaultServer) -> None:
    """The upstream's failure is more useful than the refusal, which is its context."""
    held = hold()
    server.route("GET", "/fails", reply(500))
    server.route("GET", "/busy", held)
    retry = Retry(max_attempts=2, backoff=lambda _: 0.1)
    async with APIClient(server.url, retry=retry, bulkhead=Bulkhead(max_concurrent=1)) as api:
        failing = asyncio.create_task(api.get("/fails"))
        await soon(server.wait_for_hits(1))
        while (api.bulkheads and permits_of(api).in_use) or server.active:  # until it pauses
            await asyncio.sleep(0)
        busy = asyncio.create_task(api.get("/busy"))
        await soon(server.wait_for_hits(2))
        error = await failure(failing)
        held.release()
        await soon(busy)
    assert isinstance(error, InternalServerError)
    assert (error.attempts, server.hits) == (1, 2)
    assert "not retried further: the bulkhead is full" in str(error)
    assert "nothing was sent" not in str(error)
