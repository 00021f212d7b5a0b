"""Where the time of an attempt goes, stage by stage, on real sockets and on both event loops."""

from __future__ import annotations

import gc
import pickle
import ssl
import weakref

import aiohttp
import pytest
import trustme
from tests.behaviour.support import client, failure, soon, stuck_in

from resilient_client import APIClient, ConnectionSettings, Retry, Stage, Timings
from resilient_client.testing._fault_server import FaultServer, black_hole, refused_url
from resilient_client.testing.faults import drip, hang_before_headers, reply, reset

pytestmark = pytest.mark.usefixtures("both_paths")

AUTHORITY = trustme.CA()
TRUSTING = ssl.create_default_context()
AUTHORITY.configure_trust(TRUSTING)
SERVING = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
AUTHORITY.issue_cert("127.0.0.1", "localhost", common_name="users").configure_cert(SERVING)
TLS = ConnectionSettings(tls=TRUSTING)


def seen(timings: Timings) -> set[str]:
    """The stages that took place."""
    return {stage for stage, seconds in timings._asdict().items() if seconds is not None}


async def test_stages_of_new_connection() -> None:
    """TCP and TLS, too, though neither aiohttp nor an event loop says when the one ends and the other begins."""
    async with FaultServer(tls=SERVING) as server:
        async with client(server.url.replace("127.0.0.1", "localhost"), connection=TLS) as api:
            answer = await soon(api.get("/"))
        assert seen(answer.timings) == {"pool", "dns", "connect", "tls", "first_byte", "body"}
        assert sum(answer.timings) <= answer.elapsed


async def test_no_tls_stage_without_tls(server: FaultServer) -> None:
    """A plain connection has no handshake, and an address needs no name service."""
    async with client(server) as api:
        assert seen((await soon(api.get("/"))).timings) == {"pool", "connect", "first_byte", "body"}


async def test_stages_of_kept_alive_connection() -> None:
    """It was made by an earlier call."""
    async with FaultServer(tls=SERVING) as server, client(server, connection=TLS) as api:
        await soon(api.get("/"))
        again = await soon(api.get("/"))
        assert again.history[0].reused is True
        assert seen(again.timings) == {"pool", "first_byte", "body"}


async def test_hang_is_timed_in_tls() -> None:
    """In the handshake: the connection stood at once, and what was waited for is TLS."""
    with black_hole() as url:
        async with client(url.replace("http", "https")) as api:
            record = (await stuck_in(Stage.TLS, lambda limit: failure(api.get("/", timeout=limit)))).history[0]
    assert record.stage is Stage.TLS
    assert record.timings.tls is not None
    assert record.timings.tls > (record.timings.connect or 0)
    assert record.timings.first_byte is None


@pytest.mark.virtual_time
async def test_hang_is_timed_in_connect() -> None:
    """The connection never stands, so there is no handshake."""
    with black_hole(connects=False) as url:
        async with client(url.replace("http", "https"), timeout=0.2) as api:
            record = (await failure(api.get("/"))).history[0]
    assert record.stage is Stage.CONNECT
    assert record.timings.connect == pytest.approx(0.2, abs=0.1)
    assert record.timings.tls is None


async def test_stages_of_refused_connection() -> None:
    """It was tried, for a moment."""
    async with client(refused_url()) as api:
        assert seen((await failure(api.get("/"))).history[0].timings) == {"pool", "connect"}


@pytest.mark.virtual_time
async def test_stages_of_each_attempt(server: FaultServer) -> None:
    """The failed one as far as it came, the next one in full."""
    server.script(reset(), hang_before_headers(), drip(b"abc", interval=0.01))
    retry = Retry(max_attempts=3, backoff={"kind": "fixed", "initial": 0.001})
    async with client(server, retry=retry, retry_budget=None, timeout={"attempt": 0.2}) as api:
        first, second, third = (await soon(api.get("/"))).history
    assert seen(first.timings) == {"pool", "connect", "first_byte"}
    assert second.timings.first_byte == pytest.approx(0.2, abs=0.1)
    assert third.timings.body is not None
    assert third.timings.body > 0.01


@pytest.mark.virtual_time
async def test_body_stage_lasts_until_end_of_stream(server: FaultServer) -> None:
    """Its time is the reader's, too."""
    server.script(drip(b"abc", interval=0.02))
    async with client(server) as api, api.stream("GET", "/") as stream:
        await soon(stream.read())
        assert (stream.timings.body or 0) > 0.02


async def test_pickled_record_keeps_stages() -> None:
    """It can travel to another process, with what it can tell and nothing else."""
    async with FaultServer(tls=SERVING) as server, client(server, connection=TLS) as api:
        record = (await soon(api.get("/"))).history[0]
    copy = pickle.loads(pickle.dumps(record))  # noqa: S301 -- our own bytes
    assert (copy.timings, copy.certificate) == (record.timings, record.certificate)
    assert copy.timings.tls is not None
    assert copy.certificate is not None


async def test_certificate_of_new_connection_only() -> None:
    """A kept-alive connection was verified when it was made, for another call."""
    async with FaultServer(tls=SERVING) as server, client(server, connection=TLS) as api:
        first, second = [(await soon(api.get("/"))).history[0].certificate for _ in range(2)]
    assert first is not None
    assert (first.subject, first.names) == ("users", ("127.0.0.1", "localhost"))
    assert first.issuer.startswith("trustme")
    assert second is None


async def test_record_of_callers_session() -> None:
    """Its sockets are not ours."""
    async with FaultServer(tls=SERVING) as server:
        connector = aiohttp.TCPConnector(ssl=TRUSTING)
        async with aiohttp.ClientSession(connector=connector) as session, client(server, session=session) as api:
            record = (await soon(api.get("/"))).history[0]
    assert record.certificate is not None
    assert seen(record.timings) == {"pool", "first_byte", "body"}


async def test_unverified_certificate_is_not_named() -> None:
    """Whatever it says, nobody vouches for it."""
    async with FaultServer(tls=SERVING) as server, client(server, connection=ConnectionSettings(tls=False)) as api:
        assert (await soon(api.get("/"))).history[0].certificate is None


@pytest.mark.virtual_time
async def test_record_keeps_no_socket(server: FaultServer) -> None:
    """An error or a reply that somebody keeps holds on to numbers, not to what the operating system lends."""
    server.script(reply(), hang_before_headers())
    async with client(server, timeout=0.1, connection=ConnectionSettings(keepalive=0)) as api:
        kept = [(await soon(api.get("/"))).history[0], (await failure(api.get("/"))).history[0]]
    assert [record.trace.sockets for record in kept] == [(), ()]


async def test_record_is_freed_without_collector(server: FaultServer) -> None:
    """Nothing refers to itself in a circle, so nothing waits for the garbage collector."""
    async with client(server) as api:
        answer = await soon(api.get("/"))
        gc.disable()
        try:
            record = weakref.ref(answer.history[0])
            del answer
            assert record() is None
        finally:
            gc.enable()


@pytest.mark.parametrize(("keepalive", "connections"), [(0, 3), (15, 1)])
async def test_keepalive_zero_is_one_request(server: FaultServer, keepalive: float, connections: int) -> None:
    """``keepalive=0`` means a connection a request; as a control, the default keeps one for all."""
    async with APIClient(server.url, connection=ConnectionSettings(keepalive=keepalive)) as api:
        for _ in range(3):
            await soon(api.get("/"))
    assert server.connections == connections
