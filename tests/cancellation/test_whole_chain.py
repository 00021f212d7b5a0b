"""Whole calls, through the whole chain and over real sockets, struck at each of their suspensions."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.cancellation.support import Timeouts, ended_by, watched_timeouts, world_of

from resilient_client import (
    APIClient,
    APITimeoutError,
    Backoff,
    BearerAuth,
    Call,
    ConnectionSettings,
    Handler,
    Request,
    Response,
    Retry,
)
from resilient_client.testing._wire import ReceivedRequest, Wire
from resilient_client.testing.cancellation import World, sweep, sweep_cancellation, was_cancelled
from resilient_client.testing.faults import drip, redirect, reply

RETRY = Retry(max_attempts=3, backoff=Backoff(kind="fixed", initial=0.005))
SLOW = reply(delay=0.002)


async def not_the_first_token(request: ReceivedRequest, wire: Wire) -> None:
    await reply(401 if request.headers["Authorization"] == "Bearer 1" else 200)(request, wire)


def tokens() -> Callable[[], Awaitable[str]]:
    """A token provider that takes a moment."""
    given = 0

    async def provide() -> str:
        nonlocal given
        given += 1
        await asyncio.sleep(0.001)
        return str(given)

    return provide


async def five(api: APIClient) -> None:
    result = await api.gather([Call.get(f"/{number}") for number in range(5)], concurrency=3, timeout=5.0)
    assert len(result.values) == 5


async def read_all(api: APIClient) -> None:
    async with api.stream("GET", "/") as stream:
        assert await stream.read() == b"abc"


def succeeds(**settings: Any) -> World:
    return world_of(lambda api: lambda: api.get("/"), SLOW, **settings)


def recovers(**settings: Any) -> World:
    return world_of(
        lambda api: lambda: api.get("/", retry=RETRY), reply(503), reply(503), SLOW, faults=True, **settings
    )


def redirected(**settings: Any) -> World:
    return world_of(lambda api: lambda: api.get("/"), redirect("/b"), redirect("/c", 307), SLOW, **settings)


def fans_out(**settings: Any) -> World:
    return world_of(lambda api: lambda: five(api), SLOW, connection=ConnectionSettings(pool_size=2), **settings)


def streams(**settings: Any) -> World:
    return world_of(lambda api: lambda: read_all(api), drip(b"abc", interval=0.002), **settings)


def reauthenticated(**settings: Any) -> World:
    """The first token is refused, the next one is good; in every world anew."""
    settings["auth"] = lambda: BearerAuth(tokens())
    return world_of(lambda api: lambda: api.get("/"), not_the_first_token, **settings)


CALLS = [succeeds, recovers, redirected, reauthenticated, fans_out, streams]


@pytest.mark.parametrize("call", CALLS)
async def test_call_cancelled_anywhere_leaves_nothing_and_the_next_one_works(call: Callable[[], World]) -> None:
    """Whatever a call is doing when its caller leaves, the cancellation comes out, and nothing of the call stays."""
    assert await sweep_cancellation(call())


@pytest.mark.parametrize("call", [succeeds, redirected, reauthenticated, streams])
async def test_call_whose_alarm_rings_anywhere_fails_with_our_timeout(
    call: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever our own timer strikes, its error comes out, the task is as it was, and nothing stays behind."""
    with watched_timeouts(monkeypatch) as timeouts:
        report = await sweep(call(retry=None), strike=timeouts.fire, verdict=ended_by(APITimeoutError))
    assert timeouts.fired == len(report) > 2


@pytest.mark.parametrize("call", [succeeds, redirected, reauthenticated])
async def test_call_whose_attempt_times_out_anywhere_goes_on_with_the_next(
    call: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that our timer ended is followed by another, with nothing of the first in its way."""
    with watched_timeouts(monkeypatch) as timeouts:
        world = call(retry=RETRY, connection=ConnectionSettings(pool_size=1))
        report = await sweep(world, strike=timeouts.fire, verdict=ended_by(or_well=True))
    assert timeouts.fired == len(report) > 2


@pytest.mark.parametrize("both", [Timeouts.fire_then_cancel, Timeouts.cancel_then_fire])
@pytest.mark.parametrize("call", CALLS)
async def test_cancellation_in_the_tick_in_which_the_alarm_rings_is_the_callers(
    call: Callable[[], World],
    both: Callable[[Timeouts, asyncio.Task[object]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When caller and timer strike in the same tick, the caller's cancellation comes out, and is the only one left."""
    with watched_timeouts(monkeypatch) as timeouts:
        assert await sweep(call(), strike=lambda task: both(timeouts, task), verdict=was_cancelled)


async def test_stream_whose_attempt_times_out_above_an_open_reply_gives_back_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A streamed reply is there, but a middleware above it lingers: the next attempt finds its connection free."""

    async def lingers(request: Request, call_next: Handler) -> Response:
        response = await call_next(request)
        await asyncio.sleep(0)
        return response

    with watched_timeouts(monkeypatch) as timeouts:
        world = streams(attempt_middleware=[lingers], connection=ConnectionSettings(pool_size=1), retry=RETRY)
        verdict = ended_by(APITimeoutError, or_well=True)  # a timeout in the body is the caller's
        report = await sweep(world, strike=timeouts.fire, verdict=verdict, patience=1.0)
    assert report.reached(lingers.__qualname__)
