"""Health checks, cancelled at each suspension: no request, connection, task or timer is left."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from resilient_client import HealthReport, Probe, Prober, probe
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.cancellation import World, sweep_cancellation
from resilient_client.testing.faults import reply


def probe_world(scenario: Callable[[dict[str, Any]], Callable[[], Awaitable[object]]]) -> World:
    """Create a world with a slow server and a database that is pinged. Both must be healthy afterwards."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Callable[[], Awaitable[object]]]:
        pinging = 0

        async def ping() -> None:
            nonlocal pinging
            pinging += 1
            try:
                await asyncio.sleep(0.004)
            finally:
                pinging -= 1

        async with FaultServer() as server:
            server.script(reply(delay=0.003))
            targets = {"users": server.url, "mail": Probe(server.url, critical=False), "db": ping}
            yield scenario(targets)
            assert pinging == 0
            async with asyncio.timeout(60):
                while server.active:
                    await asyncio.sleep(0)
            assert (await probe(targets)).ok

    return world


async def test_probe_cancelled_anywhere_leaves_nothing() -> None:
    """The fan-out, its requests and the user's function all end."""
    report = await sweep_cancellation(probe_world(lambda targets: lambda: probe(targets)))
    assert report.reached("DirectPath.send")
    assert report.reached("_await_function")


async def test_shared_check_cancelled_anywhere_leaves_nothing() -> None:
    """A shared check is a task of its own, which ends with the last waiting caller."""

    async def check(targets: dict[str, Any]) -> HealthReport:
        async with Prober(targets) as prober:
            return await prober.check()

    report = await sweep_cancellation(probe_world(lambda targets: lambda: check(targets)))
    assert report.reached("SingleFlight.join")


async def test_shared_check_survives_one_cancelled_caller() -> None:
    """If one of two callers is cancelled, the other one still gets its report."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Callable[[], Awaitable[object]]]:
        async with FaultServer() as server, Prober([server.url]) as prober:
            server.script(reply(delay=0.003))
            other = asyncio.create_task(prober.check())
            yield prober.check
            assert (await other).ok

    assert await sweep_cancellation(world)
