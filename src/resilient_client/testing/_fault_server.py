"""`FaultServer`: a real server on the loopback interface that misbehaves as scripted.

It writes HTTP/1.1 by hand on asyncio's transports, because a proper server refuses to send the malformed replies that
a client has to survive. It decides nothing: each step of a script (see `faults`) answers one request, and the server
counts the requests that arrived. It never resends, repairs or times out anything. `refused_url` and `black_hole`
provide addresses where no server answers at all.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self, cast
from urllib.parse import parse_qsl

from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy

from resilient_client.testing._wire import ReceivedRequest, Step
from resilient_client.testing.faults import reply

_HOST = "127.0.0.1"
_MAX_HEAD_SIZE = 1 << 20


class FaultServer:
    """A loopback server that answers as scripted. `async with` starts and closes it.

    Until a script is set, every request gets an empty 200. A step that raises drops its connection, and `close` then
    raises the exception.

    Args:
        tls: Serve https with this context. Its certificate must name 127.0.0.1.
        port: The port to bind. 0 picks a free one. Pass the port of a closed server to restart it at the same address.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: list[ReceivedRequest] = []
        """Every request that arrived, in order, including those whose client disconnected while sending the body."""
        self.connections = 0
        """Connections accepted so far. With TLS, only those whose handshake succeeded."""
        self.active = 0
        """Requests that are being answered now."""
        self.peak = 0
        """The highest value that `active` has reached."""
        self._tls = tls
        self._port = port
        self._script = _Script((reply(),))
        self._routes: dict[tuple[str, str], _Script] = {}
        self._listener: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], _Connection] = {}
        self._errors: list[Exception] = []
        self._arrived = asyncio.Event()

    @property
    def port(self) -> int:
        """The bound port. Before the start it is the `port` argument, 0 by default."""
        return self._port

    @property
    def url(self) -> str:
        """The origin, without a trailing slash: `http://127.0.0.1:PORT`."""
        return f"{'https' if self._tls else 'http'}://{_HOST}:{self._port}"

    @property
    def hits(self) -> int:
        """The number of requests that reached the server. Compare it with what a client reports about its attempts."""
        return len(self.requests)

    def script(self, *steps: Step) -> None:
        """Replace the script. Each request takes one step, in order over all connections. The last step repeats."""
        self._script = _Script(steps)

    def route(self, method: str, path: str, *steps: Step) -> None:
        """Set a separate script for a method and path (as on the wire, without the query). The last step repeats."""
        self._routes[method, path] = _Script(steps)

    async def wait_for_hits(self, count: int) -> None:
        """Wait until `hits` is at least `count`. It has no timeout of its own."""
        while self.hits < count:
            await self._arrived.wait()

    async def start(self) -> None:
        """Bind and listen. `async with` calls it."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: _Connection(self), _HOST, self._port, ssl=self._tls)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, abort every connection and wait until all have ended. It is safe to call again.

        Raises:
            ExceptionGroup: The exceptions that steps of the script raised.
        """
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        listener.close()
        for connection in self._open.values():
            connection.abort()
        if self._open:
            await asyncio.wait(self._open)
        await listener.wait_closed()
        if self._errors:
            raise ExceptionGroup("steps of the FaultServer's script raised", self._errors)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _on_connection(self, connection: "_Connection") -> tuple[int, asyncio.Task[None]]:
        task = asyncio.get_running_loop().create_task(connection.serve())
        self._open[task] = connection
        task.add_done_callback(self._on_task_done)
        self.connections += 1
        return self.connections, task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        del self._open[task]
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._errors.append(error)

    def _on_request(self, request: ReceivedRequest) -> None:
        self.requests.append(request)
        # Wake the current waiters only. A later waiter must wait for the next request, so the event is cleared at once.
        self._arrived.set()
        self._arrived.clear()

    async def _answer(self, request: ReceivedRequest, connection: "_Connection") -> None:
        step = self._routes.get((request.method, request.path), self._script).next()
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            await step(request, connection)
        finally:
            self.active -= 1


class _Script:
    """Steps in order. The last one repeats."""

    __slots__ = ("_steps",)

    def __init__(self, steps: tuple[Step, ...]) -> None:
        if not steps:
            raise ValueError("a script needs at least one step")
        self._steps = deque(steps)

    def next(self) -> Step:
        return self._steps.popleft() if len(self._steps) > 1 else self._steps[0]


