"""A service that watches its event loop: which function blocks it, which call waits for long, which task is lost.

The three faults are common ones: a blocking call in a coroutine, an upstream that hangs, a task without a reference.
Needs: ``pip install resilient-client``
"""

import asyncio
import gc
import time
from pathlib import Path

from resilient_client import APIClient, APIError, CallInFlight
from resilient_client.telemetry import LoopEvent, LoopMonitor, LoopWasLate, TaskLost
from resilient_client.testing import FaultServer
from resilient_client.testing.faults import hang_before_headers


def read_catalogue() -> None:
    """Stand for a driver that blocks. ``await asyncio.to_thread(read_catalogue)`` would not block the loop."""
    time.sleep(1)


async def refresh_prices() -> None:
    """Wait for something that never comes."""
    await asyncio.get_running_loop().create_future()


def report(event: LoopEvent) -> None:
    """Print what the monitor finds. A service would count it, or pass it to its alerting."""
    match event:
        case LoopWasLate(place=place) if place is not None:
            print(f"late:  blocked by {place.function} ({Path(place.file).name}:{place.line})")
        case TaskLost(coroutine=coroutine):
            print(f"lost:  a task of {coroutine}")
        case CallInFlight() as call:
            print(f"long:  {call.method} {call.route}, stage {call.stage}, waits for {call.waits_for}")


async def main() -> None:
    """Cause each of the three faults, with a monitor that is on."""
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: print(f"asyncio: {context['message']}"))
    async with FaultServer() as server, APIClient(server.url, retry=None) as api:
        server.route("GET", "/users/7", hang_before_headers())
        async with LoopMonitor(api, late_after=0.4, long_call=0.5, listener=report) as monitor:
            read_catalogue()
            asyncio.create_task(refresh_prices())  # noqa: RUF006 -- one of the faults
            try:
                await api.get("/users/{id}", path_params={"id": 7}, timeout=2.5)
            except APIError as error:
                print(f"ended: {error.kind}")
            gc.collect()
            await asyncio.sleep(0.2)
            health = monitor.snapshot()
    print(f"total: blocked {health.blocked[0].times}, lost {health.lost_count}, long now {health.long_call_count}")


if __name__ == "__main__":
    asyncio.run(main())
