"""One client on several event loops, one after the other: a client outlives a loop that ended while it was idle."""

from __future__ import annotations

import asyncio
import gc
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import aiohttp
import pytest
import trustme
import uvloop
from fastapi import FastAPI
from tests.behaviour.support import TIME_LIMIT, failure

from resilient_client import (
    APIClient,
    Bulkhead,
    CircuitBreaker,
    CircuitOpenError,
    ClientClosedError,
    ConnectionSettings,
    HealthCheck,
    LoadBalancing,
    WrongLoopError,
)
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer

Factory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]

AUTHORITY = trustme.CA()
LOOPS: dict[str, Factory] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

each_loop = pytest.mark.parametrize("factory", LOOPS.values(), ids=LOOPS)


class _Outside:
    """Runs servers on a thread and a loop of its own, so that they outlive the loops of the clients."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine there and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def outside() -> Iterator[_Outside]:
    """The other thread."""
    made = _Outside()
    yield made
    made.end()


@pytest.fixture
def upstream(outside: _Outside) -> Iterator[FaultServer]:
    """A server that outlives the loops of the client."""
    server = FaultServer()
    outside.run(server.__aenter__())
    yield server
    outside.run(server.__aexit__(None, None, None))


def run(factory: Factory, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a new loop, as ``asyncio.run`` does."""
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(asyncio.wait_for(coroutine, 60))


async def status(api: APIClient) -> int:
    """The status of one call."""
    return (await api.get("/")).status


def wait_until(condition: Callable[[], bool]) -> None:
    """Block until the server, which runs in another thread, has reached a condition."""
    ends_at = time.monotonic() + TIME_LIMIT
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.001)  # leaves the processor to the thread of the server; no result depends on it


@each_loop
@pytest.mark.usefixtures("both_paths")
def test_client_outlives_its_loop(factory: Factory, upstream: FaultServer) -> None:
    """Each loop gets connections of its own. Warnings are errors: a connection left behind would fail this test."""
    api = APIClient(upstream.url)
    for number in (1, 2, 3):
        assert run(factory, status(api)) == 200
        assert (upstream.hits, upstream.connections) == (number, number)
    gc.collect()
    run(factory, api.close())
    with pytest.raises(ClientClosedError):
        run(factory, status(api))
    del api
    gc.collect()


@each_loop
def test_client_outlives_loop_with_tls(factory: Factory, outside: _Outside) -> None:
    """A TLS connection of the loop that ended is dropped without a warning, too."""
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(serving)
    trusting = ssl.create_default_context()
    AUTHORITY.configure_trust(trusting)
    server = FaultServer(tls=serving)
    outside.run(server.__aenter__())
    api = APIClient(server.url, connection=ConnectionSettings(tls=trusting))
    assert [run(factory, status(api)) for _ in range(2)] == [200, 200]
    run(factory, api.close())
    outside.run(server.__aexit__(None, None, None))
    gc.collect()


def test_loop_closed_without_shutdown_is_left(upstream: FaultServer) -> None:
    """A loop that is closed without ``shutdown_asyncgens`` leaves its connections open. The client closes them."""
    api = APIClient(upstream.url)
    for _ in range(2):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(status(api))
        loop.close()
    asyncio.run(api.close())
    gc.collect()
    assert upstream.connections == 2


def test_idle_connection_ends_with_its_loop(upstream: FaultServer) -> None:
    """The server sees the end of a connection when its loop shuts down, not when the client is used again."""
    api = APIClient(upstream.url)
    asyncio.run(status(api))
    wait_until(lambda: not upstream._open)
    asyncio.run(api.close())


def test_circuits_outlive_the_loop(upstream: FaultServer) -> None:
    """What was learnt of the upstream stays: a circuit that opened on one loop is open on the next."""
    upstream.script(faults.reply(503))
    api = APIClient(upstream.url, retry=None, circuit_breaker=CircuitBreaker(minimum_calls=1, break_duration=60))

    async def fail() -> type[Exception]:
        return type(await failure(api.get("/")))

    assert asyncio.run(fail()) is not CircuitOpenError
    assert asyncio.run(fail()) is CircuitOpenError
    assert upstream.hits == 1
    asyncio.run(api.close())


