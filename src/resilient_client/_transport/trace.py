"""The trace of one wire request: how far it has come, and when.

The direct path sets the marks itself. On the session path aiohttp's own tracing would cost a fifth of a request, so the
``hooks`` set them, to which the context variable ``current_trace`` carries the trace.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from resilient_client._core.certificate import Certificate
from resilient_client._core.kinds import Stage
from resilient_client._core.timings import Timings
from resilient_client._transport.certificate import certificate_of
from resilient_client._transport.gate import Gate

if TYPE_CHECKING:
    from resilient_client._transport.request_body import Upload

current_trace: ContextVar[WireTrace | None] = ContextVar("resilient_client_trace", default=None)


MAX_CONTINUE_WAIT: Final = 1.0
"""Seconds to wait for a 100 (Continue), at most; curl's value."""


class WireTrace:
    """The marks of one wire request, in seconds on the transport's clock; ``None`` for what has not happened.

    Attributes:
        began: When the request reached the transport.
        pooled: When it got a slot in the pool.
        resolving: When the name lookup began, if one was needed; ``resolved``: when it ended.
        connecting: When the first socket was made, if one was needed; ``connected``: when TCP was established.
        sent: When the head was handed to a connection: from then on the server may act.
        replied: When the head of the response was there.
        ended: When the body was read, or the request failed.
        upload: The body on its way, if it takes an upload.
        uploading: Whether part of the body has not been handed over yet.
        wire: The transport, until the response to everything that was sent there; what is unsent there stays known.
        reused: Whether it went out on a kept-alive connection.
        sockets: Those that were tried; empty once the request is sent.
        encrypted: The transport of a TLS connection, until the exchange is over.
        peer: The certificate of the server as decoded by ``ssl``, of a new connection.
        continue_wait: Seconds to wait for a 100 (Continue) before the body is sent without it.
        gate: The protocol of the connection, once a response is expected there.
        authorization: The caller's own ``Authorization`` on its way past a session that has another, until it is set.
    """

    pooled: float | None = None
    resolving: float | None = None
    resolved: float | None = None
    connecting: float | None = None
    connected: float | None = None
    sent: float | None = None
    replied: float | None = None
    ended: float | None = None
    upload: Upload | None = None
    uploading = False
    wire: asyncio.WriteTransport | None = None
    reused: bool | None = None
    sockets: tuple[socket.socket, ...] = ()
    encrypted: asyncio.WriteTransport | None = None
    peer: Mapping[str, Any] | None = None
    gate: Gate | None = None
    continue_wait = MAX_CONTINUE_WAIT
    authorization: str | None = None

    def __init__(self, clock: Callable[[], float], attempt: int, tls: bool) -> None:
        self.clock = clock
        self.attempt = attempt
        self.tls = tls
        self.began = clock()

    def mark_sent(self, reused: bool) -> None:
        """The head of the request is with a connection, new or ``reused``."""
        self.sent = self.clock()
        self.reused = reused
        if self.sockets:
            self.sockets = ()  # the connection owns them; this trace may be kept for long in a history

    def mark_encrypted(self, transport: asyncio.WriteTransport) -> None:
        """The request was sent over TLS; call it after ``mark_sent``."""
        self.encrypted = transport
        if not self.reused:
            self.peer = transport.get_extra_info("peercert")  # decoded in the handshake anyway

    def mark_answered(self, close: Callable[[], None] | None) -> None:
        """The head of the response is there.

        A connection that is answered before the request was sent whole is not used again.

        Args:
            close: Lets the connection be closed after the response. ``None``: it is not ours any more.
        """
        if self.uploading or (close is not None and _has_unsent(self.wire)):
            self.uploading = True
            if close is not None:
                close()
        else:
            self.wire = None

    def mark_replied(self) -> float:
        """The head of the response is there, and its content is still to come. Returns the time."""
        self.replied = now = self.clock()
        return now

    def mark_unsent(self) -> None:
        """The connection is about to be closed: remember whether all of the request has left this process."""
        self.uploading = self.uploading or _has_unsent(self.wire)

    def mark_failed(self) -> Stage:
        """The request failed; returns the stage in which it ended."""
        self.ended = self.clock()
        stage, self.sockets = self.stage(), ()
        self.abort()
        return stage

    def release(self) -> None:
        """The exchange is over, and with it what is left of an upload and of a TLS connection that is not kept alive.

        Such a connection has sent its closure alert. RFC 9112 section 9.8 allows to close it without the server's, for
        which an event loop would wait up to 30 seconds, with the socket open.
        """
        if self.upload is not None:
            self.upload.close()
        if self.wire is not None:
            self.abort()
        if self.encrypted is not None:
            encrypted, self.encrypted = self.encrypted, None
            if encrypted.is_closing():
                encrypted.abort()

    def abort(self) -> None:
        """Abort a connection with unsent data. An orderly close would wait until the server has taken all of it."""
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
