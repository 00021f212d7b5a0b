"""A server that a test drives byte by byte, on real sockets, plain or TLS, on any event loop.

TLS is spoken by hand over the plain socket, because no stream of asyncio ends one without its closure alert, or says
when each byte leaves.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Self

import trustme
from tests.behaviour.support import TIME_LIMIT, cancelled

from resilient_client import APIClient, ConnectionSettings

_LINGER_NONE = struct.pack("ii", 1, 0)  # close() then sends a reset


@cache
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A context for the server on 127.0.0.1, and one for clients that trust it."""
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return serving, trusting


class Peer:
    """The server's end of one connection.

    Attributes:
        number: Of the connection, counted from 0.
        sock: The plain socket.
    """

    def __init__(self, server: RawServer, sock: socket.socket, number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or a reset drops what Nagle's algorithm holds back
        self.number = number
        self.sock = sock
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._received = b""

    async def handshake(self) -> None:
        """Speak TLS from now on."""
        tls = tls_contexts()[0].wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                self._incoming.write(await self._read_socket())
            else:
                break
        await self._flush()
        self._tls = tls

    async def request(self) -> bytes:
        """The head of the next request. Whatever follows it is left for ``receive``.

        Raises:
            ConnectionError: The connection ended before.
        """
        while b"\r\n\r\n" not in self._received:
            self._received += await self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        self._server.hits += 1
        return head

    async def receive(self) -> bytes:
        """The next bytes after the head.

        Raises:
            ConnectionError: The connection ended.
        """
        if self._received:
            received, self._received = self._received, b""
            return received
        return await self._receive()

    async def send(self, data: bytes) -> None:
        """Send all of it, at once if the client takes it."""
        if self._tls is None:
            await self._loop.sock_sendall(self.sock, data)
            return
        for at in range(0, len(data), 16384):
            self._tls.write(data[at : at + 16384])
        await self._flush()

    def send_now(self, data: bytes) -> None:
        """Send a few bytes without a turn of the loop, so the client's loop cannot have read them."""
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        assert self.sock.send(data) == len(data)

    async def alert(self) -> None:
        """Send the closure alert of TLS."""
        assert self._tls is not None
        with suppress(ssl.SSLError):  # it wants the client's alert, too
            self._tls.unwrap()
        await self._flush()

    def fin(self) -> None:
        """Send no more, and go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection, while nothing is read from it."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self.sock.close()

    async def gone(self) -> bool:
        """Read until the client has closed the connection, and return ``True``."""
        with suppress(ConnectionError):
            while True:
                await self._receive()
        return True

    async def _receive(self) -> bytes:
        if self._tls is None:
            return await self._read_socket()
        while True:
            try:
                if data := self._tls.read(65536):
                    return data
                raise ConnectionAbortedError("the client sent its closure alert")
            except ssl.SSLWantReadError:
                self._incoming.write(await self._read_socket())
            except ssl.SSLError as error:
                raise ConnectionAbortedError(str(error)) from None

    async def _read_socket(self) -> bytes:
        if data := await self._loop.sock_recv(self.sock, 65536):
            return data
        raise ConnectionAbortedError("the client closed the connection")

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self._loop.sock_sendall(self.sock, data)


Serve = Callable[[Peer], Awaitable[object]]


class RawServer:
    """Serves each connection with a function, in a task of its own. A connection whose function ended is closed.

    Attributes:
        hits: Requests whose head was read.
        connections: Connections accepted.
        open: Connections whose function has not ended.
        most: The most of them at once.
        peers: All connections.
    """

    def __init__(
        self, serve: Serve, *, tls: bool = False, window: int = 0, host: str = "0.0.0.0", port: int = 0
    ) -> None:
        """Serve on loopback.

        Args:
            serve: Called with each connection. That the client ends it is no failure.
            tls: Speak TLS.
            window: Bytes of the receive buffer of each connection; 0 leaves the system's.
            host: The address to listen on; all by default.
            port: The port; 0 takes a free one.
        """
        self._serve = serve
        self._tls = tls
        self._address = host, port
        self._window = window
        self._tasks: set[asyncio.Task[None]] = set()
        self.hits = self.connections = self.open = self.most = 0
        self.peers: list[Peer] = []
        self.failures: list[BaseException] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._window:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._window)
        self._listener.bind(self._address)
        self._listener.listen(256)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listener, self._accept)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        await cancelled(self._tasks)
        if self.failures:
            raise self.failures[0]

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        peer = Peer(self, sock, self.connections)
        self.peers.append(peer)
        self.connections += 1
        self.open += 1
        self.most = max(self.most, self.open)
        task = asyncio.create_task(self._run(peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, peer: Peer) -> None:
        try:
            if self._tls:
                await peer.handshake()
            await self._serve(peer)
        except (ConnectionError, ssl.SSLError):
            pass
        except Exception as failure:
            self.failures.append(failure)
        finally:
            self.open -= 1
            peer.sock.close()


def raw_client(server: RawServer | str | None, **options: object) -> APIClient:
    """A client that trusts the server and does not retry, so that a call is one request on the wire."""
    url = server.url if isinstance(server, RawServer) else server
    connection = {"tls": tls_contexts()[1]} | options.pop("connection", {})  # type: ignore[operator]  # a dict in tests
    settings = ConnectionSettings(**connection)
    return APIClient(url, **({"retry": None, "circuit_breaker": None, "connection": settings} | options))  # type: ignore[arg-type]  # mixed values


async def until(reached: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(TIME_LIMIT):
        while not reached():
            await asyncio.sleep(0.001)


def open_connections(api: APIClient) -> int:
    """Return how many connections the client has open, idle ones included."""
    path = api._runtime.transport._direct_path  # type: ignore[attr-defined]  # not public
    return 0 if path is None else path.open_connections


def open_sockets() -> int:
    """Return how many sockets this process has open. An event loop opens other files when it likes."""

    def is_socket(file: str) -> bool:
        try:
            return stat.S_ISSOCK(os.fstat(int(file)).st_mode)
        except OSError:  # the directory itself, which is closed again
            return False

    return sum(map(is_socket, os.listdir("/dev/fd")))


@contextmanager
def keeps_nothing() -> Iterator[Callable[[], Awaitable[None]]]:
    """Gives a check that no socket and no task is left from within the block. Await it when all is closed."""
    sockets, tasks = open_sockets(), len(asyncio.all_tasks())

    async def check() -> None:
        await until(lambda: open_sockets() <= sockets and len(asyncio.all_tasks()) <= tasks)

    yield check
