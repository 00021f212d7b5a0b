"""What the tests of the rules share: quiet clients, settled tasks, and looks at what a client holds."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from resilient_client import APIClient, Call, Outcome, Response, Success, as_completed, gather
from resilient_client._core.errors import APIError
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._virtual_time import run_virtual

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds after which a test that hangs is a failed test; never waited for by one that passes."""


def client(server: FaultServer | str, **options: Any) -> APIClient:
    """A client that makes one wire request a call, so that a test sees each by itself."""
    url = server if isinstance(server, str) else server.url
    return APIClient(url, **({"retry": None} | options))


def calls(count: int) -> list[Call[Response]]:
    """So many calls for a fan-out, numbered."""
    return [Call.get(f"/{number}", key=number) for number in range(count)]


async def soon(awaitable: Awaitable[T]) -> T:
    """The result, or a failed test where it never comes."""
    async with asyncio.timeout(PATIENCE):
        return await awaitable


async def failure(awaitable: Awaitable[object]) -> APIError:
    """The error of a call that must fail."""
    try:
        value = await soon(awaitable)
    except APIError as error:
        return error
    raise AssertionError(f"the call succeeded with {value!r}")


async def turns(count: int = 10) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


def open_files() -> int:
    """How many files and sockets this process has open."""
    return len(os.listdir("/dev/fd"))


def with_server(scenario: Callable[[FaultServer], Awaitable[T]]) -> T:
    """The result of a scenario with a real server in virtual time: no limit is too short for a busy machine."""

    async def main() -> T:
        async with FaultServer() as server:
            return await scenario(server)

    return run_virtual(main())


SLACK = 0.1
"""Seconds that a call may end later than it should, as the loop counts them while it runs."""


@contextmanager
def ends_after(seconds: float) -> Iterator[None]:
    """What happens inside takes ``seconds``, never less, and at most ``SLACK`` more of the loop's own time.

    A stall of the machine is not the library's doing: it counts for the few milliseconds that a turn may take.
    """
    loop = asyncio.get_running_loop()
    began = last = time.perf_counter()
    lived = 0.0

    def tick() -> None:
        nonlocal last, lived, ticking
        now = time.perf_counter()
        lived += min(now - last, 0.005)
        last = now
        ticking = loop.call_later(0.001, tick)

    ticking = loop.call_soon(tick)
    try:
        yield
    finally:
        ticking.cancel()
    took = time.perf_counter() - began
    assert seconds - 0.005 <= took, f"took {took:.3f} s"
    assert lived <= seconds + SLACK, f"took {took:.3f} s, in {lived:.3f} s of which the loop ran"


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel, and wait until they have ended."""
    doomed = list(tasks)
    for task in doomed:
        task.cancel()
    await asyncio.gather(*doomed, return_exceptions=True)


def in_use(api: APIClient) -> int:
    """Connections that calls of this client hold right now."""
    opened = api._runtime.transport._opened  # type: ignore[attr-defined]  # the public surface does not show it
    return 0 if opened is None else opened[1].in_use + opened[1].waiting


def working() -> int:
    """Tasks of fan-outs that have not ended."""
    codes = [getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks()]
    return sum("resilient_client/_fanout" in code.co_filename for code in codes if code is not None)


class Lasting:
    """A client without a wire, for fan-outs in virtual time: a call takes ``key`` seconds; heeds no deadline."""

    def __init__(self) -> None:
        self.begun = self.active = self.peak = 0

    async def run(self, call: Call[Any]) -> Outcome[Any]:
        assert isinstance(call.key, (int, float))
        self.begun += 1
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            await asyncio.sleep(call.key)
        finally:
            self.active -= 1
        return Success(call.key, key=call.key)


def lasting(*seconds: float) -> list[Call[Response]]:
    """Calls for it."""
    return [Call.get("/", key=second) for second in seconds]


async def keys(outcomes: AsyncIterator[Outcome[Any]]) -> list[object]:
    """The keys of all that is left of a stream, as they come."""
    return [outcome.key async for outcome in outcomes]


FanOut: TypeAlias = Callable[..., Awaitable[list[Outcome[Any]]]]


async def gathered(calls: Any, **options: Any) -> list[Outcome[Any]]:
    """What ``gather`` makes of calls."""
    return list(await gather(calls, **options))


async def streamed(calls: Any, **options: Any) -> list[Outcome[Any]]:
    """What ``as_completed`` makes of them, for tests of what both have in common."""
    return [outcome async for outcome in as_completed(calls, **options)]
