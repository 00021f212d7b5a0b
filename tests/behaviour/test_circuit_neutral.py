"""The rule of blame: a circuit counts against its endpoint what that endpoint did, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.behaviour.support import client, failure, soon

from resilient_client import APIClient, CircuitBreaker, CircuitState, Endpoint, ErrorKind, Retry, Timeout
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.circuit.circuit import Circuit
from resilient_client.testing import refused_url
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import close_idle, drop, hang_before_headers, hold, redirect, reply

pytestmark = [pytest.mark.usefixtures("both_paths"), pytest.mark.one_loop]

BREAKER = CircuitBreaker(minimum_calls=3, failure_ratio=0.2, break_duration=60)


@pytest.fixture
async def elsewhere() -> AsyncIterator[FaultServer]:
    """Another origin."""
    async with FaultServer() as elsewhere:
        yield elsewhere


def circuit_of(api: APIClient, server: FaultServer) -> Circuit:
    return api.circuits[Endpoint("http", "127.0.0.1", server.port)]


# --- stale connections ---


async def test_idle_close_leaves_circuit_closed(server: FaultServer) -> None:
    """Every second attempt meets a connection that was just closed: all calls succeed, and nobody is blamed."""
    server.script(close_idle())
    async with client(server, retry=Retry(max_attempts=3), circuit_breaker=BREAKER) as api:
        replies = [await api.get("/") for _ in range(30)]
        assert circuit_of(api, server).state is CircuitState.CLOSED
        assert circuit_of(api, server).failure_ratio(asyncio.get_running_loop().time()) == 0
    assert sum(response.attempts for response in replies) == server.hits > 30


async def test_dropped_connections_open_circuit(server: FaultServer) -> None:
    """Negative control: a connection that was never used before is lost by the server's fault."""
    server.script(drop())
    async with client(server, circuit_breaker=BREAKER) as api:
        for _ in range(3):
            await failure(api.get("/"))
        assert circuit_of(api, server).state is CircuitState.OPEN


# --- redirects to another origin ---


async def test_dead_redirect_target_is_neutral(server: FaultServer) -> None:
    """Who only points the way is not to blame for a target that refuses."""
    server.script(redirect(f"{refused_url()}/"))
    async with client(server, circuit_breaker=BREAKER, follow_redirects="any") as api:
        for _ in range(6):
            assert (await failure(api.get("/"))).kind is ErrorKind.CONNECT
        assert circuit_of(api, server).state is CircuitState.CLOSED
    assert server.hits == 6


async def test_failing_redirect_target_is_neutral(server: FaultServer, elsewhere: FaultServer) -> None:
    """The status is the target's."""
    server.script(redirect(f"{elsewhere.url}/"))
    elsewhere.script(reply(500))
    async with client(server, circuit_breaker=BREAKER, follow_redirects="any") as api:
        for _ in range(6):
            await failure(api.get("/"))
        assert circuit_of(api, server).state is CircuitState.CLOSED


@pytest.mark.virtual_time
async def test_silent_redirect_target_is_neutral(server: FaultServer, elsewhere: FaultServer) -> None:
    """The silence that our alarm ends is the target's."""
    server.script(redirect(f"{elsewhere.url}/"))
    elsewhere.script(hang_before_headers())
    limit = Timeout(attempt=0.05)
    async with client(server, circuit_breaker=BREAKER, follow_redirects="any", timeout=limit) as api:
        for _ in range(4):
            assert (await failure(api.get("/"))).kind is ErrorKind.TIMEOUT
        assert circuit_of(api, server).state is CircuitState.CLOSED


@pytest.mark.virtual_time
async def test_slow_redirect_target_is_neutral(server: FaultServer, elsewhere: FaultServer) -> None:
    """A quick redirect to a slow target is a quick answer."""
    server.script(redirect(f"{elsewhere.url}/"))
    elsewhere.script(reply(200, delay=0.05))
    breaker = CircuitBreaker(minimum_calls=1, slow_call=0.04, slow_ratio=0.1)
    async with client(server, circuit_breaker=breaker, follow_redirects="any") as api:
        await api.get("/")
        assert circuit_of(api, server).state is CircuitState.CLOSED


async def test_redirect_to_itself_opens_circuit(server: FaultServer) -> None:
    """Negative control: at home, the target's failure is the endpoint's own."""
    server.route("GET", "/old", redirect("/new"))
    server.route("GET", "/new", reply(500))
    async with client(server, circuit_breaker=BREAKER, follow_redirects="any") as api:
        for _ in range(3):
            await failure(api.get("/old"))
        assert circuit_of(api, server).state is CircuitState.OPEN


async def test_resend_after_redirect_is_counted(server: FaultServer, elsewhere: FaultServer) -> None:
    """The second sending goes to the endpoint again: where the first one was led is forgotten."""
    server.script(redirect(f"{elsewhere.url}/"), reply(500))

    async def twice(request: Request, call_next: Handler) -> Response:
        await call_next(request.copy())
        return await call_next(request)

    breaker = CircuitBreaker(minimum_calls=1, break_duration=60)
    async with client(server, circuit_breaker=breaker, follow_redirects="any", attempt_middleware=[twice]) as api:
        assert (await failure(api.get("/"))).kind is ErrorKind.SERVER_ERROR
        assert circuit_of(api, server).state is CircuitState.OPEN
    assert (server.hits, elsewhere.hits) == (2, 1)


# --- a session of the caller's ---


@pytest.mark.parametrize("limit", [Timeout(attempt=0.03), Timeout(connect=0.03)], ids=["attempt", "connect"])
@pytest.mark.virtual_time
async def test_pool_of_callers_session_is_neutral(server: FaultServer, limit: Timeout) -> None:
    """Others use up the caller's own pool: nobody can tell that from a silent host, so the host is not blamed."""
    held = hold()
    server.script(held)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
        client(server, session=session, circuit_breaker=BREAKER, timeout=limit) as api,
    ):
        slow = asyncio.create_task(session.get(server.url))
        await soon(server.wait_for_hits(1))
        errors = [await failure(api.get("/")) for _ in range(4)]
        assert {error.kind for error in errors} == {ErrorKind.TIMEOUT}
        assert circuit_of(api, server).state is CircuitState.CLOSED
        held.release()
        (await soon(slow)).close()
    assert server.hits == 1


@pytest.mark.virtual_time
async def test_silence_on_callers_session_counts(server: FaultServer) -> None:
    """Negative control: once the request is sent, it is the host that is silent."""
    server.script(hang_before_headers())
    async with (
        aiohttp.ClientSession() as session,
        client(server, session=session, circuit_breaker=BREAKER, timeout=Timeout(attempt=0.03)) as api,
    ):
        for _ in range(3):
            await failure(api.get("/"))
        assert circuit_of(api, server).state is CircuitState.OPEN


async def test_refusal_on_callers_session_counts() -> None:
    """Negative control: the system's own word that nobody listens is no guess."""
    async with (
        aiohttp.ClientSession() as session,
        client(refused_url(), session=session, circuit_breaker=BREAKER) as api,
    ):
        for _ in range(3):
            await failure(api.get("/"))
        assert [circuit.state for circuit in api.circuits.values()] == [CircuitState.OPEN]
