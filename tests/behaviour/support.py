"""Helpers of the behaviour tests: plain clients, settled tasks, time limits and what a client holds."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import pytest

from resilient_client import APIClient, Call, Outcome, Response, Stage, Success, as_completed, gather
from resilient_client._core.errors import APIError
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._virtual_time import VirtualTimeLoop, run_virtual

T = TypeVar("T")

TIME_LIMIT = 60.0
"""Seconds after which a test that hangs fails; a test that passes never waits for it."""


def client(server: FaultServer | str, **options: Any) -> APIClient:
    """A client without retries, so that a call is one request on the wire."""
    url = server if isinstance(server, str) else server.url
    return APIClient(url, **({"retry": None} | options))


def calls(count: int) -> list[Call[Response]]:
    """``count`` calls for a fan-out, with their number as path and key."""
    return [Call.get(f"/{number}", key=number) for number in range(count)]


async def soon(awaitable: Awaitable[T]) -> T:
    """Await with a limit, so that a test that hangs fails."""
    async with asyncio.timeout(TIME_LIMIT):
        return await awaitable


async def failure(awaitable: Awaitable[object]) -> APIError:
    """Return the error of a call that must fail."""
    try:
        value = await soon(awaitable)
    except APIError as error:
        return error
    raise AssertionError(f"the call succeeded with {value!r}")


LIMITS = (0.1, 0.5, 2.5, 12.5)
"""Seconds that ``stuck_in`` allows a call, until they suffice."""


async def stuck_in(stage: Stage, call: Callable[[float], Awaitable[APIError]]) -> APIError:
    """Return the error of a call that hangs in a stage.

    On a busy machine a short limit may end the call before it has reached the stage. The call is then made again with
    a longer limit, so that the test does not depend on the speed of the machine.

    Args:
        stage: Where the call hangs.
        call: Makes the call with a limit in seconds, and returns its error.
    """
    for limit in LIMITS:
        error = await call(limit)
        if error.stage is stage:
            break
    return error


async def turns(count: int = 10) -> None:
    """Let the loop run everything that is ready, ``count`` times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def settled(count: Callable[[], int]) -> int:
    """Return a number once it has not changed for 50 checks of a millisecond each."""
    value, unchanged = count(), 0
    while unchanged < 50:
        await asyncio.sleep(0.001)
        last, value = value, count()
        unchanged = unchanged + 1 if value == last else 0
    return value


def open_files() -> int:
    """Return how many files and sockets this process has open."""
    return len(os.listdir("/dev/fd"))


def with_server(scenario: Callable[[FaultServer], Awaitable[T]]) -> T:
    """Run a scenario with a real server in virtual time, where no limit is too short for a busy machine."""

    async def main() -> T:
        async with FaultServer() as server:
            return await scenario(server)

    return run_virtual(main())


SLACK = 0.1
"""Seconds of running time by which a call may overshoot its end on a real event loop."""


@contextmanager
def ends_after(seconds: float) -> Iterator[None]:
    """Assert that the block takes ``seconds``, never less, and hardly more.

    In virtual time that is exact. On a real loop the time in which the machine runs something else does not count: a
    timer ticks every millisecond, and a gap between two ticks counts for 5 ms at most.
    """
    loop = asyncio.get_running_loop()
    if isinstance(loop, VirtualTimeLoop):
        began = loop.time()
        yield
        assert loop.time() - began == pytest.approx(seconds, abs=0.01)
        return
    began = last = time.perf_counter()
    running = 0.0

    def tick() -> None:
        nonlocal last, running, timer
        now = time.perf_counter()
        running += min(now - last, 0.005)
        last = now
        timer = loop.call_later(0.001, tick)

    timer = loop.call_soon(tick)
    try:
        yield
    finally:
        timer.cancel()
    took = time.perf_counter() - began
    assert seconds - 0.005 <= took, f"took {took:.3f} s"
    assert running <= seconds + SLACK, f"took {took:.3f} s, in {running:.3f} s of which the loop ran"


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended."""
    cancelling = list(tasks)
    for task in cancelling:
        task.cancel()
    await asyncio.gather(*cancelling, return_exceptions=True)


def in_use(api: APIClient) -> int:
    """Return how many connections the calls of a client hold or wait for."""
    pool = api._runtime.transport._pool  # type: ignore[attr-defined]  # not public
    return 0 if pool is None else pool.in_use + pool.waiting


def working() -> int:
    """Return how many tasks of fan-outs have not ended."""
    codes = [getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks()]
    return sum("resilient_client/_fanout" in code.co_filename for code in codes if code is not None)


class Lasting:
    """A client without a wire for fan-outs in virtual time: a call takes ``key`` seconds and ignores deadlines."""

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
    """Calls for ``Lasting`` that take these numbers of seconds."""
    return [Call.get("/", key=second) for second in seconds]


async def keys(outcomes: AsyncIterator[Outcome[Any]]) -> list[object]:
    """Return the keys of the outcomes that a stream still gives, in their order."""
    return [outcome.key async for outcome in outcomes]


FanOut: TypeAlias = Callable[..., Awaitable[list[Outcome[Any]]]]


async def gathered(calls: Any, **options: Any) -> list[Outcome[Any]]:
    """Return the outcomes of ``gather`` as a list."""
    return list(await gather(calls, **options))


async def streamed(calls: Any, **options: Any) -> list[Outcome[Any]]:
    """Return the outcomes of ``as_completed`` as a list, for tests of what both have in common."""
    return [outcome async for outcome in as_completed(calls, **options)]
