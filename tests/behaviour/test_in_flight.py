"""``api.in_flight()``: which calls have not ended, and where each of them waits."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable

import pytest
from tests.behaviour.support import TIME_LIMIT, cancelled, client, soon

from resilient_client import APIClient, Bulkhead, ConnectionSettings, Handler, Hedging, Request, Response, Retry, Stage
from resilient_client._core.context import CallContext
from resilient_client.testing import FaultServer
from resilient_client.testing.faults import hang_before_headers, hang_in_body, hold, reply


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(TIME_LIMIT):
        while not condition():
            await asyncio.sleep(0.001)


def places(api: APIClient) -> list[tuple[Stage, str]]:
    return [(call.stage, call.waits_for) for call in api.in_flight()]


pytestmark = pytest.mark.usefixtures("both_paths")


async def test_idle_client_has_no_call_in_flight(server: FaultServer) -> None:
    """Before the first call and after the last one there is none."""
    async with client(server) as api:
        assert api.in_flight() == ()
        await api.get("/users/7")
        assert api.in_flight() == ()


async def test_call_that_waits_for_its_reply(server: FaultServer) -> None:
    """The oldest call comes first. Each one has the route as written, its age, its endpoint and its attempts."""
    server.script(hang_before_headers())
    async with client(server, name="users") as api:
        tasks = [asyncio.create_task(api.get("/users/{id}", path_params={"id": 7}))]
        await until(lambda: server.hits == 1)
        tasks.append(asyncio.create_task(api.with_options(timeout=9).post("/orders?secret=1", json={})))
        await until(lambda: server.hits == 2)
        first, second = api.in_flight()
        assert (first.client, first.method, first.route, first.attempts) == ("users", "GET", "/users/{id}", 1)
        assert (second.method, second.route) == ("POST", "/orders")
        assert (first.stage, first.waits_for, first.endpoint.port) == (Stage.HEADERS, "the server", server.port)
        assert first.age > second.age > 0
        assert str(second).startswith("POST /orders to http://127.0.0.1")
        assert "secret" not in str(second) + repr(second)
        await cancelled(tasks)
        assert api.in_flight() == ()


async def test_call_that_waits_in_the_body(server: FaultServer) -> None:
    """A body that does not end is stage ``BODY``."""
    server.script(hang_in_body())
    async with client(server) as api:
        task = asyncio.create_task(api.get("/"))
        await until(lambda: (Stage.BODY, "the server") in places(api))
        await cancelled([task])


async def test_call_that_waits_for_a_permit_or_a_connection(server: FaultServer) -> None:
    """A call in a queue of the client has not been sent. The queue of the pool is a stage of its own."""
    server.script(hang_before_headers())
    for options, place in (
        ({"bulkhead": Bulkhead(max_concurrent=1, max_queue=1)}, (Stage.LOCAL, "a permit or slot")),
        ({"connection": ConnectionSettings(pool_size=1)}, (Stage.POOL, "a connection")),
    ):
        async with client(server, **options) as api:
            hits = server.hits
            tasks = [asyncio.create_task(api.get("/")) for _ in range(2)]
            await until(lambda hits=hits: server.hits == hits + 1)
            await until(lambda api=api: len(places(api)) == 2)
            assert sorted(places(api)) == sorted([(Stage.HEADERS, "the server"), place])
            await cancelled(tasks)


async def test_call_that_waits_for_its_next_attempt(server: FaultServer) -> None:
    """Between two attempts a call waits for nothing on the wire."""
    server.script(reply(503))
    retry = Retry(max_attempts=2, backoff={"kind": "fixed", "initial": 20, "max_delay": 20})
    async with client(server, retry=retry) as api:
        task = asyncio.create_task(api.get("/"))
        await until(lambda: places(api) == [(Stage.LOCAL, "the next attempt or a fallback")])
        assert api.in_flight()[0].attempts == 1
        await cancelled([task])


async def test_call_that_waits_in_a_middleware(server: FaultServer) -> None:
    """A middleware of the user's that hangs holds its call before the wire, per attempt or per call."""

    async def hang(request: Request, call_next: Handler) -> Response:
        await asyncio.get_running_loop().create_future()
        return await call_next(request)

    for name, waits_for in (
        ("attempt_middleware", "credentials or a middleware"),
        ("middleware", "a shared flight or a middleware"),
    ):
        async with client(server, **{name: [hang]}) as api:
            task = asyncio.create_task(api.get("/"))
            await until(lambda api=api, waits_for=waits_for: places(api) == [(Stage.LOCAL, waits_for)])
            await cancelled([task])
    assert server.hits == 0


async def test_coalesced_calls_are_listed_with_their_flight(server: FaultServer) -> None:
    """The flight waits on the wire, and each call that shares it waits for the flight."""
    server.script(hang_before_headers())
    async with client(server, coalesce=True) as api:
        tasks = [asyncio.create_task(api.get("/")) for _ in range(2)]
        await until(lambda: server.hits)
        shared = (Stage.LOCAL, "a shared flight or a middleware")
        assert sorted(places(api)) == sorted([(Stage.HEADERS, "the server"), shared, shared])
        await cancelled(tasks)


async def test_hedged_call_is_listed_once(server: FaultServer) -> None:
    """A call with two attempts in parallel is one call."""
    server.script(hang_before_headers())
    async with client(server, hedging=Hedging(delay=0.01), retry=Retry()) as api:
        task = asyncio.create_task(api.get("/"))
        await until(lambda: server.hits == 2)
        (call,) = api.in_flight()
        assert (call.attempts, call.stage) == (2, Stage.HEADERS)
        await cancelled([task])
        assert api.in_flight() == ()


async def test_open_stream_is_in_flight(server: FaultServer) -> None:
    """A stream is in flight until its body has ended or it is closed."""
    server.script(hang_in_body())
    async with client(server) as api:
        async with api.stream("GET", "/export"):
            assert places(api) == [(Stage.BODY, "its reader or the server")]
        assert api.in_flight() == ()


async def test_call_that_has_ended_is_not_kept(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer of a client may hold the timeouts of ended calls for long, but nothing of the calls."""
    contexts: list[weakref.ref[CallContext]] = []
    begin = CallContext.__init__

    def noted(self: CallContext, *arguments: object) -> None:
        contexts.append(weakref.ref(self))
        begin(self, *arguments)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(CallContext, "__init__", noted)
    held = hold(reply(200))
    server.script(hang_before_headers())
    server.route("GET", "/held", held)
    async with client(server) as api:
        hanging = asyncio.create_task(api.get("/"))
        await until(lambda: server.hits == 1)
        ending = asyncio.create_task(api.get("/held"))
        await until(lambda: server.hits == 2)
        api._runtime.timer._fire()  # moves the timeouts to the heap
        held.release()
        await soon(ending)
        del ending
        assert len(api._runtime.timer._heap) == 2
        assert [context() is None for context in contexts] == [False, True]
        await cancelled([hanging])
