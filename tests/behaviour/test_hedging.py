"""Hedging on real sockets in virtual time: the server counts what was sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.behaviour.support import failure, soon, turns

from resilient_client import (
    APIClient,
    APIStatusError,
    Backoff,
    Bulkhead,
    ConnectionSettings,
    ErrorKind,
    Handler,
    Hedging,
    Request,
    Response,
    Retry,
)
from resilient_client.events import Event, HedgeStarted
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import Hold, drop, hold, reply

pytestmark = pytest.mark.virtual_time

SOON = Hedging(delay=0.02)
ONCE = Retry(max_attempts=1)
GOOD = reply(json={"from": "the hedge"})


def hedging(server: FaultServer, **options: Any) -> APIClient:
    """A client that hedges soon, and repeats nothing else."""
    return APIClient(server.url, **({"retry": ONCE, "hedging": SOON} | options))


# --- when there is one ---


async def test_slow_first_attempt_is_hedged(server: FaultServer) -> None:
    """Two requests are on the wire, the second answers, and the call is done while the first still hangs."""
    server.script(slow := hold(), GOOD)
    async with hedging(server) as api:
        response = await soon(api.get("/"))
        assert response.json() == {"from": "the hedge"}
        assert (server.hits, response.attempts) == (2, 2)
    slow.release()


async def test_without_hedging_call_waits(server: FaultServer) -> None:
    """Negative control: the same upstream keeps an unhedged caller waiting, and sees one request."""
    server.script(slow := hold(), GOOD)
    async with hedging(server, hedging=None) as api:
        call = asyncio.create_task(api.get("/"))
        await asyncio.wait([call], timeout=0.1)
        assert (call.done(), server.hits) == (False, 1)
        slow.release()
        await soon(call)


async def test_quick_reply_is_not_hedged(server: FaultServer) -> None:
    """What answers before the delay is over is asked once."""
    server.script(reply())
    async with hedging(server, hedging=Hedging(delay=0.5)) as api:
        for _ in range(20):
            assert (await api.get("/")).attempts == 1
        assert server.hits == 20


async def test_unknown_percentile_hedges_nothing(server: FaultServer) -> None:
    """Before enough is learnt, a percentile hedges nothing, however slow the reply."""
    server.script(slow := hold())
    async with hedging(server, hedging=Hedging()) as api:
        call = asyncio.create_task(api.get("/"))
        await asyncio.wait([call], timeout=0.1)
        assert server.hits == 1
        slow.release()
        await soon(call)


async def test_percentile_is_learnt_per_route(server: FaultServer) -> None:
    """A route with a hundred fast calls is hedged, and one that was never called is not."""
    server.script(reply())
    async with hedging(server, hedging=Hedging(delay="p95")) as api:
        for _ in range(120):
            await api.get("/known")
        before = server.hits
        server.script(slow := hold(), reply())
        assert (await soon(api.get("/known"))).attempts == 2
        assert server.hits == before + 2
        server.script(strange := hold())
        call = asyncio.create_task(api.get("/unknown"))
        await asyncio.wait([call], timeout=0.1)
        assert server.hits == before + 3
        slow.release()
        strange.release()
        await soon(call)


async def test_max_hedges_bounds_hedges(server: FaultServer) -> None:
    """With ``max_hedges=2`` two more are sent, one delay after the other, and not a third."""
    server.script(slow := hold())
    async with hedging(server, hedging=Hedging(delay=0.01, max_hedges=2)) as api:
        call = asyncio.create_task(api.get("/"))
        await soon(server.wait_for_hits(3))
        await asyncio.wait([call], timeout=0.05)
        assert server.hits == 3
        slow.release()
        assert (await soon(call)).attempts == 3


# --- what may be hedged ---


async def test_post_without_key_is_not_hedged(server: FaultServer) -> None:
    """A POST is sent once. With an idempotency key it is hedged, with the same key."""
    server.script(slow := hold())
    async with hedging(server) as api:
        call = asyncio.create_task(api.post("/", json={}))
        await soon(server.wait_for_hits(1))
        await asyncio.wait([call], timeout=0.08)
        assert server.hits == 1
        keyed = asyncio.create_task(api.post("/", json={}, idempotency_key="auto"))
        await soon(server.wait_for_hits(3))
        slow.release()
        await soon(asyncio.gather(call, keyed))
        assert server.hits == 3
        keys = [request.headers.get("Idempotency-Key") for request in server.requests]
        assert keys[0] is None
        assert keys[1] == keys[2] is not None


async def test_shared_file_is_not_hedged(server: FaultServer, tmp_path: Any) -> None:
    """A file has one position: two attempts at once would each send a part of it. A path is opened by each."""
    path = tmp_path / "body"
    path.write_bytes(b"whole")
    server.script(slow := hold())
    async with hedging(server) as api:
        with path.open("rb") as file:
            shared = asyncio.create_task(api.put("/", content=file))
            await soon(server.wait_for_hits(1))
            await asyncio.wait([shared], timeout=0.08)
            assert server.hits == 1
            opened = asyncio.create_task(api.put("/", content=path))
            await soon(server.wait_for_hits(3))
            slow.release()
            await soon(asyncio.gather(shared, opened))
        assert [request.body for request in server.requests] == [b"whole"] * 3


@pytest.mark.parametrize("options", [{"hedging": None}, {"retry": None}])
async def test_hedging_off_for_one_call(server: FaultServer, options: dict[str, Any]) -> None:
    """``hedging=None`` does, and ``retry=None``, which means exactly one wire request."""
    server.script(slow := hold())
    async with hedging(server) as api:
        call = asyncio.create_task(api.get("/", **options))
        await soon(server.wait_for_hits(1))
        await asyncio.wait([call], timeout=0.08)
        assert server.hits == 1
        slow.release()
        await soon(call)


async def test_hedging_on_for_call_or_view(server: FaultServer) -> None:
    """A client without hedging makes hedged calls all the same, where they ask for it."""
    async with hedging(server, hedging=None) as api:
        for call in (lambda: api.get("/", hedging=SOON), lambda: api.with_options(hedging=SOON).get("/")):
            server.script(slow := hold(), GOOD)
            assert (await soon(call())).attempts == 2
            slow.release()


async def test_stream_is_not_hedged(server: FaultServer) -> None:
    """A body that is left to the caller cannot be raced."""
    server.script(slow := hold(reply(body=b"abc")))
    async with hedging(server) as api:

        async def read() -> bytes:
            async with api.stream("GET", "/") as stream:
                return await stream.read()

        call = asyncio.create_task(read())
        await soon(server.wait_for_hits(1))
        await asyncio.wait([call], timeout=0.08)
        assert server.hits == 1
        slow.release()
        assert await soon(call) == b"abc"


@pytest.mark.parametrize(
    "ours",
    [{"connection": ConnectionSettings(pool_size=1)}, {"bulkhead": Bulkhead(max_concurrent=1, max_queue=5)}],
    ids=["connection", "permit"],
)
async def test_local_wait_is_not_hedged(server: FaultServer, ours: dict[str, Any]) -> None:
    """It is our own side that is slow: a hedge would stand behind the attempt it is meant to overtake."""
    server.script(slow := hold())
    async with hedging(server, **ours) as api:
        holds = asyncio.create_task(api.get("/", hedging=None))
        await soon(server.wait_for_hits(1))
        started: list[Event] = []
        api.subscribe(lambda event: started.append(event) if isinstance(event, HedgeStarted) else None)
        waits = asyncio.create_task(api.get("/"))
        await asyncio.wait([waits], timeout=0.08)
        assert started == []
        slow.release()
        await soon(asyncio.gather(holds, waits))


async def test_hedge_goes_to_another_endpoint(server: FaultServer) -> None:
    """With several endpoints the hedge does not ask the slow one again, and the answer is the other's."""
    async with FaultServer() as other:
        server.script(slow := hold())
        other.script(slow_too := hold())
        async with APIClient([server.url, other.url], retry=ONCE, hedging=SOON) as api:
            call = asyncio.create_task(api.get("/"))
            await soon(asyncio.gather(server.wait_for_hits(1), other.wait_for_hits(1)))
            slow_too.release()
            response = await soon(call)
            assert response.url.port == other.port
            assert (server.hits, other.hits, response.attempts) == (1, 1, 2)
            slow.release()


