"""The direct path: requests over HTTP/1.1 connections of our own.

A session of aiohttp is the home of proxies, cookies, aiohttp's middlewares, and what replaces its methods, as mocks and
tracers do. Everything else goes this way, at less than half of the cost.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple
from weakref import ref

from aiohttp import hdrs
from multidict import CIMultiDict

from resilient_client._core.cache import BoundedCache
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.request import Request
from resilient_client._settings.connection import ConnectionSettings
from resilient_client._transport.decoding import BodyTooLarge
from resilient_client._transport.default_headers import default_headers
from resilient_client._transport.http1.connection import Connection
from resilient_client._transport.http1.dialer import Dialer
from resilient_client._transport.http1.failure import Failure, Reason
from resilient_client._transport.http1.head import field_lines
from resilient_client._transport.http1.idle import IdleConnections
from resilient_client._transport.http1.response import DirectResponse, ResponseFailed
from resilient_client._transport.http1.upload import send_body
from resilient_client._transport.request_body import Upload
from resilient_client._transport.resolver import SystemResolver
from resilient_client._transport.trace import WireTrace

_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_FRAMING: Final = ((hdrs.CONTENT_LENGTH, ""), (hdrs.TRANSFER_ENCODING, ""))
_TOO_LARGE: Final = Reason.BODY_TOO_LARGE


class ConnectTimeout(Exception):  # noqa: N818 - internal: the transport translates it
    """There was no connection within the limit."""


class _Origin(NamedTuple):
    """What is the same for all requests to an endpoint.

    Attributes:
        host: To connect to.
        headers: Of every request.
        lines: The same as bytes.
        taken: Their names, and those of the fields that frame a body. A request that has one of them is merged.
    """

    host: str
    headers: CIMultiDict[str]
    lines: bytes
    taken: CIMultiDict[str]


class DirectPath:
    """Sends requests over the connections of one client. Belongs to one event loop. ``close`` it."""

    def __init__(self, settings: ConnectionSettings) -> None:
        """Open no connection yet."""
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._max_size = settings.max_response_size
        self._limit = settings.pool_size
        self._single_use = not settings.keepalive
        self._origins: BoundedCache[Endpoint, _Origin] = BoundedCache()
        self._open: set[Connection] = set()
        self._dialing = 0
        self._on_lost = _forgetting(ref(self))
        self._closed = False
        self._idle = IdleConnections(settings.keepalive)
        self._resolver = SystemResolver(settings.dns_ttl)
        self._dialer = Dialer(settings.tls, self._resolver, self._new_connection)

    async def send(self, request: Request, connect: float | None, idle: float | None, trace: WireTrace) -> Connection:
        """Send a request and wait for its response, or for the head of it where ``Connection.send`` says so.

        Give the connection back as soon as its response is taken, or make a ``response`` of it.

        Args:
            request: The request. A body that is not sent in one piece is in ``trace.upload``.
            connect: Seconds for a new connection, or ``None``.
            idle: Seconds for which the server may be silent, or ``None``.
            trace: Of the request.

        Raises:
            CannotConnect: There is no connection.
            ConnectTimeout: There is none in time.
            ResponseFailed: The response did not become complete.
            OSError: A file of the body cannot be measured.
        """
        endpoint = request.endpoint
        origin = self._origins.get(endpoint) or self._meet(request)
        head = self._head(request, origin, trace.upload)
        connection = self._idle.take(endpoint)
        if connection is None:
            connection = await self._connect(origin.host, endpoint.port, connect, trace)
        try:
            early = request.context.streaming
            waiter = connection.send(request.method, head, trace, early=early, max_body=self._max_size)
            trace.mark_sent(trace.connecting is None)
            if trace.connecting is not None and trace.tls and connection.transport is not None:
                trace.peer = connection.transport.get_extra_info("peercert")  # decoded in the handshake anyway
            if request.body is not None:
                self._send_body(request, connection, idle, trace)
            elif idle is not None:
                connection.limit_silence(idle)
            await waiter
            if connection.status:
                trace.replied = connection.replied_at or trace.clock()
            if (failed := connection.failure) is not None:
                raise BodyTooLarge(self._max_size or 0) if failed.reason is _TOO_LARGE else ResponseFailed(failed)
        except BaseException:
            if connection.status:
                trace.replied = connection.replied_at or trace.clock()
            trace.mark_unsent()
            connection.close()
            raise
        if request.body is not None:
            self._check_sent(connection, trace)
        if self._single_use or (request.headers and _asks_to_close(request.headers)):
            connection.close_after_response()
        return connection

    def response(self, endpoint: Endpoint, connection: Connection) -> DirectResponse:
        """The response of a connection that ``send`` returned, whose content is still to be read."""
        return DirectResponse(connection, partial(self.give_back, endpoint))

    def give_back(self, endpoint: Endpoint, connection: Connection) -> None:
        """Keep the connection for the next request, or close it if its response is not complete."""
        connection.finish()
        self._idle.put(endpoint, connection)

    def idle_transports(self) -> list[asyncio.Transport]:
        """The transports of the connections that are kept for reuse."""
        return self._idle.transports()

    def __del__(self) -> None:
        if self.open_connections and not self._loop.is_closed():
            self.close()
            what = "a client was not closed; use 'async with', or await close()"
            warnings.warn(what, ResourceWarning, stacklevel=2, source=self)

    @property
    def open_connections(self) -> int:
        """How many connections are open, idle ones included."""
        return len(self._open)

    def close(self) -> None:
        """Close all connections, also those in use, and drop all lookups."""
        self._closed = True
        self._resolver.shut()
        self._idle.close()
        for connection in list(self._open):
            connection.close()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _head(self, request: Request, origin: _Origin, upload: Upload | None) -> bytes:
        """The head of the request, with its body where that is sent in one piece."""
        method, body, headers = request.method, request.body, request.headers
        start = f"{method} {request.url.raw_path_qs} HTTP/1.1\r\n".encode()
        if not headers:
            fields = origin.lines
        elif any(name in origin.taken for name in headers):
            fields = field_lines(_merged(origin.headers, headers))
        else:
            fields = origin.lines + field_lines(headers)
        if upload is not None:
            size = upload.length()
            framing = b"Transfer-Encoding: chunked\r\n" if size is None else b"Content-Length: %d\r\n" % size
            return start + fields + framing + b"\r\n"
        if body is not None:
            return b"%b%bContent-Length: %d\r\n\r\n%b" % (start, fields, len(body.source), body.source)
        if method in _BODILESS:
            return start + fields + b"\r\n"
        return start + fields + b"Content-Length: 0\r\n\r\n"

    def _send_body(self, request: Request, connection: Connection, idle: float | None, trace: WireTrace) -> None:
        """Send what is left of the body in a task of its own. In one piece it is on its way already."""
        trace.wire = connection.transport
        upload = trace.upload
        if upload is None:
            if idle is not None:
                connection.limit_silence(idle)
            return
        upload.sending = self._loop.create_task(
            send_body(
                upload,
                connection,
                trace,
                chunked=upload.length() is None,
                asks_first=hdrs.EXPECT in request.headers,
                silence=idle,
            )
        )

    def _check_sent(self, connection: Connection, trace: WireTrace) -> None:
        """A connection that is answered before the request was sent whole is not used again (RFC 9112 section 9.5)."""
        sending = None if trace.upload is None else trace.upload.sending
        if sending is not None and not (sending.done() and not sending.cancelled() and sending.result()):
            connection.close_after_response()
        trace.mark_answered(connection.close_after_response)

    async def _connect(self, host: str, port: int, limit: float | None, trace: WireTrace) -> Connection:
        self._dialing += 1
        timer = asyncio.timeout(limit)
        try:
            if self._limit and len(self._open) + self._dialing > self._limit and self._idle.close_oldest():
                await asyncio.sleep(0)  # the loop closes the socket in its next iteration
            async with timer:
                connection = await self._dialer.connect(host, port, trace)
        except TimeoutError:
            if not timer.expired():
                raise
        else:
            if self._closed:
                connection.close()
                raise ResponseFailed(Failure(Reason.ABORTED))
            self._open.add(connection)
            return connection
        finally:
            self._dialing -= 1
        raise ConnectTimeout

    def _new_connection(self) -> Connection:
        settings = self._settings
        return Connection(self._loop, settings.max_field_size, settings.max_headers, self._on_lost)

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        self._open.discard(connection)
        self._idle.discard(connection)

    def _meet(self, request: Request) -> _Origin:
        url = request.url
        headers = default_headers(url.host_port_subcomponent or "")
        if self._single_use:
            headers = headers.copy()
            headers[hdrs.CONNECTION] = "close"
        origin = _Origin(url.raw_host or "", headers, field_lines(headers), CIMultiDict([*headers.items(), *_FRAMING]))
        self._origins.put(request.endpoint, origin)
        return origin


def _merged(defaults: CIMultiDict[str], headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """The headers of a request over the default ones. What frames the body is added with it, by whoever knows it."""
    merged = defaults.copy()
    merged.update(headers)
    for name, _ in _FRAMING:
        merged.popall(name, None)
    return merged


def _asks_to_close(headers: CIMultiDict[str]) -> bool:
    """Whether the request says that it is the last one on its connection (RFC 9112 section 9.6)."""
    return any("close" in value.lower() for value in headers.getall(hdrs.CONNECTION, ()))


def _forgetting(path: ref[DirectPath]) -> Callable[[Connection], None]:
    """What a connection calls when it is lost. It does not keep the path alive, so that a dropped client is noticed."""

    def forget(connection: Connection) -> None:
        alive = path()
        if alive is not None:
            alive.forget(connection)

    return forget