class _Connection(asyncio.Protocol):
    """One accepted connection. It reads the requests one by one and is the `Wire` that their steps write to."""

    _transport: asyncio.Transport
    _id: int
    _task: asyncio.Task[None]

    def __init__(self, server: FaultServer) -> None:
        self._server = server
        self._reader = asyncio.StreamReader(limit=_MAX_HEAD_SIZE)
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = asyncio.Event()
        self._answering = False
        self._close_on_reuse = False

    # --- Wire: called by steps ---

    async def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)
        # wait() on a set event does not yield to the loop. Without this yield, an endless reply to a client that reads
        # fast enough would block every other task.
        await asyncio.sleep(0)
        await self._writable.wait()

    def close(self) -> None:
        self._transport.close()

    def reset(self) -> None:
        # SO_LINGER with a timeout of 0 makes close() discard unsent data and send RST instead of FIN.
        peer: socket.socket = self._transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def close_on_reuse(self) -> None:
        self._close_on_reuse = True

    # --- asyncio.Protocol: called by the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # cast: uvloop's transport has all methods of asyncio.Transport, but not that base class.
        self._transport = cast("asyncio.Transport", transport)
        self._id, self._task = self._server._on_connection(self)

    def data_received(self, data: bytes) -> None:
        self._reader.feed_data(data)

    def eof_received(self) -> None:
        # Returning None closes the transport. A client that half-closes is treated as disconnected.
        self._reader.feed_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()
        self._writable.set()
        self._reader.feed_eof()
        # While a request is still being read, the end of the stream stops the task, and the incomplete request is
        # recorded. A cancellation would lose it.
        if self._answering:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- the task of the connection ---

    def abort(self) -> None:
        self._transport.abort()

    async def serve(self) -> None:
        """Read and answer requests until either side ends the connection. The socket is closed when this returns."""
        try:
            while not self._transport.is_closing() and (request := await self._receive()):
                self._server._on_request(request)
                if self._close_on_reuse or self._lost.is_set():
                    break  # counted, but it takes no step of the script
                self._answering = True
                try:
                    await self._server._answer(request, self)
                finally:
                    self._answering = False
                if request.headers.get("Connection", "").lower() == "close":
                    break
        except (Exception, asyncio.CancelledError):
            self._transport.abort()
            raise
        finally:
            self._transport.close()
            await self._lost.wait()

    async def _receive(self) -> ReceivedRequest | None:
        """Read the next request. Returns None when the client has disconnected or the data is not HTTP."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            line, *fields = head[:-4].decode("latin-1").split("\r\n")
            method, target, _version = line.split(" ")
            headers = CIMultiDict((name, value.strip()) for name, _, value in (f.partition(":") for f in fields))
            if headers.get("Expect", "").lower() == "100-continue":
                await self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body, complete = await self._receive_body(headers)
        except asyncio.IncompleteReadError:
            return None
        except (ValueError, asyncio.LimitOverrunError):
            await self.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            return None
        return self._request(method, target, headers, body, complete)

    def _request(
        self, method: str, target: str, headers: CIMultiDict[str], body: bytes, complete: bool
    ) -> ReceivedRequest:
        path, _, query = target.partition("?")
        return ReceivedRequest(
            method=method,
            target=target,
            path=path,
            query=MultiDictProxy(MultiDict(parse_qsl(query, keep_blank_values=True))),
            headers=CIMultiDictProxy(headers),
            body=body,
            complete=complete,
            connection_id=self._id,
            at=asyncio.get_running_loop().time(),
        )

    async def _receive_body(self, headers: CIMultiDict[str]) -> tuple[bytes, bool]:
        """Read the body. The flag is False if the client disconnected before its end."""
        body = bytearray()
        try:
            if headers.get("Transfer-Encoding", "").lower() != "chunked":
                body += await self._reader.readexactly(int(headers.get("Content-Length", "0")))
                return bytes(body), True
            while size := int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                body += await self._reader.readexactly(size)
                await self._reader.readuntil(b"\r\n")
            while await self._reader.readuntil(b"\r\n") != b"\r\n":
                pass  # trailer fields are discarded
        except asyncio.IncompleteReadError as cut:
            # The partial data of readexactly() is body. That of readuntil(), where ``expected`` is None, is framing.
            if cut.expected is not None:
                body += cut.partial
            return bytes(body), False
        return bytes(body), True


def refused_url() -> str:
    """Return the http URL of a loopback port without a listener, so that connecting is refused."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return f"http://{_HOST}:{probe.getsockname()[1]}"


@contextlib.contextmanager
def black_hole(*, connects: bool = True) -> Iterator[str]:
    """Provide the http URL of a port that accepts data and never answers, until the context ends.

    Args:
        connects: If True, the kernel completes the TCP handshake and no byte is ever sent back (TLS hangs too).
            If False, the listen backlog is full, so connecting itself hangs (Linux only).
    """
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server((_HOST, 0), backlog=128 if connects else 0))
        # Nothing accepts these connections. A backlog of 0 still holds one or two, so a few more fill it for certain.
        for _ in range(0 if connects else 4):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://{_HOST}:{listener.getsockname()[1]}"
