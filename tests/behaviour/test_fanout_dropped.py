"""The rule of the fan-out that stops early: it has what it wants, or failed; the rest is dropped and labelled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.behaviour.support import Lasting, calls, client, in_use, lasting, soon

from resilient_client import (
    APIClient,
    Backoff,
    Call,
    CallCancelledError,
    ConnectionSettings,
    DeadlineExceededError,
    ErrorKind,
    Failure,
    GatherResult,
    InvalidRequestError,
    NotFoundError,
    Outcome,
    Response,
    Retry,
    Stage,
    Success,
    gather,
)
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._virtual_time import run_virtual


def kinds(result: GatherResult[Any]) -> list[str]:
    """What each call came to, in order."""
    return ["ok" if outcome.ok else str(outcome.kind) for outcome in result if isinstance(outcome, Success | Failure)]


# --- successes ---


async def test_one_success_drops_the_others(server: FaultServer, api: APIClient) -> None:
    """The fastest of three wins; those in flight are cancelled and awaited, and hold nothing."""
    server.script(faults.hang_before_headers())
    server.route("GET", "/1", faults.reply(200, body=b"first"))
    result = await soon(api.gather(calls(3), successes=1))
    assert [value.content for value in result.values] == [b"first"]
    assert kinds(result) == ["cancelled", "ok", "cancelled"]
    assert in_use(api) == 0


async def test_quorum_waits_for_that_many(server: FaultServer, api: APIClient) -> None:
    """Two of five, whichever they are."""
    server.script(faults.hang_before_headers())
    for number in (1, 4):
        server.route("GET", f"/{number}", faults.reply(200, delay=number / 100))
    result = await soon(api.gather(calls(5), successes=2))
    assert kinds(result) == ["cancelled", "ok", "cancelled", "cancelled", "ok"]


def test_without_successes_waits_for_all() -> None:
    """Negative control: the slow one is waited for."""

    async def both() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        await gather(lasting(1, 5), client=Lasting(), successes=1)
        first = loop.time()
        await gather(lasting(1, 5), client=Lasting())
        return first, loop.time() - first

    assert run_virtual(both()) == (1, 5)


async def test_success_labels_unstarted_calls(server: FaultServer, api: APIClient) -> None:
    """The rest of a list is labelled as never made: no attempt, nothing sent."""
    result = await soon(api.gather(calls(10), concurrency=1, successes=1))
    assert kinds(result) == ["ok"] + ["cancelled"] * 9
    assert {(failed.dropped, failed.attempts, failed.error.maybe_processed) for failed in result.failures} == {
        (True, 0, False)
    }
    assert [failed.key for failed in result.failures] == list(range(1, 10))
    assert server.hits == 1


async def test_success_stops_drawing_calls(api: APIClient) -> None:
    """An endless one is left alone, and ends the fan-out no later."""
    drawn = 0

    def endless() -> Iterator[Call[Response]]:
        nonlocal drawn
        while True:
            drawn += 1
            yield Call.get("/")

    result = await soon(api.gather(endless(), concurrency=3, successes=1))
    assert len(result) == drawn <= 3
    assert len(result.values) >= 1


async def test_unreachable_quorum_gives_all(server: FaultServer, api: APIClient) -> None:
    """Three wanted, one of three fails: the others are made to their end, and the failure is raised for."""
    server.route("GET", "/0", faults.reply(404))
    result = await soon(api.gather(calls(3), concurrency=1, successes=3))
    assert kinds(result) == ["client_error", "ok", "ok"]
    assert not result.ok
    with pytest.raises(ExceptionGroup, match=r"2 of 3 calls succeeded \(3 wanted\)") as caught:
        result.raise_for_failures()
    assert [type(error) for error in caught.value.exceptions] == [NotFoundError]


async def test_quorum_reached_raises_nothing(server: FaultServer, api: APIClient) -> None:
    """What failed on the way to the success that was asked for is there to be seen, and no failure of the whole."""
    server.route("GET", "/0", faults.reply(404))
    result = await soon(api.gather(calls(3), concurrency=1, successes=1))
    assert kinds(result) == ["client_error", "ok", "cancelled"]
    assert result.ok
    result.raise_for_failures()


@pytest.mark.parametrize("successes", [0, -1, 4, True, 1.5, "1"], ids=repr)
async def test_invalid_successes_refused(server: FaultServer, api: APIClient, successes: Any) -> None:
    """Before anything is sent; more than there are calls, too."""
    with pytest.raises(InvalidRequestError, match=f"successes is {successes!r}"):
        await api.gather(calls(3), successes=successes)
    assert server.hits == 0


# --- stop_on_failure ---


async def test_stop_on_failure_drops_the_others(server: FaultServer, api: APIClient) -> None:
    """The first failure ends it; the group holds that failure, and none of the calls that were only dropped."""
    held = faults.hold(faults.reply(404))
    server.script(faults.hang_before_headers())
    server.route("GET", "/1", held)
    gathering = asyncio.create_task(api.gather(calls(8), concurrency=3, stop_on_failure=True))
    await soon(server.wait_for_hits(3))
    held.release()
    result = await soon(gathering)
    assert kinds(result) == ["cancelled", "client_error", *["cancelled"] * 6]
    with pytest.raises(ExceptionGroup) as caught:
        result.raise_for_failures()
    assert [type(error) for error in caught.value.exceptions] == [NotFoundError]
    assert (server.hits, in_use(api)) == (3, 0)


async def test_stop_on_failure_without_failures(server: FaultServer, api: APIClient) -> None:
    """Nothing is dropped for nothing."""
    result = await soon(api.gather(calls(8), stop_on_failure=True))
    assert (len(result.values), server.hits) == (8, 8)


def test_stop_on_failure_past_deadline() -> None:
    """The failure at the deadline is everybody's: what is left was not dropped, it ran out of time."""
    result = run_virtual(gather(lasting(9, 9, 9, 9), client=Lasting(), concurrency=2, timeout=1, stop_on_failure=True))
    assert kinds(result) == ["deadline"] * 4