async def test_hedge_serves_coalesced_calls(server: FaultServer) -> None:
    """Coalesced calls share the race, too: two requests for five callers."""
    server.script(slow := hold(), GOOD)
    async with hedging(server, coalesce=True) as api:
        replies = await soon(asyncio.gather(*(api.get("/") for _ in range(5))))
        assert [response.json() for response in replies] == [{"from": "the hedge"}] * 5
        assert server.hits == 2
        slow.release()


# --- failures ---


@pytest.mark.parametrize("fault", [reply(503), drop()], ids=["503", "drop"])
async def test_failure_starts_hedge_at_once(server: FaultServer, fault: Any) -> None:
    """A failure is not waited for: the next attempt starts without the delay, and without the pause of a retry."""
    server.script(fault, GOOD)
    async with hedging(server, hedging=Hedging(delay=30.0)) as api:
        response = await soon(api.get("/"))
        assert response.json() == {"from": "the hedge"}
        assert (server.hits, response.attempts) == (2, 2)


@pytest.mark.parametrize(
    ("script", "early", "due"),
    [
        ([reply(503, delay=0.8), hold()], 1.7, 1.9),  # the second attempt starts at 0.8
        ([hold(), reply(503, delay=0.9), hold()], 2.8, 3.0),  # the hedge starts at 1, and the third attempt at 1.9
    ],
    ids=["first fails", "hedge fails"],
)
async def test_delay_counts_from_the_latest_attempt(
    server: FaultServer, script: list[Any], early: float, due: float
) -> None:
    """An attempt that replaces a failed one may take as long as any other before a hedge of its own starts."""
    server.script(*script)
    async with hedging(server, hedging=Hedging(delay=1, max_hedges=5)) as api:
        call = asyncio.create_task(api.get("/"))
        await asyncio.wait([call], timeout=early)
        assert server.hits == len(script)
        await asyncio.wait([call], timeout=due - early)
        assert server.hits == len(script) + 1
        for fault in script:
            if isinstance(fault, Hold):
                fault.release()
        await soon(call)


