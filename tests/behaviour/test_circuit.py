"""A circuit keeps calls away from a failing upstream, and never from a healthy one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.behaviour.support import client, failure, soon, with_server

from resilient_client import (
    APIClient,
    APIError,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ConnectionSettings,
    Endpoint,
    ErrorKind,
    InternalServerError,
    Retry,
    Timeout,
    deadline,
)
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.circuit.circuit import Circuit
from resilient_client.testing import MockUpstream
from resilient_client.testing import reply as mock_reply
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import hang_before_headers, hold, redirect, reply

QUICK = CircuitBreaker(minimum_calls=4, failure_ratio=0.5, break_duration=0.02, max_break_duration=0.02)
LONG = CircuitBreaker(minimum_calls=4, failure_ratio=0.5, break_duration=60)


@pytest.fixture
async def api(server: FaultServer) -> AsyncIterator[APIClient]:
    """One wire request a call, and a circuit that recovers at once."""
    async with client(server, circuit_breaker=QUICK) as api:
        yield api


def circuit_of(api: APIClient, server: FaultServer) -> Circuit:
    return api.circuits[Endpoint("http", "127.0.0.1", server.port)]


async def fail(api: APIClient, times: int) -> None:
    for _ in range(times):
        with pytest.raises(InternalServerError):
            await api.get("/")


# --- closed: what opens it, and what never does ---


async def test_open_circuit_refuses_without_sending(server: FaultServer) -> None:
    """The fourth call makes half of four failed: the fifth is refused, and the server never sees it."""
    server.script(reply(200), reply(200), reply(500), reply(500))
    async with client(server, circuit_breaker=LONG) as api:
        await api.get("/")
        await api.get("/")
        await fail(api, 2)
        error = await failure(api.get("/"))
    assert isinstance(error, CircuitOpenError)
    assert server.hits == 4


async def test_circuit_off_sends_every_call(server: FaultServer) -> None:
    """Negative control: without the pattern a dead upstream gets every single call."""
    server.script(reply(500))
    async with client(server, circuit_breaker=None) as api:
        await fail(api, 20)
    assert server.hits == 20
    assert dict(api.circuits) == {}


async def test_refusal_names_retry_time(server: FaultServer) -> None:
    """The error has the rest of the break, counts no attempt, and cannot have been processed."""
    server.script(reply(500))
    async with client(server, circuit_breaker=LONG) as api:
        await fail(api, 4)
        error = await failure(api.post("/", json={}))
    assert isinstance(error, CircuitOpenError)
    assert error.retry_after == pytest.approx(60 * 1.125, abs=10)
    assert (error.attempts, error.maybe_processed, error.kind) == (0, False, ErrorKind.CIRCUIT_OPEN)


async def test_below_minimum_calls_stays_closed(server: FaultServer, api: APIClient) -> None:
    """Three failures of three are too few to say anything."""
    server.script(reply(500))
    await fail(api, 3)
    assert circuit_of(api, server).state is CircuitState.CLOSED


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429])
async def test_client_errors_never_open_circuit(server: FaultServer, api: APIClient, status: int) -> None:
    """A server that says 4xx, or 429, is alive."""
    server.script(reply(status))
    for _ in range(12):
        await failure(api.get("/"))
    assert server.hits == 12
    assert circuit_of(api, server).failure_ratio(asyncio.get_running_loop().time()) == 0


async def test_circuit_counts_every_attempt(server: FaultServer) -> None:
    """It stands inside retry: two calls of three attempts open a circuit of four."""
    server.script(reply(500))
    retry = Retry(max_attempts=3, backoff={"kind": "fixed", "initial": 0.001})
    async with APIClient(server.url, retry=retry, circuit_breaker=LONG) as api:
        await failure(api.get("/"))
        await failure(api.get("/"))
    assert server.hits == 4


async def test_refused_retry_raises_last_real_error(server: FaultServer) -> None:
    """A call whose second attempt is refused ends with the 500 it received."""
    server.script(reply(500))
    retry = Retry(max_attempts=3, backoff={"kind": "fixed", "initial": 0.001})
    async with APIClient(server.url, retry=retry, circuit_breaker=LONG) as api:
        await failure(api.get("/"))
        error = await failure(api.get("/"))
    assert isinstance(error, InternalServerError)
    assert error.attempts == 1


def test_circuit_counts_attempt_timeouts() -> None:
    """A server that does not answer in an attempt's time is failing."""

    async def scenario(server: FaultServer) -> None:
        server.script(hang_before_headers())
        async with client(server, circuit_breaker=LONG, timeout=Timeout(total=5, attempt=0.15)) as api:
            for _ in range(4):
                assert (await failure(api.get("/"))).kind is ErrorKind.TIMEOUT
            assert isinstance(await failure(api.get("/")), CircuitOpenError)
        assert server.hits == 4

    with_server(scenario)


