"""A misbehaving upstream in a thread of its own, so that the program under test may run in this one or in a process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from resilient_client.testing.fault_server import FaultServer


@contextmanager
def running() -> Iterator[FaultServer]:
    """A started `FaultServer`; script it from here, but before the requests come."""
    started: threading.Event = threading.Event()
    kept: list[FaultServer] = []
    loop = asyncio.new_event_loop()
    done = asyncio.Event()

    async def serve() -> None:
        async with FaultServer() as server:
            kept.append(server)
            started.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(5)
    try:
        yield kept[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(5)
        loop.close()
