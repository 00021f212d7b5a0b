"""What the sweeps share: requests outside any client, upstreams in memory, and our own alarms as a blow."""

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
from resilient_client._core.events import Events
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


def a_request(retry: Retry | None = None, hedging: Hedging | None = None) -> Request:
    """The request of a call on the running loop, as the edge makes it, with the record of a first attempt."""
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
    """Answers in memory after two waits: with the statuses or errors of a script, whose last one repeats."""

    def __init__(self, *script: int | APIError, location: str = "/elsewhere") -> None:
        self.script = list(script or (200,))
        self.location = location
        self.begun = 0
        self.active = 0

    async def __call__(self, request: Request) -> Response:
        self.begun += 1
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


def world_of(
    scenario: Callable[[APIClient], Callable[[], Awaitable[object]]],
    *steps: Step,
    arrange: Callable[[FaultServer, APIClient], AbstractAsyncContextManager[object]] | None = None,
    faults: bool = False,
    auth: Callable[[], Auth] | None = None,
    **settings: Any,
) -> World:
    """A client of a real server, and everything that must hold once the scenario is over.

    Args:
        scenario: What is swept, for a client.
        steps: How the server answers.
        arrange: Entered before and left after the scenario.
        faults: Whether the server's answers may count against it.
        auth: Makes the credentials of a world.
        settings: Of the client.
    """

    @asynccontextmanager
    async def world() -> AsyncIterator[Callable[[], Awaitable[object]]]:
        credentials = None if auth is None else auth()
        async with FaultServer() as server, APIClient(server.url, auth=credentials, **settings) as api:
            server.script(*steps)
            async with arrange(server, api) if arrange is not None else nullcontext():
                yield scenario(api)
            await nothing_is_held(api, server)
            now = asyncio.get_running_loop().time()
            assert faults or all(circuit.failure_ratio(now) == 0.0 for circuit in api.circuits.values())
            server.script(reply(json={"fine": True}))
            assert (await api.get("/afterwards")).json() == {"fine": True}
            assert [request.path for request in server.requests].count("/afterwards") == 1
            await nothing_is_held(api, server)

    return world


async def nothing_is_held(api: APIClient, server: FaultServer) -> None:
    """No place in the pool, no alarm, no connection is taken or waited for; and the server has noticed, too."""
    runtime = api._runtime
    assert (runtime.timer.active, runtime.timer._handle) == (0, None)
    if runtime.transport._opened is not None:
        session, pool = runtime.transport._opened
        assert (pool.in_use, pool.waiting) == (0, 0)
        assert not session.connector._acquired
    async with asyncio.timeout(60):
        while server.active:
            await asyncio.sleep(0)


class Timeouts:
    """Every alarm of ours that is set, and the blow that makes the latest one ring."""

    def __init__(self) -> None:
        self.live: list[TaskTimeout] = []
        self.fired = 0

    def fire(self, _task: asyncio.Task[Any]) -> None:
        """Let the alarm that was set last strike, as if its time had come this very moment."""
        if self.live:
            timeout = self.live[-1]
            self.fired += 1
            timeout._ends_at = asyncio.get_running_loop().time()
            timeout.fire()

    def fire_then_cancel(self, task: asyncio.Task[Any]) -> None:
        """Both at once: the alarm, then the caller."""
        self.fire(task)
        task.cancel()

    def cancel_then_fire(self, task: asyncio.Task[Any]) -> None:
        """Both at once: the caller, then the alarm."""
        task.cancel()
        self.fire(task)


@contextmanager
def watched_timeouts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Timeouts]:
    """The alarms that the library sets meanwhile."""
    timeouts = Timeouts()

    class Known(TaskTimeout):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            timeouts.live.append(self)

        def close(self) -> None:
            super().close()
            if self in timeouts.live:
                timeouts.live.remove(self)

    monkeypatch.setattr("resilient_client._middleware.deadline.TaskTimeout", Known)
    monkeypatch.setattr("resilient_client._middleware.attempt.TaskTimeout", Known)
    monkeypatch.setattr("resilient_client._call.stream.TaskTimeout", Known)
    monkeypatch.setattr("resilient_client._middleware.coalesce.TaskTimeout", Known)
    monkeypatch.setattr("resilient_client._call.fallback.TaskTimeout", Known)
    yield timeouts
    assert not timeouts.live


def ended_by(*kinds: type[Exception], or_well: bool = False) -> Callable[[asyncio.Task[Any]], str]:
    """The verdict on a task that a timer of ours struck: one of these errors, and nothing left uncancelled.

    With ``or_well`` it may also have ended as if nothing had been.
    """

    def verdict(task: asyncio.Task[Any]) -> str:
        if task.cancelled():
            return "our own timer came out as a cancellation"
        error = task.exception()
        if not (or_well if error is None else isinstance(error, kinds)):
            return f"it ended with {error or task.result()!r}"
        return "" if task.cancelling() == 0 else f"task.cancelling() is {task.cancelling()} instead of 0"

    return verdict
