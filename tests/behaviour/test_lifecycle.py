"""A client is built anywhere, bound to one loop, closed once, and shared by its views."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import aiohttp
import pytest
from tests.behaviour.support import client, failure, in_use, soon, turns

from resilient_client import (
    APIClient,
    CallCancelledError,
    CircuitBreaker,
    CircuitOpenError,
    ClientClosedError,
    ConfigurationError,
    ConnectionSettings,
    ErrorKind,
    Handler,
    Request,
    Response,
    Retry,
    RetryBudget,
    Timeout,
)
from resilient_client._core.events import AttemptStarted, CallFinished, Event
from resilient_client._policies.circuit.circuit import CircuitState
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer, refused_url

pytestmark = pytest.mark.usefixtures("both_paths")

BUILT_AT_IMPORT = APIClient(refused_url())
ONE = ConnectionSettings(pool_size=1)


# --- the loop ---


def test_client_is_built_without_a_loop() -> None:
    """Built at import time, as a module of an application would."""

    async def use() -> ErrorKind:
        async with APIClient(refused_url(), retry=None) as api:
            return (await failure(api.get("/"))).kind

    assert repr(BUILT_AT_IMPORT).startswith("<APIClient '127.0.0.1'")
    assert asyncio.run(use()) is ErrorKind.CONNECT


async def test_client_is_shared_by_many_tasks(server: FaultServer) -> None:
    """200 tasks, one client, each its own answer, over few connections."""
    server.script(faults.echo())
    async with client(server, connection=ConnectionSettings(pool_size=5)) as api:
        replies = await soon(asyncio.gather(*(api.get("/", params={"n": number}) for number in range(200))))
    assert [reply.json()["query"]["n"] for reply in replies] == [str(number) for number in range(200)]
    assert server.connections <= 5


# --- closing ---


async def test_closed_client_refuses_calls(server: FaultServer) -> None:
    """Calls, streams and fan-outs are refused."""
    api = client(server)
    await api.get("/")
    await api.close()
    with pytest.raises(ClientClosedError, match="make a new one"):
        await api.get("/")
    with pytest.raises(ClientClosedError):
        await api.gather([])
    with pytest.raises(ClientClosedError):
        async with api.stream("GET", "/"):
            pass
    with pytest.raises(ClientClosedError):
        async with api:
            pass
    assert server.hits == 1


async def test_client_closed_twice_is_closed(server: FaultServer) -> None:
    """Closing is idempotent, used or unused."""
    async with client(server) as api:
        await api.get("/")
        await api.close()
    unused = client(server)
    await unused.close()
    await unused.close()


async def test_close_ends_calls_in_flight(server: FaultServer) -> None:
    """Running and queued calls fail at once, and nothing new is sent."""
    server.script(faults.hang_before_headers())
    api = APIClient(server.url, connection=ONE)
    flying = [asyncio.create_task(api.get("/")) for _ in range(3)]
    await soon(server.wait_for_hits(1))
    await turns()
    await api.close()
    errors = await soon(asyncio.gather(*flying, return_exceptions=True))
    assert {type(error).__name__ for error in errors} == {"CallCancelledError"}
    assert (server.hits, in_use(api)) == (1, 0)


async def test_close_does_not_blame_server(server: FaultServer) -> None:
    """The circuit holds nothing against a server whose connection we closed ourselves, and nothing is retried."""
    server.script(faults.hang_before_headers())
    api = APIClient(server.url, retry=Retry(max_attempts=3), circuit_breaker=CircuitBreaker(minimum_calls=1))
    attempts: list[Event] = []
    api.subscribe(lambda event: attempts.append(event) if isinstance(event, AttemptStarted) else None)
    flying = asyncio.create_task(api.get("/"))
    await soon(server.wait_for_hits(1))
    await api.close()
    with pytest.raises(CallCancelledError, match="was closed before the reply"):
        await soon(flying)
    assert len(attempts) == 1
    assert [circuit.state for circuit in api.circuits.values()] == [CircuitState.CLOSED]


async def test_close_leaves_no_task_and_no_socket(server: FaultServer) -> None:
    """Warnings are errors: an unclosed socket or session would fail this test."""
    before = asyncio.all_tasks()
    async with FaultServer() as other:
        async with APIClient(other.url) as api:
            await api.get("/")
        other_tasks = asyncio.all_tasks() - before
        assert not [task for task in other_tasks if "_Connection.serve" not in repr(task.get_coro())]
    gc.collect()


async def test_close_leaves_callers_session_open(server: FaultServer) -> None:
    """The session is closed by its owner."""
    async with aiohttp.ClientSession() as session:
        async with client(server, session=session) as api:
            await api.get("/")
        assert not session.closed
    assert server.hits == 1


# --- views ---


async def test_view_shares_circuits(server: FaultServer) -> None:
    """What one learned, the other knows."""
    server.script(faults.reply(500))
    breaker = CircuitBreaker(minimum_calls=3, break_duration=60)
    async with client(server, circuit_breaker=breaker) as api:
        view = api.with_options(timeout=5)
        for _ in range(3):
            await failure(view.get("/"))
        assert isinstance(await failure(api.get("/")), CircuitOpenError)
        assert view.circuits is api.circuits


@pytest.mark.virtual_time
async def test_view_shares_pool(server: FaultServer) -> None:
    """Two views share one slot."""
    server.script(faults.reply(200, delay=0.002))
    async with client(server, connection=ONE) as api:
        view = api.with_options(timeout=5)
        await soon(asyncio.gather(*(caller.get("/") for caller in [api, view] * 5)))
    assert (server.peak, server.connections) == (1, 1)


async def test_view_shares_budget(server: FaultServer) -> None:
    """Two retries in the bucket are two for all views together."""
    server.script(faults.reply(503))
    budget = RetryBudget(initial=2, max_extra_load=0, min_per_second=0)
    retry = Retry(max_attempts=2, backoff={"kind": "fixed", "initial": 0.001})
    async with APIClient(server.url, retry=retry, retry_budget=budget, circuit_breaker=None) as api:
        view = api.with_options(timeout=5)
        for caller in [api, view] * 3:
            await failure(caller.get("/"))
    assert server.hits == 6 + 2


async def test_view_that_is_closed_closes_nothing(server: FaultServer) -> None:
    """A view may be dropped or used in ``async with``, and the client goes on."""
    async with client(server) as api:
        async with api.with_options(timeout=5) as view:
            await view.get("/")
        await view.close()
        await api.get("/")
    with pytest.raises(ClientClosedError):
        await view.get("/")


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_view_merges_options_by_field(server: FaultServer) -> None:
    """Fields that the view does not set are the client's. Headers and parameters are added."""
    server.script(faults.echo())
    async with APIClient(
        server.url, timeout=Timeout(total=9, attempt=3), retry=Retry(max_attempts=7), headers={"X-A": "1", "X-B": "1"}
    ) as api:
        view = api.with_options(timeout=Timeout(connect=1), headers={"X-B": "2"}, params={"p": 1})
        assert view.config.timeout == Timeout(total=9, attempt=3, connect=1)
        assert view.config.retry == api.config.retry
        seen = (await view.get("/", headers={"X-C": "3"})).json()
        plain = (await api.get("/")).json()
    assert {name: seen["headers"][name] for name in ("x-a", "x-b", "x-c")} == {"x-a": "1", "x-b": "2", "x-c": "3"}
    assert seen["query"] == {"p": "1"}
    assert (plain["headers"]["x-b"], plain["query"]) == ("1", {})


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_view_of_a_view(server: FaultServer) -> None:
    """Layers pile up, the nearest one wins."""
    async with client(server, timeout=9) as api:
        view = api.with_options(timeout=5).with_options(timeout=Timeout(attempt=2))
        assert view.config.timeout is not None
        assert (view.config.timeout.total, view.config.timeout.attempt) == (5, 2)


