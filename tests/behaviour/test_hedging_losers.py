"""Attempts that lose a hedged race end cleanly. The server sees their connections close."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from tests.behaviour.support import cancelled, failure, in_use, soon, turns, with_server

from resilient_client import APIClient, CircuitBreaker, ErrorKind, Handler, Hedging, Request, Response, Retry, Timeout
from resilient_client.events import AttemptFinished, AttemptStarted, Event, HedgeStarted
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import Step
from resilient_client.testing.faults import drop, hold, reply

SOON = Hedging(delay=0.02)
ONCE = Retry(max_attempts=1)
GOOD = reply(json={"from": "the hedge"})


def hedging(server: FaultServer, **options: Any) -> APIClient:
    """A client that hedges soon, and repeats nothing else."""
    return APIClient(server.url, **({"retry": ONCE, "hedging": SOON} | options))


# --- losers ---


@pytest.mark.parametrize("winner", [1, 2])
async def test_loser_is_cancelled_and_closed(server: FaultServer, winner: int) -> None:
    """When the call returns, its tasks have ended, its slots are free and its connection is closed."""
    first, second = hold(), hold()
    server.script(first, second)
    async with hedging(server) as api:
        before = asyncio.all_tasks()
        call = asyncio.create_task(api.get("/"))
        await soon(server.wait_for_hits(2))
        (first if winner == 1 else second).release()
        response = await soon(call)
        ours = {task for task in asyncio.all_tasks() - before if "FaultServer" not in repr(task.get_coro())}
        assert [task for task in ours if "_attempt" in repr(task.get_coro())] == []
        assert in_use(api) == 0
        lost = response.history[2 - winner]
        assert (lost.kind, lost.error) == (ErrorKind.CANCELLED, f"lost to attempt {winner}")
        assert lost.sent
        (second if winner == 1 else first).release()


async def test_loser_is_reported_as_finished(server: FaultServer) -> None:
    """Every attempt that was reported as started is reported as finished."""
    server.script(slow := hold(), GOOD)
    events: list[Event] = []
    async with hedging(server) as api:
        api.subscribe(events.append)
        await soon(api.get("/"))
        slow.release()
    started = [event.number for event in events if isinstance(event, AttemptStarted)]
    ended = sorted(event.record.number for event in events if isinstance(event, AttemptFinished))
    (hedge,) = [event for event in events if isinstance(event, HedgeStarted)]
    assert started == ended == [1, 2]
    assert hedge.waited >= 0.02
    assert "no answer after 0.02 s" in hedge.reason


async def test_loser_is_neutral_to_the_circuit(server: FaultServer) -> None:
    """A cancelled attempt proves nothing: ten hedged calls leave ten successes and no failure."""
    async with hedging(server, circuit_breaker=CircuitBreaker(minimum_calls=1), retry_budget=None) as api:
        for _ in range(10):
            server.script(slow := hold(), reply())
            await soon(api.get("/"))
            slow.release()
        (circuit,) = api.circuits.values()
        assert "0 of 10 attempts failed" in circuit.describe(asyncio.get_running_loop().time())


async def test_cancellation_ends_both_attempts(server: FaultServer) -> None:
    """It comes out as it is, and both attempts are gone with it."""
    server.script(slow := hold())
    async with hedging(server) as api:
        call = asyncio.create_task(api.get("/"))
        await soon(server.wait_for_hits(2))
        await cancelled([call])
        assert call.cancelled()
        assert in_use(api) == 0
        slow.release()


@pytest.mark.virtual_time
async def test_deadline_ends_both_attempts(server: FaultServer) -> None:
    """Neither answers: the deadline of the call ends them, and the task is as it was."""
    server.script(slow := hold())
    async with hedging(server, timeout=Timeout(total=0.15)) as api:
        error = await failure(api.get("/"))
        assert (error.kind, server.hits) == (ErrorKind.DEADLINE, 2)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert in_use(api) == 0
        slow.release()


async def test_winning_hedge_leaves_no_cancellation(server: FaultServer) -> None:
    """After a hundred races that hedges won, the caller's task has no cancellation pending."""
    async with hedging(server, hedging=Hedging(delay=0.001, max_extra_load=1.0), retry_budget=None) as api:
        for _ in range(100):
            server.script(slow := hold(), reply())
            await soon(api.get("/"))
            slow.release()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


# --- budgets and context ---


@pytest.mark.virtual_time
async def test_hedges_run_out_without_replies(server: FaultServer) -> None:
    """No answer deposits anything: after what the budgets held, each call is one request."""
    server.script(slow := hold())
    async with hedging(server, timeout=Timeout(total=0.3), circuit_breaker=None, retry_budget=None) as api:
        await asyncio.gather(*(failure(api.get("/")) for _ in range(50)))
        assert server.hits == 60
        slow.release()


def test_hedges_draw_from_the_retry_budget_too() -> None:
    """Five tokens at the start allow five hedges, however full the hedging budget is."""

    async def scenario(server: FaultServer) -> None:
        server.script(reply(delay=5))
        async with hedging(server) as api:
            await asyncio.gather(*(api.get("/") for _ in range(50)))
        assert server.hits == 55

    with_server(scenario)


@pytest.mark.virtual_time
async def test_hedge_copies_the_first_request(server: FaultServer) -> None:
    """Headers that a middleware adds to one attempt are not in the other."""

    async def adds(request: Request, call_next: Handler) -> Response:
        request.headers.add("X-Attempt", str(request.attempt.number))
        return await call_next(request)

    server.script(slow := hold(), reply())
    async with hedging(server, attempt_middleware=[adds]) as api:
        await soon(api.get("/"))
        assert [request.headers.getall("X-Attempt") for request in server.requests] == [["1"], ["2"]]
        slow.release()


async def garbage_of(api: APIClient) -> set[str]:
    """The types of what three failed calls leave to the garbage collector."""
    await failure(api.get("/"))
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            await failure(api.get("/"))
        await turns()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return {type(item).__name__ for item in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


OURS = {"Race", "Task", "traceback", "InternalServerError", "APIConnectionError", "CallContext", "Request", "Attempt"}


@pytest.mark.parametrize("delay", [30.0, 0.001], ids=["started by a failure", "started by the delay"])
async def test_failed_races_leave_no_garbage(server: FaultServer, delay: float) -> None:
    """Races, tasks and errors are freed by reference counting, without the garbage collector."""
    server.script(drop(), reply(500))
    async with hedging(server, circuit_breaker=None, hedging=Hedging(delay=delay)) as api:
        assert (await garbage_of(api)).isdisjoint(OURS)


@pytest.mark.parametrize("fault", [drop(), reply(500)], ids=["drop", "500"])
async def test_failed_calls_leave_no_garbage(server: FaultServer, fault: Step) -> None:
    """An error of a plain call, too, is freed with its last reference."""
    server.script(fault)
    async with APIClient(server.url, retry=None, circuit_breaker=None) as api:
        assert (await garbage_of(api)).isdisjoint(OURS)
