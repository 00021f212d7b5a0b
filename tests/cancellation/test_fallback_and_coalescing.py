"""Fallback and coalescing, cancelled at each suspension of the call, of the shared request and of the fallback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from tests.cancellation.support import Upstream, client_world, ended_with, make_request, one_loop, watched_timeouts

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


def coalescing_world(*script: int, others: int) -> World:
    """Create a world whose scenario is one call. It joins the request of ``others``, if there are any."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Callable[[], Awaitable[object]]]:
        upstream, coalesce = Upstream(*script), CoalesceMiddleware()
        chain = compose((coalesce, RetryMiddleware(None), AttemptMiddleware()), upstream)
        client = make_request().context.client

        def call() -> Awaitable[Response]:
            request = make_request(RETRY)
            request.context.client = client
            return chain(request)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call()) for _ in range(others)]
            await asyncio.sleep(0)
            yield call
        assert [task.result().status for task in tasks] == [200] * others
        assert (upstream.active, coalesce._flights) == (0, {})
        assert upstream.started == len(script) or not others
        upstream.script = [200]
        assert (await call()).status == 200

    return world


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("script", [(200,), (503, 200)], ids=str)
def test_coalesced_call_cancelled_anywhere(script: tuple[int, ...], others: int) -> None:
    """Alone, the call leaves nothing behind. Other calls still get the reply of the shared request."""
    report = run_virtual(sweep_cancellation(coalescing_world(*script, others=others), grace=1.0))
    assert report.reached("CoalesceMiddleware.__call__")
    assert report.reached("Flight.wait")
    assert report.reached("AttemptMiddleware.__call__") is not bool(
        others
    )  # alone, it is also cancelled inside the request


def test_flight_without_waiters_left_running_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a shared request that goes on without a waiting call is reported as a task that is left."""

    async def never(_flight: Flight[object]) -> None:
        pass

    monkeypatch.setattr(Flight, "end", never)
    with pytest.raises(ExceptionGroup) as caught:
        run_virtual(sweep_cancellation(coalescing_world(200, others=0), grace=1.0))
    assert caught.group_contains(CancellationError, match="a task is left: .*fly")


# --- whole calls, over real sockets ---


def single_call(**settings: object) -> World:
    return client_world(lambda api: lambda: api.get("/"), SLOW, coalesce=True, **settings)


def concurrent_calls(**settings: object) -> World:
    """Three calls at once, in tasks of the scenario."""

    async def three(api: APIClient) -> None:
        result = await api.gather([Call.get("/", response_model=int)] * 3)
        assert result.values == [1] * 3

    return client_world(lambda api: lambda: three(api), SLOW, coalesce=True, **settings)


async def replacement(_error: APIError) -> int:
    await asyncio.sleep(0.001)
    return 2


def falls_back_to_a_function(**settings: object) -> World:
    step = reply(503, delay=0.002)
    fallback = Fallback(replacement)
    return client_world(lambda api: lambda: api.get("/"), step, fallback=fallback, retry=None, faults=True, **settings)


def falls_back_to_a_call(**settings: object) -> World:
    fallback = Fallback(Call.get("/backup"))
    steps = reply(503, delay=0.002), SLOW
    return client_world(
        lambda api: lambda: api.get("/"), *steps, fallback=fallback, retry=None, faults=True, **settings
    )


CALLS = [single_call, concurrent_calls, falls_back_to_a_function, falls_back_to_a_call]


@pytest.mark.parametrize("call", CALLS)
async def test_call_cancelled_anywhere_leaves_nothing(call: Callable[[], World]) -> None:
    """In the request, in the fallback and between the two: the call ends cancelled, and the next call works."""
    assert await sweep_cancellation(call())


@one_loop
async def test_sweep_reaches_the_fallback() -> None:
    """The sweep cancels inside a fallback, whether it is a function or a call."""
    assert (await sweep_cancellation(falls_back_to_a_function())).reached("replacement")
    assert (await sweep_cancellation(falls_back_to_a_call())).reached("fall_back")


@pytest.mark.parametrize("call", [falls_back_to_a_function, falls_back_to_a_call])
async def test_timeout_anywhere_with_fallback(call: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout never comes out as a cancellation: the call ends with its error or with the fallback."""
    with watched_timeouts(monkeypatch) as timeouts:
        await sweep(call(), inject=timeouts.fire, verdict=ended_with(APIError, or_success=True))
    assert timeouts.fired > 2


async def test_timeout_anywhere_in_coalesced_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever timeout fires, that of the waiting call or that of the attempt, the call raises its error."""
    with watched_timeouts(monkeypatch) as timeouts:
        verdict = ended_with(APITimeoutError, or_success=True)  # a success if the reply came in the same tick
        await sweep(single_call(retry=None), inject=lambda _task: timeouts.pending[0].fire(), verdict=verdict)
        await sweep(single_call(retry=None), inject=timeouts.fire, verdict=verdict)
    assert timeouts.fired > 2


@one_loop
@pytest.mark.parametrize("call", CALLS)
async def test_cancellation_in_same_tick_as_timeout(call: Callable[[], World], monkeypatch: pytest.MonkeyPatch) -> None:
    """If a timeout fires in the tick in which the caller cancels, the call ends cancelled."""
    with watched_timeouts(monkeypatch) as timeouts:
        assert await sweep(call(), inject=timeouts.fire_then_cancel, verdict=was_cancelled)
