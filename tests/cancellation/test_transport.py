"""The transport, cancelled at each suspension while connecting, waiting, sending and reading, on real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.cancellation.support import client_world, one_loop

from resilient_client import APIClient, ConnectionSettings, InternalServerError
from resilient_client._core.endpoint import Endpoint
from resilient_client._transport.pool import Pool
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import ReceivedRequest, Wire
from resilient_client.testing.cancellation import sweep_cancellation
from resilient_client.testing.faults import drip, hold, reply

on_both_paths = pytest.mark.usefixtures("both_paths")

LARGE = bytes(300_000)


async def slow_error(_request: ReceivedRequest, wire: Wire) -> None:
    """Answer with a 500 whose body comes in two pieces."""
    await wire.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nab")
    await asyncio.sleep(0.005)
    await wire.write(b"cd")


async def read_all(api: APIClient) -> None:
    async with api.stream("GET", "/") as stream:
        assert await stream.read() == b"abcde"


async def expect_500(api: APIClient) -> None:
    with pytest.raises(InternalServerError):
        await api.get("/", retry=None)


@on_both_paths
async def test_connecting_cancelled_anywhere_leaves_no_socket(both_paths: str) -> None:
    """A first request opens a connection and waits for the headers."""
    report = await sweep_cancellation(client_world(lambda api: lambda: api.get("/"), reply(delay=0.005)))
    assert report.reached(CONNECTING[both_paths])
    assert report.reached(WAITING[both_paths])


@on_both_paths
async def test_kept_alive_connection_cancelled_is_not_reused(both_paths: str) -> None:
    """After a second request on a kept connection is cancelled, no later request can get its late reply."""

    @asynccontextmanager
    async def warm(_server: FaultServer, api: APIClient) -> AsyncIterator[None]:
        await api.get("/first")
        yield

    world = client_world(lambda api: lambda: api.get("/"), reply(), reply(delay=0.005, text="late"), arrange=warm)
    report = await sweep_cancellation(world)
    assert report.reached(WAITING[both_paths])
    assert not report.reached(CONNECTING[both_paths])


@on_both_paths
async def test_pool_wait_cancelled_anywhere_loses_no_slot() -> None:
    """In the completing tick the slot has been granted and must be passed to the next waiter."""

    @asynccontextmanager
    async def busy(server: FaultServer, api: APIClient) -> AsyncIterator[None]:
        held = hold()
        server.route("GET", "/busy", held)
        occupant = asyncio.create_task(api.get("/busy"))
        await server.wait_for_hits(1)
        asyncio.get_running_loop().call_later(0.005, held.release)
        yield
        await occupant

    settings = ConnectionSettings(pool_size=1)
    world = client_world(lambda api: lambda: api.get("/"), reply(), arrange=busy, connection=settings)
    assert (await sweep_cancellation(world)).reached("Pool.acquire")


@one_loop
async def test_cancelled_pool_waiter_passes_slots_on() -> None:
    """A cancelled waiter that has not resumed yet blocks later callers. Then each of them gets a free slot."""
    pool, endpoint = Pool(2, 0), Endpoint("http", "upstream", 80)
    go = asyncio.Event()

    async def late_caller() -> None:
        await go.wait()
        if not pool.try_acquire(endpoint):
            await pool.acquire(endpoint)

    assert pool.try_acquire(endpoint)
    assert pool.try_acquire(endpoint)
    waiter = asyncio.create_task(pool.acquire(endpoint))
    late_callers = [asyncio.create_task(late_caller()) for _ in range(2)]
    await asyncio.sleep(0)
    go.set()  # they run before the waiter that is cancelled next
    waiter.cancel()
    pool.release(endpoint)
    pool.release(endpoint)
    await asyncio.wait(late_callers, timeout=0.2)
    assert (pool.in_use, pool.waiting) == (2, 0)
    await asyncio.gather(*late_callers)
    assert waiter.cancelled()


CONNECTING = {"direct": "Dialer.connect", "session": "TCPConnector._create_connection"}
WAITING = {"direct": "DirectPath.send", "session": "DataQueue.read"}
"""Where each path connects, and where it waits for a response."""


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(3):
        await asyncio.sleep(0.001)
        yield LARGE


@on_both_paths
@pytest.mark.parametrize("kind", ["bytes", "pieces", "path", "multipart"])
async def test_upload_cancelled_anywhere_closes_its_file(kind: str, tmp_path: Path) -> None:
    """A file opened for an upload is closed, even if the thread that opens it finishes late."""
    file = tmp_path / "upload"
    file.write_bytes(LARGE)

    async def send(api: APIClient) -> None:
        if kind == "multipart":
            await api.post("/", files={"file": file})
        else:
            await api.post("/", content={"bytes": LARGE, "path": file}.get(kind) or pieces())

    assert await sweep_cancellation(client_world(lambda api: lambda: send(api), reply()))


@on_both_paths
async def test_body_cancelled_anywhere_closes_its_connection(both_paths: str) -> None:
    """A body arrives byte by byte."""
    world = client_world(lambda api: lambda: api.get("/"), drip(b"abcde", interval=0.002))
    assert (await sweep_cancellation(world)).reached({"direct": "DirectPath.send", "session": "read_body"}[both_paths])


@on_both_paths
async def test_gzip_body_cancelled_anywhere_closes_its_connection() -> None:
    """Decoding a large compressed body yields to the loop, so it can be cancelled in between."""
    world = client_world(lambda api: lambda: api.get("/"), reply(body=bytes(3 << 20), coding="gzip"))
    assert (await sweep_cancellation(world)).reached("BodyReader.read")


@on_both_paths
async def test_error_body_cancelled_anywhere_closes_its_connection() -> None:
    """The body of an error reply is read with a separate timeout."""
    world = client_world(lambda api: lambda: expect_500(api), slow_error, faults=True)
    assert (await sweep_cancellation(world)).reached("read_error_body")


@on_both_paths
async def test_stream_cancelled_anywhere_releases_its_connection() -> None:
    """A streamed reply is cancelled from the entry of ``async with`` to the last byte."""
    world = client_world(lambda api: lambda: read_all(api), drip(b"abcde", interval=0.002))
    report = await sweep_cancellation(world)
    assert report.reached("StreamContext.__aenter__")
    assert report.reached("StreamResponse.read")
