"""How far one wire request has come, known without aiohttp's traces, which would cost a fifth of a request.

Public hooks of aiohttp tell everything: the resolver is asked for new names, the socket factory is called for new
connections only, and the response object is started once the request's head has been handed to the connection. A
context variable carries the ``WireTrace`` to them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp import http_exceptions
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientResponse
from aiohttp.connector import Connection

from resilient_client._core.certificate import Certificate
from resilient_client._core.kinds import Stage
from resilient_client._core.timings import Timings
from resilient_client._transport.certificate import certificate_of

current_trace: ContextVar[WireTrace | None] = ContextVar("resilient_client_progress", default=None)


class ConnectionLost(Exception):  # noqa: N818 - internal: only crosses aiohttp, never reaches a user
    """Carries a lost connection past aiohttp, which would otherwise resend the request behind our back."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class WireTrace:
    """The marks of one wire request, in seconds on the transport's clock; ``None`` for what did not happen (yet)."""

    pooled: float | None = None
    resolving: float | None = None
    resolved: float | None = None
    connecting: float | None = None
    connected: float | None = None
    sent: float | None = None
    replied: float | None = None
    ended: float | None = None
    uploading = False
    wire: asyncio.WriteTransport | None = None  # until the answer to all that was sent there
    reused: bool | None = None
    sockets: tuple[socket.socket, ...] = ()
    peer: Mapping[str, Any] | None = None

    def __init__(self, clock: Callable[[], float], attempt: int, tls: bool) -> None:
        self.clock = clock
        self.attempt = attempt
        self.tls = tls
        self.began = clock()

    def mark_sent(self, reused: bool) -> None:
        """The head of the request is with a connection, new or ``reused``: from now on the server may act."""
        self.sent = self.clock()
        self.reused = reused
        if self.sockets:
            self.sockets = ()  # the connection has its own; whoever keeps this must not keep them

    def mark_answered(self, protocol: ResponseHandler | None) -> None:
        """The head of the reply is here; ``protocol`` has the connection, if that is still ours.

        An answer to a request that is not sent whole is the last thing the connection is good for.
        """
        if self.uploading or (protocol is not None and _has_unsent(self.wire)):
            self.uploading = True
            if protocol is not None:
                protocol.force_close()
        else:
            self.wire = None

    def mark_failed(self) -> Stage:
        """It is over; gives the stage in which it ended."""
        self.ended = self.clock()
        stage, self.sockets = self.stage(), ()
        self.cut_off()
        return stage

    def cut_off(self) -> None:
        """End a connection that is good for nothing more. To close it in order would wait until the rest is taken."""
        wire, self.wire = self.wire, None
        if wire is not None:
            wire.abort()

    def stage(self) -> Stage:
        """Where the request stands."""
        if self.replied is not None:
            return Stage.BODY
        if self.sent is not None:
            return Stage.SEND if self.uploading or _has_unsent(self.wire) else Stage.HEADERS
        if self.pooled is None:
            return Stage.POOL
        if self.resolving is not None and self.resolved is None:
            return Stage.DNS
        connected = self.connected is not None or any(map(_connected, self.sockets))
        return Stage.TLS if self.tls and connected else Stage.CONNECT

    def timings(self) -> Timings:
        """The durations between the marks; what failed within one of them ends it."""
        return Timings(
            pool=self._between(self.began, self.pooled),
            dns=self._between(self.resolving, self.resolved),
            connect=self._between(self.connecting, self.sent if self.connected is None else self.connected),
            tls=self._between(self.connected, self.sent) if self.tls else None,
            first_byte=self._between(self.sent, self.replied),
            body=self._between(self.replied, self.ended),
        )

    def certificate(self) -> Certificate | None:
        """The certificate that the server showed in the handshake of this very request."""
        return certificate_of(self.peer)

    def _between(self, start: float | None, end: float | None) -> float | None:
        end = self.ended if end is None else end
        return None if start is None or end is None else end - start


def _has_unsent(wire: asyncio.WriteTransport | None) -> bool:
    """Whether something that was written there has not left this process yet."""
    return wire is not None and wire.get_write_buffer_size() > 0