# --- events ---


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_listener_unsubscribes(server: FaultServer) -> None:
    """Unsubscribing twice is allowed."""
    events: list[Event] = []
    async with client(server) as api:
        unsubscribe = api.subscribe(events.append)
        await api.get("/")
        count = len(events)
        unsubscribe()
        unsubscribe()
        await api.get("/")
    assert count == len(events) > 0
    assert isinstance(events[-1], CallFinished)


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_listener_error_is_logged(server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the rest goes on."""
    events: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("a bug of the user's")

    with caplog.at_level(logging.ERROR):
        async with client(server) as api:
            api.subscribe(broken)
            api.subscribe(events.append)
            assert (await api.get("/")).status == 200
    assert events
    assert "a listener failed" in caplog.text


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_listener_unsubscribes_during_event(server: FaultServer) -> None:
    """The others still hear of that very event."""
    events: list[Event] = []
    async with client(server) as api:
        unsubscribe = api.subscribe(lambda _: unsubscribe())
        api.subscribe(events.append)
        await api.get("/")
    assert len(events) == 3


# --- explain ---


@pytest.mark.one_loop
@pytest.mark.one_path
async def test_explain_names_value_and_layer(server: FaultServer) -> None:
    """Default, config, client, view and call are each named where they decide, and nothing is sent."""
    config: Any = {"retry": {"max_attempts": 2}, "timeout": 20}
    from resilient_client import ClientConfig

    async with APIClient(server.url, config=ClientConfig(**config), timeout=Timeout(attempt=4)) as api:
        result = api.with_options(raise_for_status=False).explain(
            "GET", "/users/{id}", path_params={"id": 7}, timeout=9
        )
    rows = {row.setting: (row.value, row.layer) for row in result.settings}
    assert rows["timeout.total"] == (9, "call")
    assert rows["timeout.attempt"] == (4, "client")
    assert rows["retry.max_attempts"] == (2, "config")
    assert rows["raise_for_status"] == (False, "options")
    assert rows["circuit_breaker.failure_ratio"] == (0.99, "default")
    assert result.request == f"GET {server.url}/users/7"
    assert server.connections == 0


async def own(request: Request, call_next: Handler) -> Response:
    return await call_next(request)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["retry", "attempt", "circuit breaker", "redirect"]),
        ({"middleware": [own]}, ["deadline", "own", "retry", "attempt", "circuit breaker", "redirect"]),
        ({"attempt_middleware": [own]}, ["retry", "attempt", "circuit breaker", "own", "redirect"]),
    ],
)
@pytest.mark.one_loop
@pytest.mark.one_path
def test_explain_shows_chain_in_order(options: dict[str, Any], names: list[str]) -> None:
    """The chain is in the order of a call. The user's middlewares are inside a deadline of their own."""
    api = APIClient("https://api.example.com", **options)
    assert [link.name for link in api.explain("GET", "/").chain] == names


async def test_connection_settings_with_session_refused() -> None:
    """A setting that a caller's session would ignore is an error, not a surprise."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ConfigurationError, match="connection sets pool_size, which a session"):
            APIClient("http://127.0.0.1", session=session, connection=ConnectionSettings(pool_size=5))
        APIClient("http://127.0.0.1", session=session, connection=ConnectionSettings(max_response_size=5))


@pytest.mark.one_loop
@pytest.mark.one_path
def test_unsendable_client_params_refused() -> None:
    """What is wrong with every call is found when the client is built."""
    with pytest.raises(ConfigurationError, match="params"):
        APIClient("http://127.0.0.1", params={"a": object()})  # type: ignore[dict-item]  # the point


@pytest.mark.one_loop
@pytest.mark.one_path
def test_explain_shows_the_limits_in_force() -> None:
    """A default that a shorter limit clips is shown as it works, not as it is written."""
    rows = {row.setting: row.value for row in APIClient("http://127.0.0.1", timeout=2).explain("GET", "/").settings}
    assert (rows["timeout.total"], rows["timeout.attempt"], rows["timeout.connect"]) == (2, 2, 2)
