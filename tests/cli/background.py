"""A misbehaving upstream in its own thread: the program under test runs in the main thread or in a process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from resilient_client.testing._fault_server import FaultServer


class BackgroundServer(FaultServer):
    """A `FaultServer` on the event loop of another thread. Script it before the requests arrive."""

    loop: asyncio.AbstractEventLoop

    def soon(self, function: Callable[[], object]) -> None:
        """Run ``function`` on the server's loop, such as the release of a held request."""
        self.loop.call_soon_threadsafe(function)


@contextmanager
def running() -> Iterator[BackgroundServer]:
    """Start a server in a thread. Both end with the block."""
    server, started, done = BackgroundServer(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        server.loop = asyncio.get_running_loop()
        async with server:
            started.set()
            await done.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(5)
    try:
        yield server
    finally:
        server.soon(done.set)
        thread.join(5)