def _connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


class TracingResolver(AbstractResolver):
    """The system's resolver, which tells when it is asked.

    Chosen by name, because aiohttp's default changes to another one as soon as some package is installed.
    """

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve ``host`` by the operating system."""
        trace = current_trace.get()
        if trace is not None:
            trace.resolving = trace.clock()
        found = await self._resolver.resolve(host, port, family)
        if trace is not None:
            trace.resolved = trace.clock()
        return found

    async def close(self) -> None:
        """Close the system's resolver."""
        await self._resolver.close()


def speaks_unasked(connection: Connection) -> bool:
    """Whether there is a reply on it already, before the request: it would be taken for the answer."""
    return connection.protocol is not None and len(connection.protocol) > 0


class TracingResponse(ClientResponse):
    """Marks the sending of the request, and keeps aiohttp from resending it after a lost connection."""

    async def start(self, connection: Connection) -> ClientResponse:
        """Wait for the head of the reply."""
        trace = current_trace.get()
        if trace is not None:
            trace.mark_sent(self._is_reused(connection, trace))
            trace.wire = connection.transport
            if trace.reused and speaks_unasked(connection):
                raise ConnectionLost(aiohttp.ServerDisconnectedError())
            if trace.tls and not trace.reused and connection.transport is not None:
                trace.peer = connection.transport.get_extra_info("peercert")  # decoded in the handshake anyway
        try:
            await super().start(connection)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as lost:
            failure = ConnectionLost(lost)
        else:
            if trace is not None:
                trace.mark_answered(connection.protocol)
            if not self.content.is_eof() and connection.protocol is not None:
                wake_reader_when_lost(self.content, connection.protocol)
            return self
        raise failure

    def _is_reused(self, connection: Connection, trace: WireTrace) -> bool:
        return trace.connecting is None  # our socket factory was not asked for one


class CallersTracingResponse(TracingResponse):
    """The same on a session that is not ours, and does not ask our socket factory."""

    def _is_reused(self, connection: Connection, trace: WireTrace) -> bool:
        protocol = connection.protocol
        if protocol is None or protocol in _used:
            return protocol is not None
        _used.add(protocol)  # others may have used it before us: taking it for new is the careful guess
        return False


_used: WeakSet[object] = WeakSet()


def wake_reader_when_lost(content: aiohttp.StreamReader, protocol: ResponseHandler) -> None:
    """Let the loss of the connection end the body.

    aiohttp closes the connection when the framing of a body breaks after the head was read, but tells only who waits
    for a head: the reader of the body would wait for ever.
    """
    closed = protocol.closed
    if closed is None:
        return

    def lost(ended: asyncio.Future[None]) -> None:
        ended.exception()  # looked at, so that nobody complains that nobody did
        if content.is_eof() or content.exception() is not None:
            return
        failure = aiohttp.ClientPayloadError("the connection was lost within the body")
        if isinstance(protocol.exception(), http_exceptions.HttpProcessingError):
            failure.__cause__ = http_exceptions.TransferEncodingError("the framing of the body broke")
        content.set_exception(failure)

    def whole() -> None:
        closed.remove_done_callback(lost)  # the connection may live on for many replies

    closed.add_done_callback(lost)
    content.on_eof(whole)


async def prevent_resend(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> ClientResponse:
    """The outermost aiohttp middleware, where our response class or a plain connection are not to be had.

    Does for a session that is not ours, and for proxies, what ``TracingResponse`` does for ours.
    """
    if not issubclass(request.response_class, TracingResponse):
        request.response_class = _tracing(request.response_class)
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as lost:
        failure = ConnectionLost(lost)
    raise failure


_tracing_classes: dict[type[ClientResponse], type[ClientResponse]] = {ClientResponse: CallersTracingResponse}


def _tracing(response_class: type[ClientResponse]) -> type[ClientResponse]:
    known = _tracing_classes.get(response_class)
    if known is None:
        known = type(f"Marking{response_class.__name__}", (CallersTracingResponse, response_class), {})
        _tracing_classes[response_class] = known
    return known
