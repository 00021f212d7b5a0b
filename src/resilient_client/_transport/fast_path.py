"""The fast path: aiohttp's connector, parser and writer, without ``ClientSession.request``.

Most of what a session does to a request (merging headers, cookies, proxies, redirects, resends, a timer) is either off
here or done in the layers above. Leaving it out saves a third of the cost per call. The methods used are not documented
(``aiohttp_internals`` lists them), so this path is taken only with releases it was tested with, on a session of our own
that needs nothing else, and while nothing replaces the session's method, as mocks and tracers do. Everything else goes
through ``session_path``, which behaves the same.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDict
from yarl import URL

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.request import Request
from resilient_client._settings.connection import ConnectionSettings
from resilient_client._transport.aiohttp_internals import (
    Connection,
    ConnectionKey,
    ResponseHandler,
    StreamWriter,
    is_tested_release,
    request_method,
)
from resilient_client._transport.default_headers import default_headers
from resilient_client._transport.gate import check_head, expect_response
from resilient_client._transport.hooks import has_unasked_data, wake_reader_when_lost
from resilient_client._transport.raw_response import FastPathResponse
from resilient_client._transport.request_body import is_buffered
from resilient_client._transport.session_factory import proxied
from resilient_client._transport.trace import WireTrace

_NO_TRACES: Final[list[Any]] = []
_REQUEST_METHOD: Final = request_method()
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_CACHED_ORIGINS: Final = 1024


def possible(session: aiohttp.ClientSession, settings: ConnectionSettings) -> bool:
    """Whether requests of this session, made with these settings, can take the fast path at all."""
    return (
        is_tested_release()
        and type(session) is aiohttp.ClientSession
        and not (proxied(settings) or settings.cookies or settings.aiohttp_middlewares or session.trace_configs)
    )


def takes(request: Request, idle: float | None) -> bool:
    """Whether this request can take the fast path now.

    Not while a mock or a tracer replaces the session's method, nor when the server is asked before the body is sent
    (RFC 9110 section 10.1.1). A body must be buffered; with ``idle``, which measures the silence of the server, it must
    also be small enough to go out in one piece.
    """
    if request_method() is not _REQUEST_METHOD or (request.headers and hdrs.EXPECT in request.headers):
        return False
    return request.body is None or is_buffered(request.body, in_one_piece=idle is not None)


class _Origin(aiohttp.ClientRequest):
    """What a connector must know to connect. It is the same for all requests to an origin, so it is made once."""

    connection_key: ConnectionKey = None  # type: ignore[assignment]  # replaces a property that computes it every time

    default_headers: CIMultiDict[str]

    @classmethod
    def of(cls, url: URL, session: aiohttp.ClientSession) -> _Origin:
        """The origin of ``url``."""
        origin = cls("GET", url.origin(), loop=asyncio.get_running_loop(), session=session)
        origin.connection_key = aiohttp.ClientRequest.connection_key.__get__(origin)
        origin.default_headers = default_headers(url.host_port_subcomponent or "")
        return origin


class FastPath:
    """Sends requests over the connections of one session."""

    def __init__(self, session: aiohttp.ClientSession, settings: ConnectionSettings) -> None:
        """Use the connector of ``session``, which owns all connections, idle ones included."""
        assert session.connector is not None  # noqa: S101 -- it is open: it was just made
        self._connector = session.connector
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._origins: dict[Endpoint, _Origin] = {}
        self._closing = settings.keepalive <= 0
        self._max_field_size, self._max_headers = settings.max_field_size, settings.max_headers

    async def send(self, request: Request, timeout: aiohttp.ClientTimeout, trace: WireTrace) -> FastPathResponse:
        """Send a request that ``takes`` accepted, and wait for the head of its response.

        Raises:
            Exception: One of aiohttp's or of the system's, to be translated.
        """
        origin = self._origins.get(request.endpoint) or self._meet(request)
        connection = await self._connect(origin, timeout, trace)
        protocol = connection.protocol
        assert protocol is not None  # noqa: S101 - it was connected this moment
        try:
            trace.gate = expect_response(protocol, request.method)
            protocol.set_response_params(
                skip_payload=request.method == "HEAD",
                read_until_eof=True,
                auto_decompress=False,
                read_timeout=timeout.sock_read,
                max_line_size=self._max_field_size,
                max_field_size=self._max_field_size,
                max_headers=self._max_headers,
            )
            await self._write(request, origin, protocol)
            protocol.start_timeout()
            trace.mark_sent(trace.connecting is None)
            if request.body is not None:
                trace.wire = protocol.transport
            if trace.tls and connection.transport is not None:
                trace.mark_encrypted(connection.transport)
            head, body = await protocol.read()
            while 100 <= head.code < 200 and head.code != 101:  # RFC 9110 section 15.2: the final response follows
                head, body = await protocol.read()
            check_head(head.headers, head.code)
            if trace.wire is not None:
                trace.mark_answered(protocol)
        except BaseException:
            connection.close()
            raise
        if body.is_eof():
            connection.release()
            return FastPathResponse(head.code, head.headers, body, None)
        reply = FastPathResponse(head.code, head.headers, body, connection)
        body.on_eof(reply.release)
        wake_reader_when_lost(body, protocol)
        return reply

    async def _connect(self, origin: _Origin, timeout: aiohttp.ClientTimeout, trace: WireTrace) -> Connection:
        """A connection that is new, or idle and silent: data that arrived unasked is not this request's response."""
        try:
            connection = await self._connector.connect(origin, _NO_TRACES, timeout)
            while trace.connecting is None and has_unasked_data(connection):
                connection.close()
                connection = await self._connector.connect(origin, _NO_TRACES, timeout)
        except TimeoutError as late:
            raise aiohttp.ConnectionTimeoutError from late
        return connection

    async def _write(self, request: Request, origin: _Origin, protocol: ResponseHandler) -> None:
        """Hand the whole request to the connection, which buffers what the server does not take. Never waits."""
        headers = origin.default_headers
        body = request.body
        if request.headers or body is not None or self._closing or request.method not in _BODILESS:
            headers = headers.copy()
            headers.update(request.headers)
            if self._closing:
                headers.setdefault(hdrs.CONNECTION, "close")
            if body is not None or request.method not in _BODILESS:
                headers[hdrs.CONTENT_LENGTH] = "0" if body is None else str(len(body.source))
        writer = StreamWriter(protocol, self._loop)
        await writer.write_headers(f"{request.method} {request.url.raw_path_qs} HTTP/1.1", headers)
        if body is not None:
            await writer.write(body.source, drain=False)
        writer.set_eof()

    def _meet(self, request: Request) -> _Origin:
        if len(self._origins) >= _CACHED_ORIGINS:
            self._origins.clear()
        origin = self._origins[request.endpoint] = _Origin.of(request.url, self._session)
        return origin