async def test_failed_hedge_leaves_first_attempt(server: FaultServer) -> None:
    """The hedge fails with 503 at once, and the first attempt goes on to answer the call."""
    server.script(slow := hold(reply(json={"from": "the first"})), reply(503))
    async with hedging(server) as api:
        call = asyncio.create_task(api.get("/"))
        await soon(server.wait_for_hits(2))
        await turns()
        slow.release()
        assert (await soon(call)).json() == {"from": "the first"}
        assert server.hits == 2


async def test_failed_first_attempt_leaves_hedge(server: FaultServer) -> None:
    """The first is answered 503 while the hedge is on its way: the caller waits for the hedge."""
    server.script(first := hold(reply(503)), second := hold(GOOD))
    async with hedging(server) as api:
        call = asyncio.create_task(api.get("/"))
        await soon(server.wait_for_hits(2))
        first.release()
        await turns(50)
        second.release()
        response = await soon(call)
        assert response.json() == {"from": "the hedge"}
        assert [record.status for record in response.history] == [503, 200]


async def test_all_attempts_fail(server: FaultServer) -> None:
    """The error is that of the last failure, and its history has all attempts."""
    server.script(drop(), reply(503))
    async with hedging(server) as api:
        error = await failure(api.get("/"))
        assert isinstance(error, APIStatusError)
        assert (error.status, error.attempts, error.maybe_processed) == (503, 2, True)
        assert [record.kind for record in error.history] == [ErrorKind.DISCONNECTED, ErrorKind.SERVER_ERROR]


async def test_max_attempts_excludes_hedges(server: FaultServer) -> None:
    """Two steps of a first attempt and a hedge each: four requests, and ``attempts`` counts them all."""
    server.script(reply(500))
    quick = Retry(max_attempts=2, backoff=Backoff(kind="fixed", initial=0.001))
    async with hedging(server, retry=quick) as api:
        error = await failure(api.get("/"))
        assert (server.hits, error.attempts) == (4, 4)
        assert [record.number for record in error.history] == [1, 2, 3, 4]


async def test_bug_in_hedge_leaves_first_attempt(server: FaultServer) -> None:
    """A middleware that raises for the second attempt fails that attempt only."""

    async def raises_twice(request: Request, call_next: Handler) -> Response:
        if request.attempt.number == 2:
            raise ZeroDivisionError
        return await call_next(request)

    server.script(slow := hold(GOOD))
    async with hedging(server, attempt_middleware=[raises_twice]) as api:
        started = asyncio.Event()
        api.subscribe(lambda event: started.set() if isinstance(event, HedgeStarted) else None)
        call = asyncio.create_task(api.get("/"))
        await soon(started.wait())
        await turns()
        slow.release()
        assert (await soon(call)).status == 200