# --- the truth about what was dropped ---


async def test_dropped_call_that_was_sent_says_so(server: FaultServer, api: APIClient) -> None:
    """It knows its request, its attempt, and that the server may have acted."""
    held = faults.hold(faults.reply(404))
    server.script(faults.hang_before_headers())
    server.route("GET", "/1", held)
    gathering = asyncio.create_task(api.gather(calls(2), stop_on_failure=True))
    await soon(server.wait_for_hits(2))
    held.release()
    result = await soon(gathering)
    match result[0]:
        case Failure(error=CallCancelledError() as error):
            assert (error.dropped, error.maybe_processed, error.stage) == (True, True, Stage.HEADERS)
            assert (error.attempts, len(error.history), error.history[0].kind) == (1, 1, ErrorKind.CANCELLED)
            assert error.request is not None
            assert error.request.url == f"{server.url}/0"
            assert str(error) == "GET /0: dropped, because another call of the fan-out failed (stop_on_failure)"
        case other:
            pytest.fail(f"{other} is no dropped call")


async def test_dropped_in_pool_is_not_processed(server: FaultServer) -> None:
    """It was begun, and had no place in the pool yet."""
    held = faults.hold(faults.reply(404))
    server.script(held)
    async with client(server, connection=ConnectionSettings(pool_size=1)) as api:
        gathering = asyncio.create_task(api.gather(calls(2), stop_on_failure=True))
        await soon(server.wait_for_hits(1))
        held.release()
        result = await soon(gathering)
    assert kinds(result) == ["client_error", "cancelled"]
    assert (result.failures[1].error.maybe_processed, result.failures[1].error.stage) == (False, Stage.POOL)
    assert server.hits == 1


async def test_dropped_in_backoff_maybe_processed(server: FaultServer) -> None:
    """An earlier attempt of it was sent."""
    held = faults.hold(faults.reply(200))
    server.route("GET", "/0", faults.drop())
    server.route("GET", "/1", held)
    pause = Retry(max_attempts=2, backoff=Backoff(kind="fixed", initial=5))
    async with client(server, retry=pause) as api:
        retried = asyncio.Event()
        api.subscribe(lambda event: retried.set() if type(event).__name__ == "RetryScheduled" else None)
        gathering = asyncio.create_task(api.gather(calls(2), successes=1))
        await soon(retried.wait())
        held.release()
        result = await soon(gathering)
    assert kinds(result) == ["cancelled", "ok"]
    assert (result.failures[0].error.maybe_processed, len(result.failures[0].history)) == (True, 1)


def test_dropped_unannotated_maybe_processed() -> None:
    """What is not known is not claimed."""
    result = run_virtual(gather(lasting(1, 9), client=Lasting(), successes=1))
    assert (result.failures[0].dropped, result.failures[0].error.maybe_processed) == (True, True)


async def test_dropped_calls_do_not_count(server: FaultServer, api: APIClient) -> None:
    """The upstream is not blamed for what we dropped."""
    server.script(faults.hang_before_headers())
    server.route("GET", "/19", faults.reply(200))
    await soon(api.gather(calls(20), successes=1))
    (circuit,) = api.circuits.values()
    assert circuit.failure_ratio(asyncio.get_running_loop().time()) == 0


class Stubborn(Lasting):
    """A runner that keeps cancellations to itself."""

    async def run(self, call: Call[Any]) -> Outcome[Any]:
        try:
            return await super().run(call)
        except asyncio.CancelledError:
            return Success("late", key=call.key)


def test_swallowed_cancel_ends_fan_out() -> None:
    """The caller has gone: no further call is made, and the cancellation comes out."""

    async def scenario() -> float:
        gathering = asyncio.create_task(gather(lasting(9, 9, 9, 9), client=Stubborn(), concurrency=2))
        await asyncio.sleep(1)
        gathering.cancel()
        await asyncio.wait([gathering])
        assert gathering.cancelled()
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario()) == 1


def test_swallowed_cancel_keeps_outcome() -> None:
    """A runner that finishes all the same is believed, and its worker is as good as before."""
    result = run_virtual(gather(lasting(1, 9, 2), client=Stubborn(), concurrency=2, successes=1))
    assert [getattr(outcome, "value", None) for outcome in result] == [1, "late", None]
    assert result[2].key == 2


# --- runners that heed no deadline ---


def test_deadline_ends_stubborn_calls() -> None:
    """A client ends its calls by itself; what does not is cancelled by the fan-out, and all are labelled."""

    async def timed() -> tuple[GatherResult[Any], float]:
        result = await gather(lasting(1, 99, 99, 99), client=Lasting(), concurrency=2, timeout=3)
        return result, asyncio.get_running_loop().time()

    result, took = run_virtual(timed())
    assert kinds(result) == ["ok", "deadline", "deadline", "deadline"]
    assert [failed.error.maybe_processed for failed in result.failures] == [True, True, False]
    assert all(isinstance(failed.error, DeadlineExceededError) for failed in result.failures)
    assert took == pytest.approx(3.05)
