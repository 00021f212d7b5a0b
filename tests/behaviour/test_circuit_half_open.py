"""The rule of the circuit, half-open: a few probes find out, and nothing else decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.behaviour.support import cancelled, client, failure, soon, turns

from resilient_client import APIClient, CircuitBreaker, CircuitOpenError, CircuitState, Endpoint
from resilient_client._core.events import CircuitClosed, CircuitEvent, CircuitHalfOpened, CircuitOpened, Event
from resilient_client._policies.circuit.circuit import Circuit
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import hang_before_headers, hold, reply

pytestmark = pytest.mark.virtual_time

QUICK = CircuitBreaker(minimum_calls=4, failure_ratio=0.5, break_duration=0.2, half_open_probes=3)


@pytest.fixture
async def api(server: FaultServer) -> AsyncIterator[APIClient]:
    """One wire request a call, and a circuit that recovers at once."""
    async with client(server, circuit_breaker=QUICK) as api:
        yield api


async def broken(api: APIClient, server: FaultServer) -> Circuit:
    """Open the circuit by four failures, and wait until its break is over."""
    server.script(reply(500))
    for _ in range(4):
        await failure(api.get("/"))
    circuit = api.circuits[Endpoint("http", "127.0.0.1", server.port)]
    assert circuit.opened_until is not None
    while not circuit.would_admit(asyncio.get_running_loop().time()):
        await asyncio.sleep(circuit.opened_until - asyncio.get_running_loop().time())
    return circuit


async def test_half_open_admits_three_of_fifty(server: FaultServer, api: APIClient) -> None:
    """50 at once against a half-open circuit: three probes reach the server, 47 are refused."""
    await broken(api, server)
    held, before = hold(), server.hits
    server.script(held)
    callers = [asyncio.create_task(failure(api.get("/"))) for _ in range(50)]
    await soon(server.wait_for_hits(before + 3))
    await turns(50)
    assert server.hits - before == 3
    assert sum(caller.done() for caller in callers) == 47
    await cancelled(callers)


async def test_half_open_closes_after_successes(server: FaultServer, api: APIClient) -> None:
    """Three good probes, and everybody may call again."""
    circuit = await broken(api, server)
    server.script(reply(200))
    await api.get("/")
    await api.get("/")
    assert circuit.state is CircuitState.HALF_OPEN
    await api.get("/")
    assert circuit.state is CircuitState.CLOSED


async def test_half_open_reopens_on_failure(server: FaultServer, api: APIClient) -> None:
    """Two good probes do not outweigh a bad one."""
    circuit = await broken(api, server)
    server.script(reply(200), reply(200), reply(500))
    await api.get("/")
    await api.get("/")
    await failure(api.get("/"))
    assert circuit.state is CircuitState.OPEN


async def test_cancelled_probes_return_permits(server: FaultServer, api: APIClient) -> None:
    """Cancelled probes neither close nor open it, and three new ones may follow at once, again and again."""
    circuit = await broken(api, server)
    server.script(hang_before_headers())
    for _ in range(3):
        before = server.hits
        probes = [asyncio.create_task(api.get("/")) for _ in range(3)]
        await soon(server.wait_for_hits(before + 3))
        assert isinstance(await failure(api.get("/")), CircuitOpenError)
        await cancelled(probes)
        assert circuit.state is CircuitState.HALF_OPEN


async def test_hanging_probe_is_replaced(server: FaultServer) -> None:
    """A probe that hangs is not waited for: after another break the next one is sent, and its answer closes."""
    one_probe = QUICK.model_copy(update={"half_open_probes": 1})
    async with client(server, circuit_breaker=one_probe) as api:
        circuit = await broken(api, server)
        held, before = hold(), server.hits
        server.script(held, reply(200))
        hanging = asyncio.create_task(api.get("/"))
        await soon(server.wait_for_hits(before + 1))
        assert isinstance(await failure(api.get("/")), CircuitOpenError)
        while not circuit.would_admit(asyncio.get_running_loop().time()):
            await asyncio.sleep(0.01)
        await api.get("/")
        assert circuit.state is CircuitState.CLOSED
        await cancelled([hanging])


@pytest.mark.parametrize("late", [200, 500])
async def test_half_open_ignores_stale_result(server: FaultServer, api: APIClient, late: int) -> None:
    """A call that began while it was closed, and ends while it is half-open, changes nothing."""
    held = hold(reply(late))
    server.route("GET", "/old", held)
    old = asyncio.create_task(api.get("/old", raise_for_status=False))
    await soon(server.wait_for_hits(1))
    circuit = await broken(api, server)
    server.script(reply(200))
    await api.get("/")
    before = circuit.describe(0)
    held.release()
    await soon(old)
    assert circuit.describe(0) == before
    assert circuit.state is CircuitState.HALF_OPEN


async def test_half_open_counts_404_as_success(server: FaultServer, api: APIClient) -> None:
    """Any answer that is no failure closes it."""
    circuit = await broken(api, server)
    server.script(reply(404))
    for _ in range(3):
        await failure(api.get("/"))
    assert circuit.state is CircuitState.CLOSED


async def test_events_from_opened_to_closed(server: FaultServer, api: APIClient) -> None:
    """Opened, half-opened, closed: in this order, once each, with the endpoint."""
    events: list[Event] = []
    api.subscribe(events.append)
    await broken(api, server)
    server.script(reply(200))
    for _ in range(3):
        await api.get("/")
    told = [event for event in events if isinstance(event, CircuitEvent)]
    assert [type(event) for event in told] == [CircuitOpened, CircuitHalfOpened, CircuitClosed]
    assert {event.endpoint.port for event in told} == {server.port}
