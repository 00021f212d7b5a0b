"""Timings of an attempt by stage, on real sockets and both event loops."""

from __future__ import annotations

import gc
import pickle
import socket
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
    """Return the stages that took place."""
    return {stage for stage, seconds in timings._asdict().items() if seconds is not None}


async def test_stages_of_new_connection() -> None:
    """TCP and TLS are separate, although neither aiohttp nor the loop reports where TCP ends."""
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
    """The connection was made by an earlier call."""
    async with FaultServer(tls=SERVING) as server, client(server, connection=TLS) as api:
        await soon(api.get("/"))
        again = await soon(api.get("/"))
        assert again.history[0].reused is True
        assert seen(again.timings) == {"pool", "first_byte", "body"}


async def test_hang_is_timed_in_tls() -> None:
    """The connection was made at once, and the wait is counted as TLS."""
    with black_hole() as url:
        async with client(url.replace("http", "https")) as api:
            record = (await stuck_in(Stage.TLS, lambda limit: failure(api.get("/", timeout=limit)))).history[0]
    assert record.stage is Stage.TLS
    assert record.timings.tls is not None
    assert record.timings.tls > (record.timings.connect or 0)
    assert record.timings.first_byte is None


@pytest.mark.virtual_time
async def test_hang_is_timed_in_connect() -> None:
    """The connection is never made, so there is no handshake."""
    with black_hole(connects=False) as url:
        async with client(url.replace("http", "https"), timeout=0.2) as api:
            record = (await failure(api.get("/"))).history[0]
    assert record.stage is Stage.CONNECT
    assert record.timings.connect == pytest.approx(0.2, abs=0.1)
    assert record.timings.tls is None


async def test_stages_of_refused_connection() -> None:
    """The attempt to connect is counted."""
    async with client(refused_url()) as api:
        assert seen((await failure(api.get("/"))).history[0].timings) == {"pool", "connect"}


@pytest.mark.virtual_time
async def test_stages_of_each_attempt(server: FaultServer) -> None:
    """A failed attempt has its stages up to the failure, a good one has all."""
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
    """The body stage includes the reader's time."""
    server.script(drip(b"abc", interval=0.02))
    async with client(server) as api, api.stream("GET", "/") as stream:
        await soon(stream.read())
        assert (stream.timings.body or 0) > 0.02


async def test_pickled_record_keeps_stages() -> None:
    """A record can travel to another process with its timings and certificate."""
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
    """The sockets of a caller's session are not observed."""
    async with FaultServer(tls=SERVING) as server:
        connector = aiohttp.TCPConnector(ssl=TRUSTING)
        async with aiohttp.ClientSession(connector=connector) as session, client(server, session=session) as api:
            record = (await soon(api.get("/"))).history[0]
    assert record.certificate is not None
    assert seen(record.timings) == {"pool", "first_byte", "body"}


async def test_unverified_certificate_is_not_named() -> None:
    """Nothing vouches for an unverified certificate."""
    async with FaultServer(tls=SERVING) as server, client(server, connection=ConnectionSettings(tls=False)) as api:
        assert (await soon(api.get("/"))).history[0].certificate is None


@pytest.mark.virtual_time
async def test_record_keeps_no_socket(server: FaultServer) -> None:
    """A kept error or reply holds numbers, not sockets."""
    server.script(reply(), hang_before_headers())
    async with client(server, timeout=0.1, connection=ConnectionSettings(keepalive=0)) as api:
        answer, error = await soon(api.get("/")), await failure(api.get("/"))
    kept = [answer._attempts[0].trace, answer.history[0], error.history[0]]
    held = {type(part) for record in kept for part in (record if isinstance(record, tuple) else vars(record).values())}
    assert not any(issubclass(kind, socket.socket) for kind in held)
    assert answer._attempts[0].trace.sockets == ()


async def test_attempt_is_freed_without_collector(server: FaultServer) -> None:
    """An attempt that a reply keeps has no reference cycle."""
    async with client(server) as api:
        answer = await soon(api.get("/"))
        gc.disable()
        try:
            record = weakref.ref(answer._attempts[0])
            del answer
            assert record() is None
        finally:
            gc.enable()


@pytest.mark.parametrize(("keepalive", "connections"), [(0, 3), (15, 1)])
async def test_keepalive_zero_is_one_request(server: FaultServer, keepalive: float, connections: int) -> None:
    """``keepalive=0`` means one request per connection. As a control, the default keeps one for all."""
    async with APIClient(server.url, connection=ConnectionSettings(keepalive=keepalive)) as api:
        for _ in range(3):
            await soon(api.get("/"))
    assert server.connections == connections
