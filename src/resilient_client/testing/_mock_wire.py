"""A connection that is not there: time passes on it, failures strike, replies come.

What a failure raises here is what aiohttp raises, and how far the request has come is marked where aiohttp's hooks
would, so that the transport above translates both as it does for a real connection. It knows nothing of scripts.
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
from resilient_client.testing._scripted import ScriptedFailure, ScriptedReply

BEFORE_SENDING = frozenset({Stage.POOL, Stage.DNS, Stage.CONNECT, Stage.TLS})
"""The stages of which the upstream hears nothing."""


class MemoryWire:
    """One connection that is not there: time passes on it, and failures strike."""

    __slots__ = ("_progress", "_timeout")

    def __init__(self, progress: WireTrace, timeout: aiohttp.ClientTimeout) -> None:
        self._progress = progress
        self._timeout = timeout

    def send(self) -> None:
        """Mark the request as sent, on a connection that was opened for it."""
        self._reach(Stage.CONNECT)
        self._progress.connected = self._progress.connecting
        self._progress.mark_sent(False)

    async def silence(self, seconds: float) -> None:
        """Let time pass without a byte from the server; longer than `idle` is a timeout."""
        idle = self._timeout.sock_read
        if idle is not None and seconds > idle:
            await asyncio.sleep(idle)
            raise aiohttp.SocketTimeoutError
        await _pass(seconds)

    async def strike(self, failure: ScriptedFailure) -> Never:
        """Bring the request to where the failure strikes, and let it strike."""
        self._reach(failure.stage)
        if failure.reused:
            self._progress.reused = True
        silent = failure.kind in (ErrorKind.TIMEOUT, ErrorKind.POOL)
        seconds = math.inf if silent else failure.delay
        limit = self._timeout.connect
        if failure.stage in (Stage.HEADERS, Stage.BODY):
            await self.silence(seconds)
        elif limit is not None and seconds > limit and failure.stage in BEFORE_SENDING - {Stage.POOL}:
            await asyncio.sleep(limit)
            raise aiohttp.ConnectionTimeoutError
        else:
            await _pass(seconds)
        raise _foreign(failure)

    def _reach(self, stage: Stage) -> None:
        progress = self._progress
        now = progress.clock()
        if stage is Stage.POOL:
            progress.pooled = None
        elif stage is Stage.DNS:
            progress.resolving = now
        elif stage in (Stage.CONNECT, Stage.TLS):
            progress.resolving = progress.resolved = progress.connecting = now
            progress.tls = progress.tls or stage is Stage.TLS
            progress.connected = now if stage is Stage.TLS else None
        progress.uploading = stage is Stage.SEND


async def _pass(seconds: float) -> None:
    if seconds == math.inf:
        await asyncio.get_running_loop().create_future()
    elif seconds > 0:
        await asyncio.sleep(seconds)


_KEY = ConnectionKey("memory", 0, False, True, None, None, None)  # never shown: the translation leaves it out
_INFO = aiohttp.RequestInfo(URL("memory:"), "GET", CIMultiDictProxy(CIMultiDict()))


def _foreign(failure: ScriptedFailure) -> Exception:
    """What aiohttp raises for a failure of the network."""
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
        case ErrorKind.DISCONNECTED, Stage.SEND:
            return ConnectionLost(aiohttp.ClientOSError(errno.ECONNRESET, "connection reset"))
        case ErrorKind.DISCONNECTED, _:
            return ConnectionLost(aiohttp.ServerDisconnectedError())
        case ErrorKind.PROTOCOL, Stage.BODY:
            bad = aiohttp.ClientPayloadError("bad framing")
            bad.__cause__ = http_exceptions.TransferEncodingError("bad chunk size")
            return bad
        case ErrorKind.PROTOCOL, _:
            return aiohttp.ClientResponseError(_INFO, (), status=400, message="expected HTTP")
        case _:
            raise AssertionError(f"{failure!r} is a silence, it ends by a timer")


class MemoryReply:
    """As much of an `aiohttp.ClientResponse` as the transport uses."""

    __slots__ = ("content", "content_length", "headers", "status")

    def __init__(self, scripted: ScriptedReply, wire: MemoryWire, *, bodiless: bool) -> None:
        self.status = scripted.status
        self.headers = scripted.headers
        length = scripted.headers.get("Content-Length")
        self.content_length = int(length) if length is not None and length.isdigit() else None
        self.content = _Content(() if bodiless or self.status in (204, 304) else scripted.content, wire)

    def close(self) -> None:
        """Nothing to give back."""

    release = close


class _Content:
    """As much of an `aiohttp.StreamReader` as the transport uses."""

    __slots__ = ("_parts", "_wire")

    def __init__(self, parts: tuple[bytes | float | ScriptedFailure, ...], wire: MemoryWire) -> None:
        self._parts: deque[Any] = deque(parts)
        self._wire = wire

    def at_eof(self) -> bool:
        return not self._parts

    def is_eof(self) -> bool:
        return all(isinstance(part, bytes) for part in self._parts)

    def read_nowait(self) -> bytes:
        whole = b"".join(self._parts)
        self._parts.clear()
        return whole

    async def readany(self) -> bytes:
        while self._parts:
            part = self._parts.popleft()
            if isinstance(part, bytes):
                return part
            if isinstance(part, ScriptedFailure):
                await self._wire.strike(part)
            await self._wire.silence(part)
        return b""
