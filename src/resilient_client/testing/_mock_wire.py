"""A simulated connection: it lets time pass, raises failures and delivers replies.

It raises the exceptions that aiohttp raises, and it records the progress of a request where aiohttp's hooks would.
The transport above therefore translates both exactly as for a real connection. It knows nothing of scripts.
"""

from __future__ import annotations

import asyncio
import errno
import math
import socket
import ssl
from collections import deque
from typing import Any, Never

import aiohttp
from aiohttp import http_exceptions
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._transport.hooks import ConnectionLost
from resilient_client._transport.trace import WireTrace
from resilient_client.testing._mock_steps import MockFailure, MockReply

BEFORE_SENDING = frozenset({Stage.POOL, Stage.DNS, Stage.CONNECT, Stage.TLS})
"""The stages in which nothing has reached the upstream yet."""


class MemoryWire:
    """One simulated connection, for one request."""

    __slots__ = ("_timeout", "_trace")

    def __init__(self, trace: WireTrace, timeout: aiohttp.ClientTimeout) -> None:
        self._trace = trace
        self._timeout = timeout

    def send(self) -> None:
        """Mark the request as sent, on a connection that was opened for it."""
        self._enter_stage(Stage.CONNECT)
        self._trace.connected = self._trace.connecting
        self._trace.mark_sent(False)

    async def silence(self, seconds: float) -> None:
        """Let time pass without a byte from the server. A silence longer than `sock_read` raises a timeout."""
        idle = self._timeout.sock_read
        if idle is not None and seconds > idle:
            await asyncio.sleep(idle)
            raise aiohttp.SocketTimeoutError
        await _sleep(seconds)

    async def fail(self, failure: MockFailure) -> Never:
        """Advance the request to the stage of the failure, wait for its delay and raise its exception."""
        self._enter_stage(failure.stage)
        if failure.reused:
            self._trace.reused = True
        # A timeout is nothing but silence. The client's own timers end it, so the exception, its stage and its time
        # come from the code under test.
        silent = failure.kind in (ErrorKind.TIMEOUT, ErrorKind.POOL)
        seconds = math.inf if silent else failure.delay
        limit = self._timeout.connect
        if failure.stage in (Stage.HEADERS, Stage.BODY):
            await self.silence(seconds)
        elif limit is not None and seconds > limit and failure.stage in BEFORE_SENDING - {Stage.POOL}:
            # aiohttp's connect timeout starts after the transport's own pool, hence not for Stage.POOL.
            await asyncio.sleep(limit)
            raise aiohttp.ConnectionTimeoutError
        else:
            await _sleep(seconds)
        raise _aiohttp_error(failure)

    def _enter_stage(self, stage: Stage) -> None:
        """Set the marks that a real request has in a stage. The transport derives an error's stage from them."""
        trace = self._trace
        now = trace.clock()
        if stage is Stage.POOL:
            trace.pooled = None
        elif stage is Stage.DNS:
            trace.resolving = now
        elif stage in (Stage.CONNECT, Stage.TLS):
            trace.resolving = trace.resolved = trace.connecting = now
            trace.tls = trace.tls or stage is Stage.TLS
            trace.connected = now if stage is Stage.TLS else None
        trace.uploading = stage is Stage.SEND


async def _sleep(seconds: float) -> None:
    if seconds == math.inf:
        # No timer: only a timeout or a cancellation by the client ends this wait.
        await asyncio.get_running_loop().create_future()
    elif seconds > 0:
        await asyncio.sleep(seconds)


# aiohttp's exceptions require these arguments. The translation of errors does not use them.
_KEY = ConnectionKey("memory", 0, False, True, None, None, None)
_INFO = aiohttp.RequestInfo(URL("memory:"), "GET", CIMultiDictProxy(CIMultiDict()))


def _aiohttp_error(failure: MockFailure) -> Exception:
    """Return the exception that aiohttp raises for a network failure."""
    match failure.kind, failure.stage:
        case ErrorKind.DNS, _:
            return aiohttp.ClientConnectorDNSError(_KEY, socket.gaierror(socket.EAI_NONAME, "the name is not known"))
        case ErrorKind.CONNECT, _:
            return aiohttp.ClientConnectorError(_KEY, ConnectionRefusedError(errno.ECONNREFUSED, "connection refused"))
        case ErrorKind.TLS, _:
            untrusted = ssl.SSLCertVerificationError(1, "certificate verify failed")
            untrusted.verify_message = "self-signed certificate"
            return aiohttp.ClientConnectorCertificateError(_KEY, untrusted)
        case ErrorKind.DISCONNECTED, Stage.BODY:
            return aiohttp.ClientPayloadError("Not enough data to satisfy content length header.")
        # ConnectionLost: below the transport, lost connections are wrapped so that aiohttp does not resend the request.
        case ErrorKind.DISCONNECTED, Stage.SEND:
            return ConnectionLost(aiohttp.ClientOSError(errno.ECONNRESET, "connection reset"))
        case ErrorKind.DISCONNECTED, _:
            return ConnectionLost(aiohttp.ServerDisconnectedError())
        case ErrorKind.PROTOCOL, Stage.BODY:
            # aiohttp raises ClientPayloadError for a cut body and for bad framing. The cause distinguishes the two.
            malformed = aiohttp.ClientPayloadError("bad framing")
            malformed.__cause__ = http_exceptions.TransferEncodingError("bad chunk size")
            return malformed
        case ErrorKind.PROTOCOL, _:
            return aiohttp.ClientResponseError(_INFO, (), status=400, message="expected HTTP")
        case _:
            raise AssertionError(f"{failure!r} is a silence; a timer ends it before it can raise")


class MemoryResponse:
    """The part of `aiohttp.ClientResponse` that the transport uses."""

    __slots__ = ("content", "content_length", "headers", "status")

    def __init__(self, reply: MockReply, wire: MemoryWire, *, bodiless: bool) -> None:
        self.status = reply.status
        self.headers = reply.headers
        length = reply.headers.get("Content-Length")
        self.content_length = int(length) if length is not None and length.isdigit() else None
        self.content = _Content(() if bodiless or self.status in (204, 304) else reply.content, wire)

    def close(self) -> None:
        """Do nothing: there is no connection to release."""

    release = close


class _Content:
    """The part of `aiohttp.StreamReader` that the transport uses."""

    __slots__ = ("_parts", "_wire")

    def __init__(self, parts: tuple[bytes | float | MockFailure, ...], wire: MemoryWire) -> None:
        self._parts: deque[Any] = deque(parts)
        self._wire = wire

    def at_eof(self) -> bool:
        return not self._parts

    def is_eof(self) -> bool:
        # Only when all that is left is bytes: the transport then reads the rest at once, without waiting.
        return all(isinstance(part, bytes) for part in self._parts)

    def read_nowait(self) -> bytes:
        rest = b"".join(self._parts)
        self._parts.clear()
        return rest

    async def readany(self) -> bytes:
        while self._parts:
            part = self._parts.popleft()
            if isinstance(part, bytes):
                return part
            if isinstance(part, MockFailure):
                await self._wire.fail(part)
            await self._wire.silence(part)
        return b""