def test_hung_upstream_opens_circuit() -> None:
    """With total == attempt the deadline always fires first, and that silence counts too."""

    async def scenario(server: FaultServer) -> None:
        server.script(hang_before_headers())
        async with client(server, circuit_breaker=LONG, timeout=Timeout(total=0.2, attempt=0.2)) as api:
            for _ in range(4):
                await failure(api.get("/"))
            assert isinstance(await failure(api.get("/")), CircuitOpenError)
        assert server.hits == 4

    with_server(scenario)


@pytest.mark.parametrize("streamed", [False, True], ids=["buffered", "streamed"])
def test_hung_upstream_opens_circuit_of_one_caller(streamed: bool) -> None:
    """With the defaults: a caller that waits for each answer gets one timeout per window, and five are enough."""

    async def scenario(server: FaultServer) -> None:
        server.script(hang_before_headers())
        async with client(server, circuit_breaker=CircuitBreaker(), timeout=Timeout()) as api:

            async def call() -> APIError:
                if not streamed:
                    return await failure(api.get("/"))
                with pytest.raises(APIError) as caught:
                    async with api.stream("GET", "/"):
                        pass
                return caught.value

            for _ in range(5):
                assert (await call()).kind is ErrorKind.TIMEOUT
            assert isinstance(await call(), CircuitOpenError)
        assert server.hits == 5

    with_server(scenario)


def test_circuit_ignores_nearly_spent_deadlines() -> None:
    """30 ms of silence where an attempt is allowed 10 s prove nothing against the upstream."""

    async def scenario(server: FaultServer) -> None:
        server.script(hang_before_headers())
        async with client(server, circuit_breaker=LONG, timeout=Timeout(total=30, attempt=10)) as api:
            for _ in range(6):
                with deadline(after=0.03):
                    assert (await failure(api.get("/"))).kind is ErrorKind.DEADLINE
            assert circuit_of(api, server).failure_ratio(asyncio.get_running_loop().time()) == 0
        assert server.hits == 6

    with_server(scenario)


@pytest.mark.virtual_time
async def test_slow_calls_open_circuit(server: FaultServer) -> None:
    """Good answers that are all too slow open it."""
    server.script(reply(200, delay=0.02))
    breaker = CircuitBreaker(minimum_calls=3, slow_call=0.005, break_duration=60)
    async with client(server, circuit_breaker=breaker) as api:
        for _ in range(3):
            await api.get("/")
        assert isinstance(await failure(api.get("/")), CircuitOpenError)
    assert server.hits == 3


@pytest.mark.virtual_time
async def test_busy_pool_leaves_circuit_closed(server: FaultServer) -> None:
    """Calls that time out waiting in a full pool do not count against a healthy host."""
    held = hold()
    server.script(held)
    connection = ConnectionSettings(pool_size=1)
    async with client(server, circuit_breaker=LONG, connection=connection) as api:
        slow = asyncio.create_task(api.get("/slow"))
        await soon(server.wait_for_hits(1))
        errors = [await failure(api.get("/", timeout=Timeout(attempt=0.1))) for _ in range(6)]
        assert {error.kind for error in errors} == {ErrorKind.POOL}
        assert circuit_of(api, server).state is CircuitState.CLOSED
        held.release()
        await soon(slow)
        await api.get("/")


@pytest.mark.virtual_time
async def test_busy_pool_of_bare_aiohttp_control(server: FaultServer) -> None:
    """Negative control: aiohttp reports a full pool exactly as it reports a silent host."""
    held = hold()
    server.script(held)
    timeout = aiohttp.ClientTimeout(total=0.05)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        slow = asyncio.create_task(session.get(server.url))
        await soon(server.wait_for_hits(1))
        with pytest.raises(TimeoutError) as queued:
            await session.get(server.url, timeout=timeout)
        held.release()
        (await soon(slow)).release()
        server.script(hang_before_headers())
        with pytest.raises(TimeoutError) as silent:
            await session.get(server.url, timeout=timeout)
    assert (type(queued.value), str(queued.value)) == (type(silent.value), str(silent.value))


