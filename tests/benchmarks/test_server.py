"""The server of the benchmarks, in C and in Python."""

from __future__ import annotations

import shutil
import socket
import ssl
import sys
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import urlsplit

import pytest
from benchmarks.server import serving

BODIES = {"1k": b"k" * 1000, "100k": b"c" * 100_000}
COMPILER = shutil.which("cc") if sys.platform == "linux" else None


@pytest.fixture(
    params=[
        pytest.param(COMPILER, id="C", marks=pytest.mark.skipif(not COMPILER, reason="needs a C compiler and epoll")),
        pytest.param(None, id="Python"),
    ]
)
def address(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """Yield host and port of a running server."""
    with serving(BODIES, compiler=request.param) as server:
        assert server.language == ("C" if request.param else "Python")
        url = urlsplit(server.url)
        yield str(url.hostname), int(url.port or 0)


@pytest.fixture(
    params=[
        pytest.param(COMPILER, id="C", marks=pytest.mark.skipif(not COMPILER, reason="needs a C compiler and epoll")),
        pytest.param(None, id="Python"),
    ]
)
def secure_connection(request: pytest.FixtureRequest) -> Iterator[HTTPSConnection]:
    """Yield one kept-alive connection to a server with TLS."""
    with serving(BODIES, compiler=request.param, tls=True) as server:
        if server.language != ("C" if request.param else "Python"):
            pytest.skip("needs the headers of OpenSSL")
        url = urlsplit(server.url)
        assert server.ca is not None
        context = ssl.create_default_context(cadata=server.ca.decode())
        found = HTTPSConnection(str(url.hostname), url.port, timeout=5, context=context)
        yield found
        found.close()


@pytest.fixture
def connection(address: tuple[str, int]) -> Iterator[HTTPConnection]:
    """Yield one kept-alive connection."""
    found = HTTPConnection(*address, timeout=5)
    yield found
    found.close()


def send(connection: HTTPConnection, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send a request, and return the status and the body of its reply."""
    connection.request("GET" if body is None else "POST", path, body)
    reply = connection.getresponse()
    return reply.status, reply.read()


def test_server_returns_the_body_of_a_name(connection: HTTPConnection) -> None:
    """Every body is returned under its name, one after the other on one connection."""
    assert [send(connection, f"/{name}") for name in BODIES] == [(200, body) for body in BODIES.values()]


def test_secure_server_keeps_its_connections(secure_connection: HTTPSConnection) -> None:
    """Small and large bodies go both ways over one connection, whose certificate the authority of the server signed."""
    assert send(secure_connection, "/1k") == (200, BODIES["1k"])
    first = secure_connection.sock
    assert send(secure_connection, "/1k", b"x" * 300_000) == (200, BODIES["1k"])
    assert send(secure_connection, "/100k") == (200, BODIES["100k"])
    assert secure_connection.sock is first


def test_server_returns_404_for_an_unknown_name(connection: HTTPConnection) -> None:
    """A misspelt path is an error."""
    assert send(connection, "/2k")[0] == 404


def test_server_reads_a_large_body(connection: HTTPConnection) -> None:
    """A body longer than the buffer is read to its end, and the next request on the connection is answered."""
    assert send(connection, "/1k", b"x" * 300_000) == (200, BODIES["1k"])
    assert send(connection, "/1k") == (200, BODIES["1k"])


def test_server_fails_every_tenth_request_below_fail10(connection: HTTPConnection) -> None:
    """Exactly every tenth reply is a 503."""
    statuses = [send(connection, "/fail10/1k")[0] for _ in range(31)]
    assert [number for number, status in enumerate(statuses, start=1) if status == 503] == [10, 20, 30]
    assert set(statuses) == {200, 503}


def test_server_answers_heads_in_pieces_once(address: tuple[str, int]) -> None:
    """Heads are recognised, wherever TCP splits them."""
    head = b"GET /1k HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection(address, timeout=5) as client:
        client.sendall(head + head[:10])
        first = client.recv(65536)
        client.sendall(head[10:-1])
        client.sendall(head[-1:])
        second = client.recv(65536)
    assert first.endswith(BODIES["1k"])
    assert second == first


def test_server_ends_with_its_context(address: tuple[str, int]) -> None:
    """After the context, connections are refused."""
    with serving(BODIES, compiler=None) as server:
        port = urlsplit(server.url).port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port or 0)), timeout=5)
