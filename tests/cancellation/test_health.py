"""Health checks cancelled wherever they wait: no request, connection, task or timer is left."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from resilient_client import HealthReport, Probe, Prober, probe
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.cancellation import World, sweep_cancellation
from resilient_client.testing.faults import reply


def world_of(scenario: Callable[[dict[str, Any]], Callable[[], Awaitable[object]]]) -> World:
    """A slow server, a database that is pinged, and both well again afterwards."""

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


async def test_probe_cancelled_anywhere_leaves_nothing_behind() -> None:
    """Neither the fan-out, nor a request, nor a function of the user's goes on."""
    report = await sweep_cancellation(world_of(lambda targets: lambda: probe(targets)))
    assert report.reached("DataQueue.read")
    assert report.reached("_awaited")


async def test_shared_check_cancelled_anywhere_leaves_nothing_behind() -> None:
    """The check is a task of its own there, and ends with the last who waits for it."""

    async def check(targets: dict[str, Any]) -> HealthReport:
        async with Prober(targets) as prober:
            return await prober.check()

    report = await sweep_cancellation(world_of(lambda targets: lambda: check(targets)))
    assert report.reached("SingleFlight.join")


async def test_one_of_two_who_share_a_check_cancelled_anywhere_does_not_harm_the_other() -> None:
    """The other one still gets its report."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Callable[[], Awaitable[object]]]:
        async with FaultServer() as server, Prober([server.url]) as prober:
            server.script(reply(delay=0.003))
            other = asyncio.create_task(prober.check())
            yield prober.check
            assert (await other).ok

    assert await sweep_cancellation(world)