def test_permits_and_views_outlive_the_loop(upstream: FaultServer) -> None:
    """A call that was cancelled by the end of its loop holds no permit on the next, also for a view of the client."""
    upstream.script(faults.hang_before_headers(), faults.reply())
    api = APIClient(upstream.url, retry=None, bulkhead=Bulkhead(max_concurrent=1))
    flying: list[asyncio.Task[int]] = []

    async def leave() -> None:
        flying.append(asyncio.create_task(status(api)))
        await asyncio.to_thread(wait_until, lambda: upstream.hits == 1)

    asyncio.run(leave())
    assert flying[0].cancelled()
    assert asyncio.run(status(api.with_options(timeout=5))) == 200
    asyncio.run(api.close())


def test_health_checks_go_on_with_the_loop(upstream: FaultServer) -> None:
    """The regular checks end with one loop and start again on the next."""
    balancing = LoadBalancing(health_check=HealthCheck(interval=60))
    api = APIClient([upstream.url], load_balancing=balancing)

    async def checked() -> None:
        async with asyncio.timeout(60):
            await status(api)
            while upstream.hits % 2:  # the call and the check
                await asyncio.sleep(0.001)

    for _ in range(2):
        asyncio.run(checked())
    assert upstream.hits == 4
    asyncio.run(api.close())


def test_open_loop_keeps_its_client(upstream: FaultServer) -> None:
    """A loop that may run again still owns the connections. The error names the remedy."""
    api = APIClient(upstream.url)
    with asyncio.Runner() as first:
        first.run(status(api))
        with asyncio.Runner() as second, pytest.raises(WrongLoopError, match="use one client per event loop"):
            second.run(status(api))
        assert first.run(status(api)) == 200
        first.run(api.close())
    assert upstream.hits == 2


@pytest.mark.filterwarnings("ignore")  # Python reports the task and the session that are abandoned here
@pytest.mark.parametrize("streamed", [False, True], ids=["call", "stream"])
def test_loop_closed_with_a_call_keeps_client(streamed: bool, upstream: FaultServer) -> None:
    """A call or stream that nobody ended holds a connection of the loop. The error names the remedy."""
    upstream.script(faults.hang_in_body() if streamed else faults.hang_before_headers())
    api = APIClient(upstream.url, retry=None)
    kept: list[object] = []

    async def leave(api: APIClient) -> None:
        if streamed:
            context = api.stream("GET", "/")
            kept.append((context, await context.__aenter__()))
        else:
            kept.append(asyncio.create_task(status(api)))
            await asyncio.to_thread(wait_until, lambda: upstream.hits == 1)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave(api))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    with pytest.raises(WrongLoopError, match="was closed while calls or streams were in flight; await or cancel them"):
        asyncio.run(status(api))
    assert upstream.hits == 1
    kept.clear()
    del api
    gc.collect()


def test_callers_session_of_a_closed_loop_refused(upstream: FaultServer) -> None:
    """Only its owner can replace a session, and the error asks for that."""
    clients: list[APIClient] = []

    async def use() -> int:
        async with aiohttp.ClientSession() as session:
            clients.append(APIClient(upstream.url, session=session))
            return await status(clients[0])

    assert asyncio.run(use()) == 200
    with pytest.raises(WrongLoopError, match="the session given to the client belongs to an event loop"):
        asyncio.run(status(clients[0]))


def test_test_client_twice_over_one_client(upstream: FaultServer) -> None:
    """Starlette's ``TestClient`` runs an application on a new loop each time. A client of the module serves all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which of its dependencies Starlette prefers is no concern of this test
        from starlette.testclient import TestClient

    api = APIClient(upstream.url)
    app = FastAPI()

    @app.get("/")
    async def relay() -> int:
        return await status(api)

    for _ in range(2):
        with TestClient(app) as web:
            assert web.get("/").json() == 200
    web = TestClient(app)  # outside of a block, each request runs on a loop of its own
    assert [web.get("/").json() for _ in range(2)] == [200, 200]
    gc.collect()
    assert upstream.hits == 4
    asyncio.run(api.close())
