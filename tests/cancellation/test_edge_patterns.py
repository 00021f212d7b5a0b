"""Fallback and coalescing, struck at each suspension: of the call itself, of the flight, and of what stands in."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from tests.cancellation.support import Upstream, a_request, ended_by, watched_timeouts, world_of

from resilient_client import APIClient, APIError, APITimeoutError, Backoff, Call, Fallback, Retry
from resilient_client._core.response import Response
from resilient_client._core.single_flight import Flight
from resilient_client._middleware.attempt import AttemptMiddleware
from resilient_client._middleware.coalesce import CoalesceMiddleware
from resilient_client._middleware.compose import compose
from resilient_client._middleware.retry import RetryMiddleware
from resilient_client.testing._virtual_time import run_virtual
from resilient_client.testing.cancellation import CancellationError, World, sweep, sweep_cancellation, was_cancelled
from resilient_client.testing.faults import reply

RETRY = Retry(max_attempts=2, backoff=Backoff(kind="fixed", initial=0.005))
SLOW = reply(json=1, delay=0.002)


# --- the middleware, alone and in virtual time ---


def flights(*script: int, others: int) -> World:
    """A call that is swept; beside ``others`` that began the flight which it joins, if there are any."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Callable[[], Awaitable[object]]]:
        upstream, coalesce = Upstream(*script), CoalesceMiddleware()
        chain = compose((coalesce, RetryMiddleware(None), AttemptMiddleware()), upstream)
        client = a_request().context.client

        def call() -> Awaitable[Response]:
            request = a_request(RETRY)
            request.context.client = client
            return chain(request)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call()) for _ in range(others)]
            await asyncio.sleep(0)
            yield call
        assert [task.result().status for task in tasks] == [200] * others
        assert (upstream.active, coalesce._flights) == (0, {})
        assert upstream.begun == len(script) or not others
        upstream.script = [200]
        assert (await call()).status == 200

    return world


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("script", [(200,), (503, 200)], ids=str)
def test_coalesced_call_cancelled_anywhere_takes_the_flight_along_only_if_it_is_alone(
    script: tuple[int, ...], others: int
) -> None:
    """Alone, it leaves nothing; beside others, these have their answer from the one flight, which then is gone."""
    report = run_virtual(sweep_cancellation(flights(*script, others=others), patience=1.0))
    assert report.reached("CoalesceMiddleware.__call__")
    assert report.reached("Flight.wait")
    assert report.reached("AttemptMiddleware.__call__") is not bool(others)  # it is struck in its own flight, too


def test_flight_that_is_not_ended_by_its_last_waiter_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a flight that goes on for nobody is a task that is left."""

    async def never(_flight: Flight[object]) -> None:
        pass

    monkeypatch.setattr(Flight, "end", never)
    with pytest.raises(ExceptionGroup) as caught:
        run_virtual(sweep_cancellation(flights(200, others=0), patience=1.0))
    assert caught.group_contains(CancellationError, match="a task is left: .*fly")


# --- whole calls, over real sockets ---


def alone(**settings: object) -> World:
    return world_of(lambda api: lambda: api.get("/"), SLOW, coalesce=True, **settings)


def together(**settings: object) -> World:
    """Three at once, in tasks of the scenario."""

    async def three(api: APIClient) -> None:
        result = await api.gather([Call.get("/", response_model=int)] * 3)
        assert result.values == [1] * 3

    return world_of(lambda api: lambda: three(api), SLOW, coalesce=True, **settings)


async def from_elsewhere(_error: APIError) -> int:
    await asyncio.sleep(0.001)
    return 2


def falls_back_to_a_function(**settings: object) -> World:
    step = reply(503, delay=0.002)
    fallback = Fallback(from_elsewhere)
    return world_of(lambda api: lambda: api.get("/"), step, fallback=fallback, retry=None, faults=True, **settings)


def falls_back_to_a_call(**settings: object) -> World:
    fallback = Fallback(Call.get("/backup"))
    steps = reply(503, delay=0.002), SLOW
    return world_of(lambda api: lambda: api.get("/"), *steps, fallback=fallback, retry=None, faults=True, **settings)


CALLS = [alone, together, falls_back_to_a_function, falls_back_to_a_call]


@pytest.mark.parametrize("call", CALLS)
async def test_call_cancelled_anywhere_leaves_nothing_and_the_next_one_works(call: Callable[[], World]) -> None:
    """In the flight, in the fallback or between the two: the cancellation comes out, and nothing stays."""
    assert await sweep_cancellation(call())


async def test_fallback_is_struck_while_it_is_made() -> None:
    """The sweep does come by."""
    assert (await sweep_cancellation(falls_back_to_a_function())).reached("from_elsewhere")
    assert (await sweep_cancellation(falls_back_to_a_call())).reached("fall_back")


@pytest.mark.parametrize("call", [falls_back_to_a_function, falls_back_to_a_call])
async def test_call_whose_alarm_rings_in_its_fallback_fails_with_the_error_it_had(
    call: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own timer never comes out as a cancellation: the call ends with its error, or with the fallback."""
    with watched_timeouts(monkeypatch) as timeouts:
        await sweep(call(), strike=timeouts.fire, verdict=ended_by(APIError, or_well=True))
    assert timeouts.fired > 2


async def test_coalesced_call_whose_alarm_rings_anywhere_fails_with_our_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever timer strikes, the waiter's or the attempt's, its error comes out."""
    with watched_timeouts(monkeypatch) as timeouts:
        verdict = ended_by(APITimeoutError, or_well=True)  # well, if the answer was there in that very tick
        await sweep(alone(retry=None), strike=lambda _task: timeouts.live[0].fire(), verdict=verdict)
        await sweep(alone(retry=None), strike=timeouts.fire, verdict=verdict)
    assert timeouts.fired > 2


@pytest.mark.parametrize("call", CALLS)
async def test_cancellation_in_the_tick_in_which_the_alarm_rings_is_the_callers(
    call: Callable[[], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When caller and timer strike in the same tick, the caller's cancellation comes out."""
    with watched_timeouts(monkeypatch) as timeouts:
        assert await sweep(call(), strike=timeouts.fire_then_cancel, verdict=was_cancelled)
