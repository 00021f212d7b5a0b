"""The invariants detect every violation that is caused on purpose."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.simulation.support import plain

from resilient_client import APIClient, Bulkhead, Call, Handler, Outcome, Permits, Request, Response
from resilient_client._policies.circuit.circuit import Circuit
from resilient_client._policies.retry.budget import RetryTokens
from resilient_client._transport.pool import Pool
from resilient_client.simulation import InvariantBrokenError, Outage, Run, simulate


def with_client(make: Any, *changes: object) -> Run:
    """Run a few calls of a client that ``make`` makes."""
    scenario = plain(*changes, rate=2, duration=10)
    (group,) = scenario.callers
    return simulate(scenario.model_copy(update={"callers": (group.model_copy(update={"client": make}),)}))


def test_invariants_hold_with_a_correct_middleware() -> None:
    """Negative control of all tests below: the same scenario passes when nothing is broken."""

    async def correct(request: Request, call_next: Handler) -> Response:
        return await call_next(request)

    run = with_client(lambda *args, **options: APIClient(*args, middleware=[correct], **options))
    assert run.totals.success == 1


def test_request_sent_twice_in_an_attempt_is_found() -> None:
    """A middleware sends twice in one attempt, so more requests arrive than the client reports."""

    async def twice(request: Request, call_next: Handler) -> Response:
        await call_next(request)
        return await call_next(request)

    with pytest.raises(InvariantBrokenError, match=r"the clients report \d+ requests, but \d+ arrived at the servers"):
        with_client(lambda *args, **options: APIClient(*args, attempt_middleware=[twice], **options))


def test_call_that_finishes_twice_is_found() -> None:
    """A client sends each call twice."""

    class Double(APIClient):
        async def run(self, call: Call[Any]) -> Outcome[Any]:
            await super().run(call)
            return await super().run(call)

    with pytest.raises(InvariantBrokenError, match=r"shop-0 started \d+ calls, but \d+ finished"):
        with_client(Double)


def test_call_that_outlives_its_deadline_is_found() -> None:
    """A middleware swallows the cancellation of the deadline, and continues."""

    async def uncancellable(request: Request, call_next: Handler) -> Response:
        response = await call_next(request)
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(100)
        return response

    with pytest.raises(InvariantBrokenError, match=r"shop-0 had a call of 130\.\d+ s, above total=30 s"):
        with_client(lambda *args, **options: APIClient(*args, middleware=[uncancellable], **options))


def test_task_left_running_is_found() -> None:
    """A middleware starts a task and does not await it."""
    kept: list[asyncio.Task[None]] = []

    async def forgetful(request: Request, call_next: Handler) -> Response:
        kept.append(asyncio.create_task(asyncio.sleep(1e6), name="forgotten"))
        return await call_next(request)

    with pytest.raises(InvariantBrokenError, match=r"tasks are still running: forgotten.*timers are still set"):
        with_client(lambda *args, **options: APIClient(*args, attempt_middleware=[forgetful], **options))


def test_connection_not_released_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots of the pool are not released."""
    monkeypatch.setattr(Pool, "release", lambda _pool, _endpoint: None)
    with pytest.raises(InvariantBrokenError, match=r"\d+ connections of shop-0 are still in use"):
        with_client(APIClient)


def test_probe_permit_not_released_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A circuit reports two probe permits that were not released."""
    monkeypatch.setattr(Circuit, "probes_out", property(lambda _circuit: 2))
    with pytest.raises(InvariantBrokenError, match="2 probe permits of shop-0 for http://api were not released"):
        with_client(APIClient)


def test_bulkhead_permit_not_released_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Permits of a bulkhead are not released."""
    monkeypatch.setattr(Permits, "release", lambda _permits: None)
    bulkhead = Bulkhead(max_concurrent=100)
    with pytest.raises(InvariantBrokenError, match=r"\d+ permits of shop-0 for http://api are still in use"):
        with_client(lambda *args, **options: APIClient(*args, bulkhead=bulkhead, **options))


def test_repeats_beyond_the_budget_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The retry budget grants every repeat."""
    monkeypatch.setattr(RetryTokens, "try_spend", lambda _tokens, _now, _cost: True)
    with pytest.raises(InvariantBrokenError, match=r"shop-0 sent \d+ repeats on a budget of 5\.\d tokens"):
        with_client(
            lambda *args, **options: APIClient(*args, circuit_breaker=None, **options), Outage(at=0, how="error")
        )


def test_request_that_a_server_loses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server does not count the requests that it drops."""
    from resilient_client.simulation import _replica

    monkeypatch.setattr(_replica.Replica, "_meet_outage", lambda _self, job, _outage: job.resolve(None))
    with pytest.raises(InvariantBrokenError, match=r"\d+ requests arrived at api, but 0 have a result"):
        with_client(APIClient, Outage(at=0, how="reset"))
