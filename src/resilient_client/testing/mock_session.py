"""Plays a script where aiohttp's session would be, below the real transport.

The transport above it is the real one, so places in the pool, uploads, decoding, size limits and the translation of
errors are those of production: this module only raises what aiohttp raises, and marks how far a request has come
where aiohttp's hooks would. It opens no socket.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import math
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Never, TypeAlias, cast

import aiohttp
from aiohttp import http_exceptions
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from resilient_client.core.kinds import ErrorKind, Stage
from resilient_client.settings.connection import ConnectionSettings
from resilient_client.settings.timeout import TimeLimits
from resilient_client.testing.scripted import Answer, MockRequest, ScriptedFailure, ScriptedReply, Step, reply
from resilient_client.transport import AiohttpTransport
from resilient_client.transport.progress import ConnectionLost, Progress, current
from resilient_client.transport.upload import Upload

_BEFORE_SENDING = frozenset({Stage.POOL, Stage.DNS, Stage.CONNECT, Stage.TLS})


Choose: TypeAlias = Callable[[str, URL], tuple[Step, Mapping[str, str]]]
"""Gives the step for a method and URL, and the values of the route's placeholders."""


class Load:
    """How many requests an upstream has in its hands, and the most it ever had."""

    __slots__ = ("active", "peak")

    def __init__(self) -> None:
        self.active = 0
        self.peak = 0

    def __enter__(self) -> None:
        self.active += 1
        self.peak = max(self.peak, self.active)

    def __exit__(self, *_: object) -> None:
        self.active -= 1


class MemoryTransport(AiohttpTransport):
    """The real transport on a session that plays a script. Belongs to one event loop."""

    def __init__(
        self, settings: ConnectionSettings, choose: Choose, received: Callable[[MockRequest], None], load: Load
    ) -> None:
        """Play a script.

        Args:
            settings: Those that mean something without connections apply.
            choose: Is asked for every request.
            received: Is told of every request that reached the upstream.
            load: Counts the requests at the upstream.
        """
        super().__init__(settings)
        self._choose = choose
        self._received = received
        self._load = load

    def make_session(self, limits: TimeLimits) -> aiohttp.ClientSession:
        """A session in memory."""
        timeout = aiohttp.ClientTimeout(total=None, connect=limits.connect, sock_read=limits.idle)
        session = _ScriptedSession(self._choose, self._received, self._load, timeout)
        return cast("aiohttp.ClientSession", session)  # it has all that the transport uses of one


class _ScriptedSession:
    """Answers `request` as the steps say that it is given."""

    def __init__(
        self,
        choose: Choose,
        received: Callable[[MockRequest], None],
        load: Load,
        timeout: aiohttp.ClientTimeout,
    ) -> None:
        self._choose = choose
        self._received = received
        self._load = load
        self._timeout = timeout

    async def request(
        self,
        method: str,
        url: URL,
        *,
        headers: CIMultiDict[str],
        data: object = None,
        timeout: aiohttp.ClientTimeout | None = None,
        **_options: object,
    ) -> _Reply:
        """Send a request, as `aiohttp.ClientSession.request` would; give the reply, its body still to be read."""
        step, params = self._choose(method, url)
        progress = current.get()
        if progress is None:
            raise RuntimeError("a scripted session only works below the transport")
        wire = _Wire(progress, timeout or self._timeout)
        if isinstance(step, ScriptedFailure) and step.stage in _BEFORE_SENDING:
            await wire.strike(step)
        wire.send(reused=isinstance(step, ScriptedFailure) and step.reused)
        content, extra = await _content(data)
        request = MockRequest(
            method=method,
            url=url,
            path=url.path,
            path_params=MappingProxyType(dict(params)),
            query=url.query,
            headers=CIMultiDictProxy(CIMultiDict([*headers.items(), *extra.items()])),
            body=content,
            attempt=progress.record.number,
            at=asyncio.get_running_loop().time(),
        )
        self._received(request)
        with self._load:
            return await _answer(step, request, wire)

    async def close(self) -> None:
        """Nothing to give back."""


async def _answer(step: Step, request: MockRequest, wire: _Wire) -> _Reply:
    answer = await _decide(step, request)
    if isinstance(answer, ScriptedFailure):
        if answer.stage is not Stage.BODY:
            await wire.strike(answer)
        answer = reply(content=[answer])
    await wire.silence(answer.delay)
    return _Reply(answer, wire, bodiless=request.method == "HEAD")


async def _decide(step: Step, request: MockRequest) -> Answer:
    if isinstance(step, ScriptedReply | ScriptedFailure):
        return step
    answer: object = step(request)
    if inspect.isawaitable(answer):
        answer = await answer
    if not isinstance(answer, ScriptedReply | ScriptedFailure):
        raise TypeError(f"a step of the MockUpstream returned {answer!r}; it must return reply(...) or fail(...)")
    if isinstance(answer, ScriptedFailure) and answer.stage in _BEFORE_SENDING:
        raise ValueError(
            f"a step of the MockUpstream returned {answer!r} with the request in its hands, but that strikes before "
            "anything is sent; put it into the script itself"
        )
    return answer


async def _content(data: object) -> tuple[bytes, Mapping[str, str]]:
    """The bytes of a body, as the transport hands it over, and the headers that come with them."""
    if isinstance(data, Upload):
        return b"".join([piece async for piece in data]), {}
    if isinstance(data, aiohttp.FormData):
        payload = data()
        try:
            return await payload.as_bytes(), {"Content-Type": payload.content_type}
        finally:
            await payload.close()
    return cast("bytes | None", data) or b"", {}


class _Wire:
    """One connection that is not there: time passes on it, and failures strike."""

    __slots__ = ("_progress", "_timeout")

    def __init__(self, progress: Progress, timeout: aiohttp.ClientTimeout) -> None:
        self._progress = progress
        self._timeout = timeout

    def send(self, *, reused: bool) -> None:
        """Mark the request as sent, on a connection that was opened for it unless it is `reused`."""
        if not reused:
            self._reach(Stage.CONNECT)
            self._progress.sockets = (_CONNECTED,)
        self._progress.mark_sent()

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
        silent = failure.kind in (ErrorKind.TIMEOUT, ErrorKind.POOL)
        seconds = math.inf if silent else failure.delay
        limit = self._timeout.connect
        if failure.stage in (Stage.HEADERS, Stage.BODY):
            await self.silence(seconds)
        elif limit is not None and seconds > limit and failure.stage in _BEFORE_SENDING - {Stage.POOL}:
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
            progress.sockets = (_CONNECTED,) if stage is Stage.TLS else ()
        progress.uploading = stage is Stage.SEND


async def _pass(seconds: float) -> None:
    if seconds == math.inf:
        await asyncio.get_running_loop().create_future()
    elif seconds > 0:
        await asyncio.sleep(seconds)


class _Connected:
    """A socket in the eyes of `Progress`: connected."""

    def getpeername(self) -> tuple[str, int]:
        return "memory", 0


_CONNECTED = cast("socket.socket", _Connected())
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


class _Reply:
    """As much of an `aiohttp.ClientResponse` as the transport uses."""

    __slots__ = ("content", "content_length", "headers", "status")

    def __init__(self, scripted: ScriptedReply, wire: _Wire, *, bodiless: bool) -> None:
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

    def __init__(self, parts: tuple[bytes | float | ScriptedFailure, ...], wire: _Wire) -> None:
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
