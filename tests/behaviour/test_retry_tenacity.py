"""The engine of repeats is tenacity, and whoever does not repeat does not pay for it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import tenacity
from tests.behaviour.support import failure
from tests.cancellation.support import a_request

from resilient_client import APIClient, Response, Retry, RetryBudget
from resilient_client._core.errors import APIConnectionError, APIError
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.request import Request
from resilient_client._middleware.compose import compose
from resilient_client._middleware.retry import RetryMiddleware
from resilient_client.testing import MockUpstream, fail, reply

pytestmark = pytest.mark.one_loop

AT_ONCE = Retry(max_attempts=3, backoff=lambda _: 0.0)
URL = "http://api.test"


@pytest.fixture
def engaged(monkeypatch: pytest.MonkeyPatch) -> list[tenacity.BaseRetrying]:
    """Each of tenacity's loops that was begun."""
    begun: list[tenacity.BaseRetrying] = []
    original = tenacity.BaseRetrying.begin

    def begin(self: tenacity.BaseRetrying) -> None:
        begun.append(self)
        original(self)

    monkeypatch.setattr(tenacity.BaseRetrying, "begin", begin)
    return begun


def refuse(api: APIClient) -> None:
    next(iter(api.circuits.values())).force_open()


@pytest.mark.parametrize(
    "make",
    [
        lambda api: api.get("/fine"),
        lambda api: api.get("/missing"),
        lambda api: api.post("/sick", content=b"1"),
        lambda api: api.get("/sick", retry=Retry(max_attempts=1)),
        lambda api: api.get("/sick", retry=None),
        lambda api: api.get("/sick", timeout=1e-9),
        lambda api: api.get("/busy"),
    ],
    ids=["success", "404", "unsafe", "max_attempts=1", "retry=None", "deadline", "Retry-After"],
)
async def test_tenacity_unused_without_retry(
    make: Callable[[APIClient], Awaitable[Response]], engaged: list[object]
) -> None:
    """What is not repeated, for whatever reason, is decided without it."""
    upstream = MockUpstream()
    upstream.route("GET", "/fine", reply(200))
    upstream.route("GET", "/missing", reply(404))
    upstream.route("GET", "/sick", reply(503))
    upstream.route("POST", "/sick", reply(503))
    upstream.route("GET", "/busy", reply(503, headers={"Retry-After": "3600"}))
    async with APIClient(URL, transport=upstream, retry=AT_ONCE) as api:
        with suppress(APIError):
            await make(api)
    assert upstream.hits <= 1
    assert engaged == []


async def test_tenacity_unused_if_circuit_refuses(engaged: list[object]) -> None:
    """In an outage most calls end here."""
    upstream = MockUpstream()
    upstream.script(reply(200))
    async with APIClient(URL, transport=upstream, retry=AT_ONCE) as api:
        await api.get("/")
        refuse(api)
        assert (await failure(api.get("/"))).kind is ErrorKind.CIRCUIT_OPEN
    assert engaged == []


async def test_tenacity_unused_without_budget(engaged: list[object]) -> None:
    """Nor for those that would be repeated, had the upstream any budget left."""
    upstream = MockUpstream()
    upstream.script(reply(503))
    budget = RetryBudget(initial=0, min_per_second=0)
    async with APIClient(URL, transport=upstream, retry=AT_ONCE, retry_budget=budget) as api:
        assert "budget" in str(await failure(api.get("/")))
    assert (upstream.hits, engaged) == (1, [])


async def test_tenacity_used_once_per_call(engaged: list[object]) -> None:
    """One loop a call, for all its repeats: the control of the three above."""
    upstream = MockUpstream()
    upstream.script(reply(503))
    async with APIClient(URL, transport=upstream, retry=AT_ONCE) as api:
        await failure(api.get("/"))
    assert (upstream.hits, len(engaged)) == (3, 1)


async def test_backoff_function_gets_outcomes() -> None:
    """The state is tenacity's own, from the first failure on, before any loop of tenacity's has begun."""
    upstream = MockUpstream()
    upstream.script(reply(500), reply(503), fail(ErrorKind.CONNECT, stage=Stage.CONNECT), reply(200))
    seen: list[tuple[Any, float]] = []

    def backoff(state: tenacity.RetryCallState) -> float:
        assert state.outcome is not None
        outcome = state.outcome.result()
        seen.append((getattr(outcome, "status", getattr(outcome, "kind", None)), round(state.idle_for, 6)))
        return 0.001

    async with APIClient(URL, transport=upstream, retry=Retry(max_attempts=4, backoff=backoff)) as api:
        await api.get("/")
    assert seen == [(500, 0.0), (503, 0.001), (ErrorKind.CONNECT, 0.002)]


async def test_error_is_freed_without_collector() -> None:
    """No frame that it knows knows it: a storm of failures does not pile up garbage."""

    async def lost(_: Request) -> Response:
        raise APIConnectionError("lost", retryable=True)

    request = a_request(AT_ONCE)
    gc.collect()
    gc.disable()
    try:
        error: APIError | None = await failure(compose([RetryMiddleware(None)], lost)(request))
        assert error is not None
        freed = weakref.ref(error)
        error = None
        assert freed() is None
    finally:
        gc.enable()
