"""Waiting for a connection is a stage of its own, and every slot is released."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.behaviour.support import TIME_LIMIT, cancelled, client, failure, in_use, soon, turns

from resilient_client import (
    APIClient,
    APIError,
    APITimeoutError,
    Call,
    ConnectionSettings,
    ErrorKind,
    Retry,
    Stage,
    Timeout,
)
from resilient_client.events import RetryScheduled
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer, black_hole, refused_url
from resilient_client.testing._wire import Fault

pytestmark = pytest.mark.usefixtures("both_paths")

ONE = ConnectionSettings(pool_size=1)

FAULTS: list[Fault] = [
    faults.reply(200, body=b"x" * 300_000),
    faults.reply(204),
    faults.reply(500),
    faults.reply(503, body=b"x" * 300_000),
    faults.reply(200, keep_alive=False),
    faults.redirect("http://elsewhere.example/"),
    faults.endless_redirect(),
    faults.drop(),
    faults.reset(),
    faults.close_idle("reply"),
    faults.close_idle("request"),
    faults.hang_before_headers(),
    faults.hang_in_headers(),
    faults.hang_in_body(),
    faults.drip(),
    faults.truncate(),
    faults.truncate_chunked(),
    faults.reset_body(),
    faults.garbage(),
    faults.wrong_length(),
    faults.bad_chunk(),
    faults.oversized_headers(),
    faults.many_headers(),
    faults.endless_headers(),
    faults.endless_informational(),
    faults.endless_body(),
    faults.truncated_coding("gzip"),
    faults.truncated_coding("deflate"),
    faults.corrupt_gzip(),
    faults.bomb(8 << 20),
]


@pytest.fixture
async def one(server: FaultServer) -> AsyncIterator[APIClient]:
    """A client with one slot and 100 ms per attempt: a test that needs a reply gives a longer limit."""
    limits = ConnectionSettings(pool_size=1, max_response_size=1 << 20)
    async with client(server, connection=limits, timeout=Timeout(total=60, attempt=0.1)) as api:
        yield api


@pytest.mark.virtual_time
async def test_long_wait_is_a_pool_timeout(server: FaultServer, one: APIClient) -> None:
    """The error says that the local pool was full and that nothing was sent."""
    held = faults.hold()
    server.script(held)
    slow = asyncio.create_task(one.get("/slow", timeout=Timeout(attempt=5)))
    await soon(server.wait_for_hits(1))
    error = await failure(one.post("/", json={}))
    assert isinstance(error, APITimeoutError)
    assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.POOL, Stage.POOL, False)
    assert server.hits == 1
    held.release()
    await soon(slow)


async def test_wait_is_shown_in_timings(server: FaultServer) -> None:
    """A caller can see that it was the pool that took the time."""
    held = faults.hold()
    server.route("GET", "/slow", held)
    async with client(server, connection=ONE) as api:
        slow = asyncio.create_task(api.get("/slow"))
        await soon(server.wait_for_hits(1))
        waiting = asyncio.create_task(api.get("/"))
        await turns()
        held.release()
        timings = (await soon(waiting)).timings
    assert timings.pool is not None
    assert timings.pool > 0
    assert (await slow).timings.pool < timings.pool


@pytest.mark.virtual_time
async def test_pool_timeout_is_retried_for_post(server: FaultServer) -> None:
    """What was never sent is repeated as soon as there is a slot, a POST too."""
    held = faults.hold()
    server.route("GET", "/slow", held)
    retry = Retry(max_attempts=50, backoff={"kind": "fixed", "initial": 0.001})
    timeout = Timeout(total=5, attempt=0.2)
    repeated = asyncio.Event()
    async with APIClient(server.url, retry=retry, retry_budget=None, connection=ONE) as api:
        api.subscribe(lambda event: repeated.set() if isinstance(event, RetryScheduled) else None)
        slow = asyncio.create_task(api.get("/slow"))
        await soon(server.wait_for_hits(1))
        posting = asyncio.create_task(api.post("/", json={}, timeout=timeout))
        await soon(repeated.wait())
        held.release()
        response = await soon(posting)
        await slow
    assert response.attempts > 1
    assert [request.method for request in server.requests] == ["GET", "POST"]


async def test_pool_serves_in_order_of_calls(server: FaultServer) -> None:
    """First come, first served, on the wire."""
    async with client(server, connection=ONE) as api:
        await soon(asyncio.gather(*(api.get(f"/{number}") for number in range(30))))
    assert [request.path for request in server.requests] == [f"/{number}" for number in range(30)]


@pytest.mark.parametrize(
    "limits", [ConnectionSettings(pool_size=7), ConnectionSettings(pool_size_per_host=7)], ids=["all", "per host"]
)
@pytest.mark.virtual_time
async def test_pool_limit_bounds_requests(server: FaultServer, limits: ConnectionSettings) -> None:
    """50 callers share 7 slots: at most 7 requests are at the server, and all are served."""
    server.script(faults.reply(200, delay=0.005))
    async with client(server, connection=limits) as api:
        await soon(asyncio.gather(*(api.get("/") for _ in range(50))))
    assert (server.peak, server.hits) == (7, 50)


async def test_pool_without_limit(server: FaultServer) -> None:
    """Negative control: with 0 all 50 requests are at the server at once."""
    held = faults.hold()
    server.script(held)
    async with client(server, connection=ConnectionSettings(pool_size=0)) as api:
        calls = [asyncio.create_task(api.get("/")) for _ in range(50)]
        await soon(server.wait_for_hits(50))
        held.release()
        await soon(asyncio.gather(*calls))
    assert server.peak == 50


async def test_pool_limit_per_host(server: FaultServer) -> None:
    """A host that takes its time does not keep callers of another one waiting."""
    server.script(faults.hang_before_headers())
    limits = ConnectionSettings(pool_size=10, pool_size_per_host=1)
    async with FaultServer() as quick, APIClient(retry=None, connection=limits) as api:
        stuck = [asyncio.create_task(api.get(server.url)) for _ in range(5)]
        await soon(server.wait_for_hits(1))
        await soon(api.get(quick.url))
        await cancelled(stuck)
        assert in_use(api) == 0
    assert (server.hits, quick.hits) == (1, 1)


async def test_random_cancellation_loses_no_slot(server: FaultServer) -> None:
    """1,000 callers share 10 slots, a third is cancelled at random, and all others are served."""
    rng = random.Random(11)
    async with client(server, connection=ConnectionSettings(pool_size=10)) as api:
        calls = [asyncio.create_task(api.get("/")) for _ in range(1000)]
        chosen = set(rng.sample(calls, 333))
        for call in chosen:
            if rng.random() < 0.3:
                await asyncio.sleep(0)
            call.cancel()
        results = await soon(asyncio.gather(*calls, return_exceptions=True))
        assert in_use(api) == 0
    lost = [
        result
        for call, result in zip(calls, results, strict=True)
        if call not in chosen and isinstance(result, BaseException)
    ]
    assert lost == []
    assert server.peak <= 10


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
async def test_slot_returns_after_fault(server: FaultServer, one: APIClient, fault: Fault) -> None:
    """After any fault, twice on the only slot, the next call is served."""
    server.script(fault, fault, faults.reply(200))
    for _ in range(2):
        try:
            await soon(one.get("/"))
        except APIError:
            pass
        assert in_use(one) == 0
    server.script(faults.reply(200))
    assert (
        await soon(one.get("/", retry=Retry(max_attempts=2), timeout=Timeout(attempt=TIME_LIMIT, total=None)))
    ).status == 200


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
async def test_slot_returns_after_fault_of_stream(server: FaultServer, one: APIClient, fault: Fault) -> None:
    """The same, where the body is left to the caller."""
    server.script(fault)
    try:
        async with asyncio.timeout(0.3), one.stream("GET", "/") as reply:
            async for _ in reply.iter_bytes():
                pass
    except (APIError, TimeoutError):
        pass
    assert in_use(one) == 0


@pytest.mark.parametrize("connects", [True, False])
@pytest.mark.virtual_time
async def test_slot_returns_after_connect_timeout(one: APIClient, connects: bool) -> None:
    """Silence during or after connecting releases the slot at the timeout."""
    with black_hole(connects=connects) as url:
        async with client(url, connection=ONE, timeout=Timeout(total=1, attempt=0.2)) as api:
            await failure(api.get("/"))
            assert in_use(api) == 0


async def test_slot_returns_after_refused_port() -> None:
    """A refused connection releases the slot."""
    async with client(refused_url(), connection=ONE) as api:
        assert (await failure(api.get("/"))).kind is ErrorKind.CONNECT
        assert in_use(api) == 0


async def test_slot_returns_after_cancellation(server: FaultServer, one: APIClient) -> None:
    """Cancelled while the server is silent."""
    server.script(faults.hang_before_headers())
    call = asyncio.create_task(one.get("/", timeout=Timeout(attempt=5)))
    await soon(server.wait_for_hits(1))
    await cancelled([call])
    assert in_use(one) == 0


async def test_slot_is_held_while_stream_is_read(server: FaultServer) -> None:
    """A stream holds its slot until its end, even if its block goes on."""
    server.script(faults.reply(200, body=b"x" * 1000))
    async with client(server, connection=ONE) as api, api.stream("GET", "/") as reply:
        assert in_use(api) == 1
        await reply.read()
        assert in_use(api) == 0
        await soon(api.get("/"))


async def test_slot_returns_after_leaving_stream(server: FaultServer) -> None:
    """The connection of an abandoned endless body is closed."""
    server.script(faults.endless_body(), faults.reply(200))
    async with client(server, connection=ONE) as api:
        async with api.stream("GET", "/") as reply:
            async for _ in reply.iter_bytes():
                break
        assert in_use(api) == 0
        await soon(api.get("/"))
    assert server.connections == 2


@pytest.mark.virtual_time
async def test_pool_of_callers_session(server: FaultServer) -> None:
    """With a caller's session the limits of its connector count, and a wait for it is still known as one."""
    held = faults.hold()
    server.script(held)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
        client(server, session=session, timeout=Timeout(total=5, attempt=0.2)) as api,
    ):
        slow = asyncio.create_task(api.get("/", timeout=Timeout(attempt=5)))
        await soon(server.wait_for_hits(1))
        assert (await failure(api.get("/"))).kind is ErrorKind.POOL
        held.release()
        await soon(slow)


async def test_pool_is_shared_by_fan_out(server: FaultServer) -> None:
    """More workers than slots wait for each other, and no call fails."""
    async with client(server, connection=ConnectionSettings(pool_size=3)) as api:
        result = await soon(api.gather([Call.get(f"/{n}") for n in range(60)], concurrency=30))
    assert len(result.values) == 60
    assert server.peak <= 3
