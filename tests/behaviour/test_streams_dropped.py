"""A stream that is opened and never closed gives back at its deadline what it holds."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest
from tests.behaviour.support import client, failure, in_use, soon, turns

from resilient_client import (
    APIClient,
    Bulkhead,
    ConnectionSettings,
    DeadlineExceededError,
    ErrorKind,
    InvalidRequestError,
    Stage,
    StreamResponse,
)
from resilient_client._core.events import CallFinished, Event
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import hang_in_body, reply

pytestmark = pytest.mark.usefixtures("both_paths")


@pytest.fixture
def api(server: FaultServer) -> APIClient:
    """A client for one stream at a time. Its first reply never ends, and the others do."""
    server.script(hang_in_body(), reply(body=b"whole"))
    one = ConnectionSettings(pool_size=1)
    return client(server, bulkhead=Bulkhead(max_concurrent=1, max_queue=1), connection=one)


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Garbage in a cycle stays."""
    gc.disable()
    yield
    gc.enable()


async def opened(api: APIClient, timeout: float | None) -> StreamResponse:
    """Open a stream and never close it."""
    return await soon(api.stream("GET", "/", timeout=timeout).__aenter__())


def permits_in_use(api: APIClient) -> int:
    (permits,) = api.bulkheads.values()
    return permits.in_use


async def assert_free(api: APIClient, server: FaultServer) -> None:
    """Assert that the next call gets permit, slot and connection, and that the server sees the other one closed."""
    assert (in_use(api), permits_in_use(api)) == (0, 0)
    assert (await soon(api.get("/"))).content == b"whole"
    while server.active:
        await asyncio.sleep(0.001)
    await api.close()


@pytest.mark.virtual_time
async def test_kept_stream_ends_at_deadline(server: FaultServer, api: APIClient) -> None:
    """Everything is held until then, and nothing afterwards."""
    stream = await opened(api, 5)
    await asyncio.sleep(4.9)
    assert (in_use(api), permits_in_use(api)) == (1, 1)
    await asyncio.sleep(0.2)
    await assert_free(api, server)
    stream.close()


@pytest.mark.virtual_time
async def test_cut_off_stream_says_so(api: APIClient) -> None:
    """The next read raises the error of the deadline, which was reported already, and further ones that it is over."""
    finished: list[Event] = []
    api.subscribe(lambda event: finished.append(event) if isinstance(event, CallFinished) else None)
    stream = await opened(api, 5)
    await asyncio.sleep(6)
    (event,) = finished
    assert isinstance(event, CallFinished)
    assert event.kind is ErrorKind.DEADLINE
    assert event.at == pytest.approx(asyncio.get_running_loop().time() - 1, abs=0.01)
    error = await failure(stream.read())
    assert isinstance(error, DeadlineExceededError)
    assert (error.stage, error.maybe_processed, error.attempts) == (Stage.BODY, True, 1)
    assert isinstance(await failure(stream.read()), InvalidRequestError)
    assert len(finished) == 1
    await api.close()


@pytest.mark.virtual_time
async def test_block_that_hangs_ends_at_deadline(server: FaultServer, api: APIClient) -> None:
    """The body of an ``async with`` block that waits for something else keeps no connection."""

    async def forward() -> None:
        async with api.stream("GET", "/", timeout=5):
            await asyncio.Event().wait()

    forwarding = asyncio.create_task(forward())
    await asyncio.sleep(5.1)
    await assert_free(api, server)
    forwarding.cancel()


@pytest.mark.parametrize("timeout", [0.2, None])
async def test_deleted_stream_is_closed(server: FaultServer, api: APIClient, timeout: float | None) -> None:
    """When Python deletes it, which needs no deadline."""
    stream = await opened(api, timeout)
    await turns(20)
    assert (in_use(api), permits_in_use(api)) == (1, 1)  # negative control
    del stream
    gc.collect()
    await turns(20)
    await assert_free(api, server)


async def test_uncollected_stream_ends_at_deadline(
    server: FaultServer, api: APIClient, without_collector: None
) -> None:
    """Garbage that no collector finds is like a stream that is kept."""
    cycle: list[object] = [await opened(api, 0.2)]
    cycle.append(cycle)
    del cycle
    while in_use(api):
        await asyncio.sleep(0.01)
    await assert_free(api, server)


@pytest.mark.virtual_time
async def test_read_stream_is_not_cut_off(server: FaultServer, api: APIClient) -> None:
    """A body that was read in time is a success, whatever its block does afterwards."""
    server.script(reply(body=b"whole"))
    finished: list[Event] = []
    api.subscribe(lambda event: finished.append(event) if isinstance(event, CallFinished) else None)
    async with api.stream("GET", "/", timeout=5) as stream:
        assert await stream.read() == b"whole"
        await asyncio.sleep(6)
    assert [event.kind for event in finished if isinstance(event, CallFinished)] == [None]
    await api.close()


@pytest.mark.virtual_time
async def test_kept_stream_without_deadline_stays(api: APIClient) -> None:
    """Negative control: ``timeout=None`` means that there is no limit."""
    stream = await opened(api, None)
    await asyncio.sleep(1_000)
    assert (in_use(api), permits_in_use(api)) == (1, 1)
    stream.close()
    await api.close()
