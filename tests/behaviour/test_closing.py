"""A client that is closed ends its calls in flight with an error that says how far they had come, or lets them end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from tests.behaviour.support import TIME_LIMIT, failure, in_use, soon, turns

from resilient_client import (
    APIClient,
    APIError,
    Bulkhead,
    CallCancelledError,
    CircuitBreaker,
    ClientClosedError,
    ConfigurationError,
    ConnectionSettings,
    ErrorKind,
    Handler,
    Hedging,
    InternalServerError,
    RateLimit,
    Request,
    Response,
    Retry,
    Stage,
    Timeout,
)
from resilient_client._policies.circuit.circuit import CircuitState
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer, black_hole

pytestmark = pytest.mark.usefixtures("both_paths")

SLOW = Retry(max_attempts=2, backoff={"kind": "fixed", "initial": 20, "max_delay": 20})
STRICT = CircuitBreaker(minimum_calls=1)


async def closed_while(api: APIClient, reached: Callable[[], bool], **options: Any) -> APIError:
    """Close a client while a call is in flight, and return the error of the call."""
    flying = asyncio.create_task(api.get("/", **options))
    while not reached():
        await asyncio.sleep(0.001)
    await turns()
    await api.close()
    error = await failure(flying)
    assert (in_use(api), flying.cancelling(), api._runtime.timer.active) == (0, 0, 0)
    assert [circuit.state for circuit in api.circuits.values()] in ([], [CircuitState.CLOSED])
    return error


@pytest.mark.parametrize("limits", [Timeout(), None], ids=["with limits", "without"])
async def test_closed_in_headers(server: FaultServer, limits: Any) -> None:
    """The server may have acted. Neither it is blamed, nor is the call repeated."""
    server.script(faults.hang_before_headers())
    api = APIClient(server.url, circuit_breaker=STRICT, timeout=limits)
    error = await closed_while(api, lambda: server.hits == 1)
    assert isinstance(error, CallCancelledError)
    assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.CANCELLED, Stage.HEADERS, True)
    assert (error.attempts, error.dropped, server.hits) == (1, False, 1)
    assert error.request is not None
    assert "close(grace=SECONDS)" in str(error)


async def test_closed_in_body(server: FaultServer) -> None:
    """The same within a reply."""
    server.script(faults.hang_in_body())
    api = APIClient(server.url, circuit_breaker=STRICT)
    flying = asyncio.create_task(api.get("/"))
    async with asyncio.timeout(TIME_LIMIT):
        while not (server.hits and api._runtime.timer.active):
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)  # the head may still be on its way: then the stage is that of the test above
    await api.close()
    error = await failure(flying)
    assert isinstance(error, CallCancelledError)
    assert error.stage in (Stage.HEADERS, Stage.BODY)
    assert error.maybe_processed


async def test_closed_in_queue(server: FaultServer) -> None:
    """A call that waits for a permit, for its turn or for the pool fails at once, and was not sent."""
    server.script(faults.hang_before_headers())
    for options, stage in (
        ({"bulkhead": Bulkhead(max_concurrent=1, max_queue=5)}, Stage.LOCAL),
        ({"rate_limit": RateLimit(rate=1, per=60, burst=1, max_wait=60)}, Stage.LOCAL),
        ({"connection": ConnectionSettings(pool_size=1)}, Stage.POOL),
    ):
        before = server.hits
        api = APIClient(server.url, timeout=Timeout(total=100, attempt=100), **options)  # type: ignore[arg-type]  # mixed values
        first = asyncio.create_task(api.get("/"))
        await soon(server.wait_for_hits(before + 1))
        error = await closed_while(api, lambda: True)
        assert isinstance(error, CallCancelledError)
        assert (error.stage, error.maybe_processed) == (stage, False)
        assert isinstance(await failure(first), CallCancelledError)
        assert server.hits == before + 1


async def test_closed_while_connecting() -> None:
    """Nothing was sent."""
    with black_hole(connects=False) as url:
        api = APIClient(url, circuit_breaker=STRICT)
        error = await closed_while(api, lambda: in_use(api) == 1)
        assert isinstance(error, CallCancelledError)
        assert (error.stage, error.maybe_processed) == (Stage.CONNECT, False)


async def test_closed_in_backoff(server: FaultServer) -> None:
    """The last real failure is raised at once, with the reason why there was no retry."""
    server.script(faults.reply(503))
    api = APIClient(server.url, retry=SLOW)
    error = await closed_while(api, lambda: server.hits == 1 and in_use(api) == 0 and api._runtime.timer.active == 1)
    assert isinstance(error, InternalServerError)
    assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.SERVER_ERROR, Stage.STATUS, True)
    assert "not retried: the client was closed" in str(error)
    assert server.hits == 1


@pytest.mark.parametrize("options", [{"hedging": Hedging(delay=0.01)}, {"coalesce": True}], ids=["hedged", "shared"])
async def test_closed_with_several_tasks(server: FaultServer, options: Any) -> None:
    """All attempts of a hedged call and all calls of a shared flight end."""
    server.script(faults.hang_before_headers())
    api = APIClient(server.url, **options)
    flying = [asyncio.create_task(api.get("/")) for _ in range(2)]
    await soon(server.wait_for_hits(1 if "coalesce" in options else 3))
    await api.close()
    for task in flying:
        error = await failure(task)
        assert isinstance(error, CallCancelledError)
        assert error.maybe_processed  # the stage is that of one attempt, and a hedge may still connect
    assert in_use(api) == 0


async def test_closed_in_own_middleware(server: FaultServer) -> None:
    """A middleware around the retries that waits is interrupted, and the stage is that of the attempt inside it."""

    async def around(request: Request, call_next: Handler) -> Response:
        return await call_next(request)

    server.script(faults.hang_before_headers())
    api = APIClient(server.url, middleware=[around])
    assert (await closed_while(api, lambda: server.hits == 1)).stage is Stage.HEADERS


@pytest.mark.parametrize("reads", [True, False], ids=["reading", "between reads"])
async def test_closed_with_open_stream(server: FaultServer, reads: bool) -> None:
    """The read under way or the next one says that the client was closed, and nothing is held."""
    server.script(faults.hang_in_body())
    api = APIClient(server.url, timeout=None)
    async with api.stream("GET", "/") as stream:
        reading = asyncio.create_task(stream.read())
        if reads:
            await turns(50)
        await api.close()
        error = await failure(reading)
    assert isinstance(error, CallCancelledError)
    assert (error.stage, error.maybe_processed, error.attempts) == (Stage.BODY, True, 1)
    assert (in_use(api), api._runtime.timer.active) == (0, 0)


# --- a grace period ---


async def test_grace_lets_calls_end(server: FaultServer) -> None:
    """A call in flight returns its value, new ones are refused meanwhile, and closing waits no longer than for it."""
    held = faults.hold(faults.reply(body=b"late"))
    server.script(held)
    api = APIClient(server.url)
    flying = asyncio.create_task(api.get("/"))
    await soon(server.wait_for_hits(1))
    closing = asyncio.create_task(api.close(grace=TIME_LIMIT))
    await turns()
    with pytest.raises(ClientClosedError):
        await api.get("/")
    assert not closing.done()
    held.release()
    assert (await soon(flying)).content == b"late"
    await soon(closing)
    assert server.hits == 1


async def test_grace_includes_retries(server: FaultServer) -> None:
    """The attempts of a call that is in flight go on."""
    held = faults.hold(faults.reply(503))
    server.script(held, faults.reply())
    api = APIClient(server.url, retry=Retry(backoff={"kind": "fixed", "initial": 0.02}))
    flying = asyncio.create_task(api.get("/"))
    await soon(server.wait_for_hits(1))
    closing = asyncio.create_task(api.close(grace=TIME_LIMIT))
    await turns()
    held.release()
    assert (await soon(flying)).status == 200
    await soon(closing)


async def test_grace_ends(server: FaultServer) -> None:
    """What has not ended by then is ended."""
    server.script(faults.hang_before_headers())
    api = APIClient(server.url)
    flying = asyncio.create_task(api.get("/"))
    await soon(server.wait_for_hits(1))
    await soon(api.aclose(grace="50ms"))
    assert isinstance(await failure(flying), CallCancelledError)


@pytest.mark.parametrize("how", ["cancelled", "closed again"])
async def test_grace_is_cut_short(server: FaultServer, how: str) -> None:
    """A second close, or the cancellation of the first, ends the calls at once."""
    server.script(faults.hang_before_headers())
    api = APIClient(server.url)
    flying = asyncio.create_task(api.get("/"))
    await soon(server.wait_for_hits(1))
    closing = asyncio.create_task(api.close(grace=TIME_LIMIT))
    await turns()
    if how == "cancelled":
        closing.cancel()
    else:
        await api.close()
    await soon(asyncio.wait([closing]))
    assert closing.cancelled() is (how == "cancelled")
    assert isinstance(await failure(flying), CallCancelledError)
    assert in_use(api) == 0


async def test_aclose_is_close(server: FaultServer) -> None:
    """``contextlib.aclosing`` works, and closing within a call of the same task ends nothing that closes."""
    async with contextlib.aclosing(APIClient(server.url)) as api:
        await api.get("/")
    with pytest.raises(ClientClosedError):
        await api.get("/")


@pytest.mark.parametrize("grace", [-1, "soon", None, True])
async def test_invalid_grace_refused(server: FaultServer, grace: Any) -> None:
    """One sentence, and the client stays open."""
    async with APIClient(server.url) as api:
        with pytest.raises(ConfigurationError, match=r"close\(grace=\)"):
            await api.close(grace=grace)
        assert (await api.get("/")).status == 200
