"""TLS: a server that cannot be trusted gets nothing, once, and the error says why."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trustme
from tests.behaviour.support import client, failure, in_use, open_files, settled, soon, stuck_in

from resilient_client import APIClient, APIError, APITimeoutError, ConnectionSettings, ErrorKind, Retry, Stage, Timeout
from resilient_client._transport import request_body
from resilient_client.testing._fault_server import FaultServer, black_hole, refused_url

pytestmark = pytest.mark.usefixtures("both_paths")

AUTHORITY = trustme.CA()
TRUSTING = ssl.create_default_context()
AUTHORITY.configure_trust(TRUSTING)
YESTERDAY = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)

EAGER = Retry(max_attempts=5, backoff={"kind": "fixed", "initial": 0.001})


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


GOOD = serving(AUTHORITY.issue_cert("127.0.0.1"))
BAD = {
    "untrusted": serving(trustme.CA().issue_cert("127.0.0.1")),
    "another host's": serving(AUTHORITY.issue_cert("other.example")),
    "expired": serving(AUTHORITY.issue_cert("127.0.0.1", not_after=YESTERDAY)),
}


async def refusal(server: FaultServer, method: str = "GET") -> APIError:
    """Return the error of a client with retries that meets a server it cannot trust."""
    connection = ConnectionSettings(tls=TRUSTING)
    async with APIClient(server.url, retry=EAGER, connection=connection, circuit_breaker=None) as api:
        error = await failure(api.request(method, "/", json={} if method == "POST" else None))
        assert in_use(api) == 0
        return error


async def test_callers_tls_context() -> None:
    """A private authority is trusted where the user says so."""
    async with FaultServer(tls=GOOD) as server, client(server, connection=ConnectionSettings(tls=TRUSTING)) as api:
        assert (await soon(api.get("/"))).status == 200


async def test_private_authority_is_not_trusted() -> None:
    """Negative control: without that context the same server is refused."""
    async with FaultServer(tls=GOOD) as server, client(server) as api:
        assert (await failure(api.get("/"))).kind is ErrorKind.TLS
        assert server.hits == 0


@pytest.mark.parametrize("certificate", BAD)
async def test_bad_certificate_is_not_retried(certificate: str) -> None:
    """It would fail again, as its error says: one attempt, and no request ever reaches the server."""
    async with FaultServer(tls=BAD[certificate]) as server:
        error = await refusal(server)
        assert str(error).endswith("; not retried, as it would fail again")
        assert (error.kind, error.stage, error.attempts) == (ErrorKind.TLS, Stage.TLS, 1)
        assert (error.retryable, server.hits) == (False, 0)


@pytest.mark.parametrize("certificate", BAD)
async def test_bad_certificate_is_not_processed(certificate: str) -> None:
    """Not even a POST may have been seen."""
    async with FaultServer(tls=BAD[certificate]) as server:
        assert (await refusal(server, "POST")).maybe_processed is False


@pytest.mark.parametrize(
    ("certificate", "words"),
    [("untrusted", "unable to get local issuer"), ("another host's", "mismatch"), ("expired", "expired")],
)
async def test_error_names_certificate_problem(certificate: str, words: str) -> None:
    """The error distinguishes a wrong host from an expired certificate."""
    async with FaultServer(tls=BAD[certificate]) as server:
        assert words in str(await refusal(server))


@pytest.mark.parametrize("certificate", BAD)
async def test_tls_false_verifies_nothing(certificate: str) -> None:
    """The switch for tests, which says what it does."""
    unverified = ConnectionSettings(tls=False)
    async with FaultServer(tls=BAD[certificate]) as server, client(server, connection=unverified) as api:
        assert (await soon(api.get("/"))).status == 200


async def test_tls_to_plain_http_refused() -> None:
    """A reply that is not TLS is refused."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with listener, client(f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}") as api:
        error = await failure(api.post("/", json={}))
    assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.TLS, Stage.TLS, False)


@pytest.mark.parametrize("limit", ["connect", "attempt"])
async def test_hanging_handshake_times_out_in_tls(limit: str) -> None:
    """TCP is connected and the handshake silent: the limit that fires names the stage, and nothing was sent."""
    with black_hole() as url:
        async with client(url.replace("http:", "https:")) as api:
            error = await stuck_in(Stage.TLS, lambda s: failure(api.get("/", timeout=Timeout(total=60, **{limit: s}))))
            assert in_use(api) == 0
    assert isinstance(error, APITimeoutError)
    assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.TIMEOUT, Stage.TLS, False)


