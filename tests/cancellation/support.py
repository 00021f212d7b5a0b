"""Shared by the sweeps: requests without a client, upstreams in memory, and timeouts that fire on demand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from random import Random
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from resilient_client import APIClient
from resilient_client._core.attempt import Attempt
from resilient_client._core.call import Call
from resilient_client._core.context import CallContext, ClientContext
from resilient_client._core.deadline import TaskTimeout
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import APIError
from resilient_client._core.listeners import Events
from resilient_client._core.protocols import Auth
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._settings.call_settings import CallSettings
from resilient_client._settings.hedging import Hedging
from resilient_client._settings.retry import Retry
from resilient_client._settings.timeout import Timeout
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import Step
from resilient_client.testing.cancellation import World
from resilient_client.testing.faults import reply

ORDERS = URL("https://api.example.com/orders")
ENDPOINT = Endpoint.of(ORDERS)

# For sweeps of code that does not depend on the event loop. Both loops are covered by the sweeps of the transport.
one_loop = pytest.mark.asyncio(loop_factories=["asyncio"])


Scenario = Callable[[], Awaitable[object]]


async def pause() -> None:
    await asyncio.sleep(0.01)


def bare_world(scenario: Scenario) -> World:
    """Create a world without checks."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Scenario]:
        yield scenario

    return world


def make_request(retry: Retry | None = None, hedging: Hedging | None = None) -> Request:
    """Create a request on the running loop as the client builds it, with the record of a first attempt."""
    loop = asyncio.get_running_loop()
    client = ClientContext("test", Events(), Random(0))
    client.use_loop(loop)
    limits = Timeout().limits()
    assert limits.total is not None
    now = loop.time()
    context = CallContext(
        Call.get("/orders"), client, CallSettings(limits, retry, hedging=hedging), now, now + limits.total
    )
    context.upstream = ENDPOINT
    return Request("GET", ORDERS, CIMultiDict(), None, context, Attempt(1, ENDPOINT, 0.0))


class Upstream:
    """Answers in memory after two waits, with the statuses or errors of a script. The last one repeats."""

    def __init__(self, *script: int | APIError, location: str = "/elsewhere") -> None:
        self.script = list(script or (200,))
        self.location = location
        self.started = 0
        self.active = 0

    async def __call__(self, request: Request) -> Response:
        self.started += 1
        self.active += 1
        try:
            await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
        finally:
            self.active -= 1
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, APIError):
            raise step
        headers = CIMultiDict({"Location": self.location} if 300 <= step < 400 else {})
        return Response(step, CIMultiDictProxy(headers), b"", request.url)


def client_world(
    scenario: Callable[[APIClient], Scenario],
    *steps: Step,
    arrange: Callable[[FaultServer, APIClient], AbstractAsyncContextManager[object]] | None = None,
    faults: bool = False,
    auth: Callable[[], Auth] | None = None,
    **settings: Any,
) -> World:
    """Create a world with a client of a real server that checks afterwards everything that must hold.

    Args:
        scenario: Returns the scenario to cancel, for a client.
        steps: The script of the server.
        arrange: A context around the scenario.
        faults: Whether the server's replies may count as failures in a circuit.
        auth: Creates the credentials of a world.
        settings: Passed to the client.
    """

    @asynccontextmanager
    async def world() -> AsyncIterator[Scenario]:
        credentials = None if auth is None else auth()
        async with FaultServer() as server, APIClient(server.url, auth=credentials, **settings) as api:
            server.script(*steps)
            async with arrange(server, api) if arrange is not None else nullcontext():
                yield scenario(api)
            await assert_nothing_held(api, server)
            now = asyncio.get_running_loop().time()
            assert faults or all(circuit.failure_ratio(now) == 0.0 for circuit in api.circuits.values())
            server.script(reply(json={"fine": True}))
            assert (await api.get("/afterwards")).json() == {"fine": True}
            assert [request.path for request in server.requests].count("/afterwards") == 1
            await assert_nothing_held(api, server)

    return world


async def assert_nothing_held(api: APIClient, server: FaultServer) -> None:
    """No pool slot, timeout or connection is in use or waited for, and the server has no active request."""
    runtime = api._runtime
    assert (runtime.timer.active, runtime.timer._handle) == (0, None)
    transport = runtime.transport
    if transport._pool is not None:
        assert (transport._pool.in_use, transport._pool.waiting) == (0, 0)
    if transport._session is not None:
        assert not transport._session.connector._acquired
    if (direct := transport._direct_path) is not None:
        assert len(direct._open) == len(direct._idle)
    async with asyncio.timeout(60):
        while server.active:
            await asyncio.sleep(0)


class Timeouts:
    """The pending timeouts of the library. `fire` makes the latest one fire."""

    def __init__(self) -> None:
        self.pending: list[TaskTimeout] = []
        self.fired = 0

    def fire(self, _task: asyncio.Task[Any]) -> None:
        """Fire the timeout that was set last, as if its time had just come."""
        if self.pending:
            timeout = self.pending[-1]
            self.fired += 1
            timeout._ends_at = asyncio.get_running_loop().time()
            timeout.fire()

    def fire_then_cancel(self, task: asyncio.Task[Any]) -> None:
        """Interrupt twice in one tick: the timeout fires, then the caller cancels."""
        self.fire(task)
        task.cancel()

    def cancel_then_fire(self, task: asyncio.Task[Any]) -> None:
        """Interrupt twice in one tick: the caller cancels, then the timeout fires."""
        task.cancel()
        self.fire(task)


@contextmanager
def watched_timeouts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Timeouts]:
    """Record the timeouts that the library sets inside the block. None may be pending at its end."""
    timeouts = Timeouts()

    class RecordedTimeout(TaskTimeout):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            timeouts.pending.append(self)

        def close(self) -> None:
            super().close()
            if self in timeouts.pending:
                timeouts.pending.remove(self)

    for module in (
        "_middleware.deadline",
        "_middleware.attempt",
        "_middleware.coalesce",
        "_call.stream",
        "_call.fallback",
    ):
        monkeypatch.setattr(f"resilient_client.{module}.TaskTimeout", RecordedTimeout)
    yield timeouts
    assert not timeouts.pending


def ended_with(*kinds: type[Exception], or_success: bool = False) -> Callable[[asyncio.Task[Any]], str]:
    """Create the verdict on a task in which a timeout of the library fired: it must end with one of these errors.

    Every cancellation must be accounted for. With ``or_success`` the task may also return a result.
    """

    def verdict(task: asyncio.Task[Any]) -> str:
        if task.cancelled():
            return "the timeout came out as a cancellation"
        error = task.exception()
        if not (or_success if error is None else isinstance(error, kinds)):
            return f"the task ended with {error or task.result()!r}"
        return "" if task.cancelling() == 0 else f"task.cancelling() is {task.cancelling()} instead of 0"

    return verdict