# --- what is not the upstream's fault ---


class NoToken:
    """Auth whose token cannot be had."""

    async def apply(self, request: Request) -> None:
        raise ConnectionError("the token endpoint is down")

    async def refresh(self, rejected: Response) -> bool:
        return False


async def broken_middleware(request: Request, call_next: Handler) -> Response:
    raise RuntimeError("a bug of the user's")


async def broken_afterwards(request: Request, call_next: Handler) -> Response:
    await call_next(request)
    raise RuntimeError("a bug of the user's")


@pytest.mark.parametrize(
    "options",
    [{"auth": NoToken()}, {"attempt_middleware": [broken_middleware]}, {"attempt_middleware": [broken_afterwards]}],
    ids=["auth", "middleware", "middleware after the reply"],
)
async def test_circuit_ignores_local_failures(server: FaultServer, options: dict[str, object]) -> None:
    """Credentials that cannot be had and bugs in middlewares say nothing about the upstream."""
    async with client(server, circuit_breaker=LONG, **options) as api:
        for _ in range(8):
            with pytest.raises((RuntimeError, APIError)):
                await api.get("/")
        assert circuit_of(api, server).failure_ratio(asyncio.get_running_loop().time()) == 0
        assert circuit_of(api, server).state is CircuitState.CLOSED


async def test_circuit_ignores_forbidden_redirect(server: FaultServer) -> None:
    """Our policy is not the upstream's failure."""
    server.script(redirect("http://other.example/"))
    async with client(server, circuit_breaker=LONG) as api:
        for _ in range(8):
            assert (await failure(api.get("/"))).kind is ErrorKind.REDIRECT
    assert server.hits == 8


async def test_circuit_is_per_port(server: FaultServer) -> None:
    """The key is scheme, host and port."""
    server.script(reply(500))
    async with FaultServer() as healthy, APIClient(retry=None, circuit_breaker=LONG) as api:
        for _ in range(4):
            await failure(api.get(server.url))
        assert isinstance(await failure(api.get(server.url)), CircuitOpenError)
        await api.get(healthy.url)
        assert len(api.circuits) == 2
        assert healthy.hits == 1


@pytest.mark.virtual_time
async def test_circuits_of_dead_origins_are_dropped() -> None:
    """A crawler meets dead origins for hours: the open circuits of those it left behind make room for others."""
    upstream = MockUpstream()
    upstream.script(mock_reply(503))
    async with APIClient(transport=upstream, retry=None, circuit_breaker=LONG) as api:
        assert api._runtime.circuits is not None
        api._runtime.circuits._limit = 3
        for number in range(9):
            for _ in range(4):
                await failure(api.get(f"https://dead-{number}.example.com/"))
            await asyncio.sleep(60)
        hosts = [endpoint.host for endpoint in api.circuits]
    assert hosts == ["dead-6.example.com", "dead-7.example.com", "dead-8.example.com"]
    assert upstream.hits == 36


# --- people ---


async def test_forced_open_refuses_until_reset(server: FaultServer, api: APIClient) -> None:
    """An operator can take a healthy endpoint out and back in."""
    await api.get("/")
    circuit = circuit_of(api, server)
    circuit.force_open()
    assert isinstance(await failure(api.get("/")), CircuitOpenError)
    circuit.reset()
    await api.get("/")
    assert server.hits == 2


async def test_forced_closed_admits_everything(server: FaultServer, api: APIClient) -> None:
    """A person can keep it from ever opening."""
    server.script(reply(500))
    await fail(api, 1)
    circuit_of(api, server).force_close()
    await fail(api, 20)
    assert server.hits == 21


async def test_metrics_only_refuses_nothing(server: FaultServer) -> None:
    """Events show what the circuit would do, and every call is sent."""
    server.script(reply(500))
    breaker = CircuitBreaker(minimum_calls=4, break_duration=60, mode="metrics_only")
    async with client(server, circuit_breaker=breaker) as api:
        await fail(api, 12)
        assert circuit_of(api, server).state is CircuitState.OPEN
    assert server.hits == 12
