"""The transport cancelled at each of its suspensions, on real sockets: connecting, waiting, sending, reading."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.cancellation.support import world_of

from resilient_client import APIClient, ConnectionSettings, InternalServerError
from resilient_client._core.endpoint import Endpoint
from resilient_client._transport.pool import Pool
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import ReceivedRequest, Wire
from resilient_client.testing.cancellation import sweep_cancellation
from resilient_client.testing.faults import drip, hold, reply

pytestmark = pytest.mark.usefixtures("both_paths")

LARGE = bytes(300_000)


async def slow_error(_request: ReceivedRequest, wire: Wire) -> None:
    """A 500 whose body comes in two pieces."""
    await wire.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nab")
    await asyncio.sleep(0.005)
    await wire.write(b"cd")


async def read_all(api: APIClient) -> None:
    async with api.stream("GET", "/") as stream:
        assert await stream.read() == b"abcde"


async def expect_500(api: APIClient) -> None:
    with pytest.raises(InternalServerError):
        await api.get("/", retry=None)


async def test_connecting_cancelled_anywhere_leaves_no_socket() -> None:
    """A first request, which makes its connection and waits for the headers."""
    report = await sweep_cancellation(world_of(lambda api: lambda: api.get("/"), reply(delay=0.005)))
    assert report.reached("TCPConnector._create_connection")
    assert report.reached("DataQueue.read")


async def test_kept_alive_connection_cancelled_anywhere_is_not_used_again() -> None:
    """A second request on a connection that was kept: cancelled, its late reply is nobody's."""

    @asynccontextmanager
    async def warm(_server: FaultServer, api: APIClient) -> AsyncIterator[None]:
        await api.get("/first")
        yield

    world = world_of(lambda api: lambda: api.get("/"), reply(), reply(delay=0.005, text="late"), arrange=warm)
    report = await sweep_cancellation(world)
    assert report.reached("DataQueue.read")
    assert not report.reached("TCPConnector._create_connection")


async def test_pool_wait_cancelled_anywhere_loses_no_place() -> None:
    """A wait for a connection; in the completing tick the place has been granted and must be handed on."""

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
    world = world_of(lambda api: lambda: api.get("/"), reply(), arrange=busy, connection=settings)
    assert (await sweep_cancellation(world)).reached("Pool.acquire")


async def test_pool_waiter_cancelled_while_places_come_free_leaves_them_to_all_who_queued_behind_it() -> None:
    """Between its cancellation and its going, a waiter holds up newcomers; then each of them gets a free place."""
    pool, endpoint = Pool(2, 0), Endpoint("http", "upstream", 80)
    go = asyncio.Event()

    async def newcomer() -> None:
        await go.wait()
        if not pool.try_acquire(endpoint):
            await pool.acquire(endpoint)

    assert pool.try_acquire(endpoint)
    assert pool.try_acquire(endpoint)
    leaver = asyncio.create_task(pool.acquire(endpoint))
    newcomers = [asyncio.create_task(newcomer()) for _ in range(2)]
    await asyncio.sleep(0)
    go.set()  # they are due before the one that is cancelled next
    leaver.cancel()
    pool.release(endpoint)
    pool.release(endpoint)
    await asyncio.wait(newcomers, timeout=0.2)
    assert (pool.in_use, pool.waiting) == (2, 0)
    await asyncio.gather(*newcomers)
    assert leaver.cancelled()


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(3):
        await asyncio.sleep(0.001)
        yield LARGE


@pytest.mark.parametrize("kind", ["bytes", "pieces", "path", "multipart"])
async def test_upload_cancelled_anywhere_closes_what_it_opened(kind: str, tmp_path: Path) -> None:
    """A body that goes out in pieces; a file that was opened for it is closed, even if its thread comes late."""
    file = tmp_path / "upload"
    file.write_bytes(LARGE)

    async def send(api: APIClient) -> None:
        if kind == "multipart":
            await api.post("/", files={"file": file})
        else:
            await api.post("/", content={"bytes": LARGE, "path": file}.get(kind) or pieces())

    assert await sweep_cancellation(world_of(lambda api: lambda: send(api), reply()))


async def test_body_cancelled_anywhere_closes_its_connection() -> None:
    """A body that comes byte by byte."""
    world = world_of(lambda api: lambda: api.get("/"), drip(b"abcde", interval=0.002))
    assert (await sweep_cancellation(world)).reached("read_body")


async def test_gzip_body_cancelled_anywhere_closes_its_connection() -> None:
    """A compressed body that is large when decoded, which pauses while it is being decoded."""
    world = world_of(lambda api: lambda: api.get("/"), reply(body=bytes(3 << 20), coding="gzip"))
    assert (await sweep_cancellation(world)).reached("BodyReader.read")


async def test_error_body_cancelled_anywhere_closes_its_connection() -> None:
    """The body of an error reply, which is read under a timer of its own."""
    world = world_of(lambda api: lambda: expect_500(api), slow_error, faults=True)
    assert (await sweep_cancellation(world)).reached("read_error_body")


async def test_stream_cancelled_anywhere_gives_back_its_connection() -> None:
    """A streamed reply, from the entry of ``async with`` to the last byte."""
    world = world_of(lambda api: lambda: read_all(api), drip(b"abcde", interval=0.002))
    report = await sweep_cancellation(world)
    assert report.reached("StreamContext.__aenter__")
    assert report.reached("StreamResponse.read")
