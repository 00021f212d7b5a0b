"""The rule of the deadline, continued: our own end is told apart from everybody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.behaviour.support import client, ends_after, failure, soon

from resilient_client import APIClient, APITimeoutError, DeadlineExceededError, Request, Response, Timeout
from resilient_client._core.protocols import Handler
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import hang_before_headers

pytestmark = pytest.mark.usefixtures("both_paths")


async def test_own_timeout_leaves_no_cancellation(server: FaultServer) -> None:
    """After our timeout ``task.cancelling()`` is 0, and the task can go on waiting."""
    server.script(hang_before_headers())
    task = asyncio.current_task()
    assert task is not None
    async with client(server, timeout=0.05) as api:
        await failure(api.get("/"))
        assert task.cancelling() == 0
        await asyncio.sleep(0)


@pytest.mark.parametrize("own", [10.0, 0.05])
async def test_callers_timeout_stays_the_callers(server: FaultServer, own: float) -> None:
    """A caller's ``asyncio.timeout`` ends as a bare ``TimeoutError``, even when ours was due in the same tick."""
    server.script(hang_before_headers())
    raised: list[type[BaseException]] = []
    async with client(server, timeout=own) as api:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.05) as bound:
                try:
                    await api.get("/")
                except BaseException as error:
                    raised.append(type(error))
                    raise
    if own > 1:
        assert raised == [asyncio.CancelledError]
    assert bound.expired() is (raised == [asyncio.CancelledError])
    assert isinstance(caught.value, DeadlineExceededError) is (not bound.expired())


async def test_cancellation_is_never_a_timeout(server: FaultServer) -> None:
    """``task.cancel()`` ends the call with ``CancelledError``, at once."""
    server.script(hang_before_headers())
    async with client(server, timeout=10) as api:
        task = asyncio.create_task(api.get("/"))
        await soon(server.wait_for_hits(1))
        task.cancel()
        with ends_after(0), pytest.raises(asyncio.CancelledError):
            await task


async def _raises_timeout(request: Request, call_next: Handler) -> Response:
    raise TimeoutError("of another kind")


async def _own_timeout(request: Request, call_next: Handler) -> Response:
    async with asyncio.timeout(0.02):
        return await call_next(request)


@pytest.mark.parametrize("scope", ["middleware", "attempt_middleware"])
@pytest.mark.parametrize("middleware", [_raises_timeout, _own_timeout])
@pytest.mark.virtual_time
async def test_timeout_of_middleware_passes_through(
    server: FaultServer, scope: str, middleware: Callable[..., Awaitable[Response]]
) -> None:
    """A ``TimeoutError`` that is not ours is not dressed up as ours, and not retried."""
    server.script(hang_before_headers())
    async with APIClient(server.url, **{scope: [middleware]}) as api:  # type: ignore[arg-type]  # by name
        with pytest.raises(TimeoutError) as caught:
            await soon(api.get("/"))
    assert type(caught.value) is TimeoutError
    assert server.hits <= 1


@pytest.mark.virtual_time
async def test_timeouts_are_builtin_timeout_errors(server: FaultServer) -> None:
    """``except TimeoutError`` catches an attempt's end and a call's end alike."""
    server.script(hang_before_headers())
    async with client(server, timeout=Timeout(total=5, attempt=0.2)) as api:
        with pytest.raises(TimeoutError) as attempt:
            await api.get("/")
        with pytest.raises(TimeoutError) as call:
            await api.get("/", timeout=0.05)
    assert type(attempt.value) is APITimeoutError
    assert type(call.value) is DeadlineExceededError