@pytest.mark.virtual_time
async def test_silent_port_times_out_in_connect() -> None:
    """Where not even TCP comes about, it is not the handshake that hangs."""
    with black_hole(connects=False) as url:
        async with client(url.replace("http:", "https:"), timeout=Timeout(total=5, connect=0.1)) as api:
            error = await failure(api.get("/"))
    assert (error.kind, error.stage, error.maybe_processed) == (ErrorKind.TIMEOUT, Stage.CONNECT, False)


async def test_refused_port_is_a_connect_error() -> None:
    """Without a connection there is no handshake."""
    async with client(refused_url().replace("http:", "https:")) as api:
        assert (await failure(api.get("/"))).kind is ErrorKind.CONNECT


async def test_handshake_hangup_is_retryable() -> None:
    """A server that is restarting is not untrusted."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with listener, client(f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}") as api:
        error = await failure(api.post("/", json={}))
    assert (error.kind, error.stage) == (ErrorKind.TLS, Stage.TLS)
    assert (error.maybe_processed, error.retryable) == (False, True)
    assert "ConnectionResetError" in str(error)


@pytest.mark.parametrize("in_pieces", [True, False])
async def test_unread_upload_leaves_no_connection(
    in_pieces: bool, both_paths: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An orderly close of TLS would wait for a server that reads nothing."""
    if both_paths == "direct":
        monkeypatch.setattr(request_body, "_AT_ONCE", 20_000_000)
    content = (lambda: iter([bytes(60_000)] * 300)) if in_pieces else bytes(20_000_000)
    over = asyncio.Event()
    accepted = 0  # the server's ends stay open

    async def swallow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        await over.wait()
        writer.close()

    listener = await asyncio.start_server(swallow, "127.0.0.1", 0, ssl=GOOD)
    url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    # No circuit: the server never answers, and the test asks it again and again.
    async with listener, client(url, connection=ConnectionSettings(tls=TRUSTING), circuit_breaker=None) as api:
        counts = []
        for _ in range(2):
            error = await stuck_in(
                Stage.SEND, lambda s: failure(api.post("/", content=content, timeout=Timeout(attempt=s)))
            )
            counts.append(await settled(lambda: open_files() - accepted))
        over.set()
    assert error.stage is Stage.SEND
    assert counts[1] <= counts[0]


RESPONSES = {
    "closed by the server": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "too short": b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok",
}


class SilentServer:
    """A TLS server in a thread, which answers one request and never sends a closure alert.

    Attributes:
        alerted: Whether the client's closure alert has arrived.
        left: Set when the client has closed its socket.
    """

    def __init__(self, listener: socket.socket, response: bytes) -> None:
        self.alerted = False
        self.left = threading.Event()
        self.url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        self._listener = listener
        self._response = response

    def serve(self) -> None:
        raw, _ = self._listener.accept()
        raw.settimeout(15)
        with GOOD.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False) as connection:
            connection.recv(65_536)
            connection.sendall(self._response)
            try:
                self.alerted = connection.recv(1) == b""
                socket.socket.recv(connection, 1)  # below TLS: returns when the socket of the client is closed
            except TimeoutError:
                return
            except OSError:  # reset by the client
                pass
            self.left.set()


@contextmanager
def silent_server(response: bytes) -> Iterator[SilentServer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = SilentServer(listener, response)
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            thread.join()


@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES)
@pytest.mark.parametrize("streamed", [False, True], ids=["read", "streamed"])
async def test_closed_connection_does_not_wait_for_alert(response: bytes, streamed: bool) -> None:
    """The client sends its closure alert, and its socket is closed at once, not 30 seconds later (RFC 9112 9.8)."""
    with silent_server(response) as server:
        async with APIClient(
            server.url, retry=None, connection=ConnectionSettings(tls=TRUSTING), timeout="0.5s"
        ) as api:
            if streamed:
                async with api.stream("GET", "/") as body:
                    assert body.status == 200
            else:
                with suppress(APIError):
                    await api.get("/")
            assert in_use(api) == 0
            assert await asyncio.to_thread(server.left.wait, 10)
            assert server.alerted
