"""The hooks through which aiohttp tells how far a request has come, and which keep it from resending.

The resolver is called for new names and the socket factory for new connections only. The response object is started
once the head of the request has been handed to a connection. All three find the request's ``WireTrace`` in the context
variable ``current_trace``.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp import hdrs

from resilient_client._transport.aiohttp_internals import Connection, ResponseHandler, http_exceptions
from resilient_client._transport.gate import check_head, expect_response
from resilient_client._transport.trace import WireTrace, current_trace


class ConnectionLost(Exception):  # noqa: N818 - internal: only crosses aiohttp, never reaches a user
    """Carries a lost connection past aiohttp, which would resend the request if it recognised the exception."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


def create_socket(address: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
    """The socket factory for aiohttp: called once for each address that is tried."""
    family, kind, protocol, _, _ = address
    made = TracingSocket(family, kind, protocol)
    if (trace := current_trace.get()) is not None:
        if trace.connecting is None:
            trace.connecting = trace.clock()
        trace.connected = None  # of an earlier address, whose handshake failed
        trace.sockets = (*trace.sockets, made)
        made.trace = trace
    return made


class TracingSocket(socket.socket):
    """Marks when TCP is established, which is when the TLS handshake begins.

    Neither aiohttp nor an event loop reports that. But the loop itself learns it from the socket, in the way that
    connect(2) describes: ``connect`` returns, or ``SO_ERROR`` is read later and is zero. Both asyncio's selector loop
    and uvloop do.
    """

    __slots__ = ("trace",)

    trace: WireTrace | None

    def __init__(self, *what: int) -> None:
        super().__init__(*what)
        self.trace = None

    def connect(self, address: Any) -> None:
        super().connect(address)
        self._mark()

    def getsockopt(self, *what: int) -> Any:
        answer = super().getsockopt(*what)
        if answer == 0 and what == _ERROR:
            self._mark()
        return answer

    def _mark(self) -> None:
        trace, self.trace = self.trace, None  # the socket lives as long as the connection, which serves many requests
        if trace is not None and trace.connected is None:
            trace.connected = trace.clock()


_ERROR = (socket.SOL_SOCKET, socket.SO_ERROR)


def has_unasked_data(connection: Connection) -> bool:
    """Whether a response arrived before the request was sent: it would be taken for the response to this request."""
    return connection.protocol is not None and len(connection.protocol) > 0


class TracingResponse(aiohttp.ClientResponse):
    """Marks the sending of the request, and keeps aiohttp from resending it after a lost connection."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Wait for the head of the response."""
        trace, protocol = current_trace.get(), connection.protocol
        if trace is not None:
            trace.mark_sent(self._is_reused(connection, trace))
            trace.wire = connection.transport
            if protocol is not None:
                trace.gate = expect_response(protocol, self.method)
            if trace.tls and connection.transport is not None:
                trace.mark_encrypted(connection.transport)
            if trace.reused and has_unasked_data(connection):
                raise ConnectionLost(aiohttp.ServerDisconnectedError())
        timer = self._send_body_anyway_after(trace)
        try:
            await super().start(connection)
            check_head(self.headers, self.status)
        except http_exceptions.HttpProcessingError:
            if protocol is not None:
                protocol.close()  # it may be in the pool again: a response without content is over with its head
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as lost:
            failure = ConnectionLost(lost)
        else:
            if trace is not None:
                trace.mark_answered(None if connection.protocol is None else connection.protocol.force_close)
            if not self.content.is_eof() and connection.protocol is not None:
                wake_reader_when_lost(self.content, connection.protocol)
            return self
        finally:
            if timer is not None:
                timer.cancel()
        try:
            raise failure
        finally:
            del failure  # an error whose frame refers to it is freed only by the collector

    def _send_body_anyway_after(self, trace: WireTrace | None) -> asyncio.TimerHandle | None:
        """Let the body of a request with ``Expect: 100-continue`` go out unasked, after a while.

        The server's 100 may never come: it cannot pass an HTTP/1.0 proxy (RFC 9110 section 10.1.1).
        """
        asked = self._continue
        if asked is None or trace is None:
            return None
        return asyncio.get_running_loop().call_later(trace.continue_wait, _set_if_pending, asked)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status}>"  # without URL and headers, which aiohttp's shows

    def _is_reused(self, connection: Connection, trace: WireTrace) -> bool:
        return trace.connecting is None  # the socket factory was not called


def _set_if_pending(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(True)


class CallersTracingResponse(TracingResponse):
    """The same on a caller's session, which does not call our socket factory."""

    def _is_reused(self, connection: Connection, trace: WireTrace) -> bool:
        protocol = connection.protocol
        if protocol is None or protocol in _used:
            return protocol is not None
        _used.add(protocol)  # it may have been used by others before: treating it as new is the careful guess
        return False


_used: WeakSet[object] = WeakSet()


def wake_reader_when_lost(content: aiohttp.StreamReader, protocol: ResponseHandler) -> None:
    """Let the loss of the connection end the body.

    When the framing of a body breaks after the head was read, aiohttp closes the connection, but wakes only a reader of
    a head. The reader of the body would wait forever.
    """
    closed = protocol.closed
    if closed is None:
        return

    def lost(ended: asyncio.Future[None]) -> None:
        ended.exception()  # retrieved, or asyncio logs it as never retrieved
        if content.is_eof() or content.exception() is not None:
            return
        failure = aiohttp.ClientPayloadError("the connection was lost within the body")
        if isinstance(protocol.exception(), http_exceptions.HttpProcessingError):
            failure.__cause__ = http_exceptions.TransferEncodingError("the framing of the body broke")
        content.set_exception(failure)

    def complete() -> None:
        closed.remove_done_callback(lost)  # the connection may serve many more requests

    closed.add_done_callback(lost)
    content.on_eof(complete)


async def prevent_resend(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """The outermost aiohttp middleware: does for callers' sessions and for proxies what ``TracingResponse`` does.

    There, the response class belongs to the caller, or the connection fails before a response object exists.
    """
    trace = current_trace.get()
    if trace is not None and trace.authorization is not None:
        request.headers[hdrs.AUTHORIZATION] = trace.authorization  # in place of that of a .netrc or of the session
        trace.authorization = None
    if not issubclass(request.response_class, TracingResponse):
        request.response_class = _tracing(request.response_class)
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as lost:
        failure = ConnectionLost(lost)
    try:
        raise failure
    finally:
        del failure  # an error whose frame refers to it is freed only by the collector


_tracing_classes: dict[type[aiohttp.ClientResponse], type[aiohttp.ClientResponse]] = {
    aiohttp.ClientResponse: CallersTracingResponse
}


def _tracing(response_class: type[aiohttp.ClientResponse]) -> type[aiohttp.ClientResponse]:
    known = _tracing_classes.get(response_class)
    if known is None:
        known = type(f"Marking{response_class.__name__}", (CallersTracingResponse, response_class), {})
        _tracing_classes[response_class] = known
    return known
