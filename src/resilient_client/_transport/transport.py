"""The transport: one wire request per ``send``, over connections of our own or through an aiohttp session."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
from aiohttp import hdrs
from multidict import istr

from resilient_client._core.cancellation import client_closed
from resilient_client._core.errors import APIConnectionError, ClientClosedError, ConfigurationError, WrongLoopError
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.http.redirect import REDIRECTS
from resilient_client._settings.connection import ConnectionSettings
from resilient_client._transport.aiohttp_internals import check_supported, request_method, sessions_are_replaced
from resilient_client._transport.errors import translate
from resilient_client._transport.gate import Gate, ends_with_connection
from resilient_client._transport.http1.connection import Connection
from resilient_client._transport.http1.direct_path import DirectPath
from resilient_client._transport.loop_end import Watch, drop_connection, drop_session, idle_of_session, watch
from resilient_client._transport.pool import Pool
from resilient_client._transport.raw_response import RawResponse
from resilient_client._transport.request_body import Upload, is_buffered
from resilient_client._transport.response_body import (
    ERROR_BODY_LIMIT,
    ERROR_BODY_TIMEOUT,
    BodyReader,
    StreamedBody,
    read_body,
    read_error_body,
)
from resilient_client._transport.session_factory import aiohttp_timeout, create_session
from resilient_client._transport.session_path import SessionPath
from resilient_client._transport.threads import Threads
from resilient_client._transport.trace import MAX_CONTINUE_WAIT, WireTrace, current_trace

_log = logging.getLogger("resilient_client.transport")
_REQUEST_METHOD: Final = request_method()
_CONTENT_ENCODING: Final = istr(hdrs.CONTENT_ENCODING)
_FILE_THREADS: Final = 16
"""Threads that read the files of a client's uploads. Each upload reads one piece at a time."""


class AiohttpTransport:
    """Sends requests over connections of its own, or through an aiohttp session.

    A session sends what only it can: through proxies, with cookies, with aiohttp's middlewares, and while its methods
    are replaced, as mocks and tracers do. It is an own one, made on first use, or a caller's, which is never closed
    here. Every request is one request on the wire on both paths. aiohttp's redirects, its resend of lost requests and
    its decompression are off; the layers above do what they are good for, where it can be counted and bounded.
    """

    def __init__(self, settings: ConnectionSettings, session: aiohttp.ClientSession | None = None) -> None:
        """Touches no event loop yet.

        Args:
            settings: How connections are made; for a caller's session only ``max_response_size`` applies.
            session: A caller's session, used instead of own connections.

        Raises:
            ConfigurationError: ``session`` is not an open aiohttp session.
        """
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise ConfigurationError(
                f"session is {type(session).__name__}; give an aiohttp.ClientSession or leave it out"
            )
        if session is not None and (unused := sorted(settings.model_fields_set - {"max_response_size"})):
            raise ConfigurationError(
                f"connection sets {', '.join(unused)}, which a session of your own decides by itself; "
                "set it there, or leave session out"
            )
        check_supported()
        self._settings = settings
        self._is_callers_session = session is not None
        self._session = session
        self._session_path: SessionPath | None = None
        self._direct_path: DirectPath | None = None
        self._pool: Pool | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watches: list[Watch] = []
        self._clock: Callable[[], float] = time.perf_counter
        self._max_size = settings.max_response_size
        self._file_threads = Threads("resilient-client-file", _FILE_THREADS)
        self._closed = False

    async def send(self, request: Request) -> Response:
        """Send one wire request and read its response; see ``_core.protocols.Transport``."""
        pool = self._pool or self._open()
        context, attempt, endpoint = request.context, request.attempt, request.endpoint
        trace = attempt.trace = WireTrace(self._clock, attempt.number, endpoint.scheme == "https")
        if context.open_response is not None:  # of an earlier request of this attempt: it holds a connection
            context.close_open_response()
        if pool.try_acquire(endpoint):
            trace.pooled = trace.began
        else:
            await _wait_for_slot(pool, request, trace)
        try:
            if self._is_closed:  # while it waited for a slot
                raise client_closed(request.label, sent=attempt.sent)
            path = self._direct_path
            if path is None or request_method() is not _REQUEST_METHOD:
                raw: RawResponse = await self._send_through_session(request, trace)
                trace.replied = trace.clock()
                return await self._receive(raw, request, trace, pool)
            connection = await self._send_directly(path, request, trace)
            status, headers = connection.status, connection.headers
            if connection.complete and status < 300 and not context.streaming and _CONTENT_ENCODING not in headers:
                content = connection.take_body()
                path.give_back(endpoint, connection)
                trace.ended = trace.clock()
                return Response(status, headers, content, request.url, False, trace)
            return await self._receive(path.response(endpoint, connection), request, trace, pool)
        except asyncio.CancelledError as cancelled:
            attempt.stage = trace.mark_failed()
            raise cancelled.with_traceback(None)  # noqa: B904 -- the same one, without aiohttp's frames: they hold headers
        except Exception as error:
            attempt.stage = trace.mark_failed()
            failure = self._translate(error, request, trace)
        finally:
            if trace.sent is not None:
                attempt.sent, attempt.reused = True, trace.reused
            if context.open_response is None:  # else slot, connection and upload belong to the open body
                trace.release()
                pool.release(endpoint)
        try:
            raise failure
        finally:
            del failure  # an error whose frame refers to it is freed only by the collector

    async def close(self) -> None:
        """Close all connections, and the session if it is our own. May be called twice."""
        self._closed = True
        self._file_threads.shutdown(cancel_futures=False)  # a call in flight may still need its piece
        if self._loop is not None and self._loop.is_closed() and not self._is_callers_session:
            self.leave_loop()
            return
        if self._direct_path is not None:
            self._direct_path.close()
            await asyncio.sleep(0)  # the loop closes the sockets in its next iteration
        if self._session is not None and not self._is_callers_session:
            await self._session.close()
        while self._watches:
            await self._watches.pop().aclose()

    @property
    def in_use(self) -> int:
        """Requests and open bodies that hold a slot of the pool."""
        return 0 if self._pool is None else self._pool.in_use

    def leave_loop(self) -> None:
        """Drop the session and the connections of a loop that is closed. The next request makes new ones.

        Raises:
            WrongLoopError: The session is a caller's. Only its owner can replace it.
        """
        if self._is_callers_session:
            raise WrongLoopError(
                "the session given to the client belongs to an event loop that was closed; make a session and a client "
                "on each event loop, or leave session out"
            )
        session, direct_path = self._session, self._direct_path
        self._session = self._session_path = self._direct_path = self._pool = self._loop = None
        self._watches.clear()
        if session is not None:
            drop_session(session)
        if direct_path is not None:
            for transport in direct_path.idle_transports():
                drop_connection(transport)

    @property
    def path(self) -> str:
        """The path that requests take: over connections of our own, or through a session and why. For humans."""
        if self._is_callers_session:
            return "through the session given to the client"
        reason = needs_session(self._settings)
        return f"through an aiohttp session, for {reason}" if reason else "over connections of its own"

    def make_session(self) -> aiohttp.ClientSession:
        """Make the session, on first use. A transport in memory replaces it."""
        return create_session(self._settings)

    def make_direct_path(self) -> DirectPath | None:
        """Make the path over connections of our own, or ``None`` if only a session can honour the settings."""
        return None if needs_session(self._settings) else DirectPath(self._settings)

    @property
    def _is_closed(self) -> bool:
        return self._closed or (self._is_callers_session and self._session is not None and self._session.closed)

    def _send_directly(self, path: DirectPath, request: Request, trace: WireTrace) -> Awaitable[Connection]:
        limits, body = request.context.settings.limits, request.body
        if body is not None:
            asks_first = hdrs.EXPECT in request.headers
            if asks_first:
                trace.continue_wait = min(MAX_CONTINUE_WAIT, _time_left(request) / 2)
            if asks_first or not is_buffered(body, in_one_piece=limits.idle is not None):
                trace.upload = Upload(body, trace, self._file_threads)
        return path.send(request, limits.connect, limits.idle, trace)

    async def _send_through_session(self, request: Request, trace: WireTrace) -> RawResponse:
        """Send the request through the session, and wait for the head of the response."""
        path = self._session_path or self._open_session()
        limits, body = request.context.settings.limits, request.body
        if body is not None and not is_buffered(body):
            trace.upload = Upload(body, trace, self._file_threads)
        if hdrs.EXPECT in request.headers:
            trace.continue_wait = min(MAX_CONTINUE_WAIT, _time_left(request) / 2)
        token = current_trace.set(trace)
        try:
            return await path.send(request, aiohttp_timeout(limits.connect, limits.idle), trace.upload)
        finally:
            current_trace.reset(token)

    async def _receive(self, raw: RawResponse, request: Request, trace: WireTrace, pool: Pool) -> Response:
        """Read the body, or leave it open where it is to be streamed."""
        context, truncated = request.context, False
        reader = BodyReader(raw, self._max_size, _gate_that_ends(raw, request, trace))
        try:
            if raw.status >= 400 or (raw.status in REDIRECTS and hdrs.LOCATION in raw.headers):
                # The status, or the Location, is the answer (RFC 9110 section 15.4), whatever becomes of the body.
                reader.limit(ERROR_BODY_LIMIT)
                content, truncated = await read_error_body(reader, _max_wait_for_body(request))
            elif context.streaming:
                response = Response(raw.status, raw.headers, b"", request.url, False, trace)
                response.open_body = self._open_body(reader, request, trace, pool)
                context.open_response = response
                trace.ended = trace.clock()
                return response
            else:
                content = await read_body(reader)
        except BaseException:
            raw.close()
            raise
        if truncated:
            raw.close()
        else:
            raw.release()
        trace.ended = trace.clock()
        response = Response(raw.status, raw.headers, content, request.url, truncated, trace)
        if reader.undecoded:
            response.undecoded = reader.undecoded
        return response

    def _open_body(self, reader: BodyReader, request: Request, trace: WireTrace, pool: Pool) -> StreamedBody:
        """The body as it is left open. It owns slot, connection and upload until it is closed."""
        endpoint = request.endpoint

        def on_close() -> None:
            trace.ended = trace.clock()
            trace.release()
            pool.release(endpoint)

        reader.limit(None)
        return StreamedBody(reader, on_close, lambda error: self._translate(error, request, trace))

    def _translate(self, error: Exception, request: Request, trace: WireTrace) -> BaseException:
        """Our error. Neither a failed source of the body nor a client that was closed is the server's fault."""
        if trace.upload is not None and trace.upload.failure is not None:
            failed, trace.upload.failure = trace.upload.failure, None  # its traceback refers to the upload
            return failed
        failure = translate(error, request, trace)
        closed = self._closed or (self._session is not None and self._session.closed)
        if closed and isinstance(failure, APIConnectionError):
            return client_closed(request.label, trace.stage(), sent=trace.sent is not None or request.attempt.sent)
        return failure

    def _open(self) -> Pool:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosedError("the client is closed; make a new one, or keep it open while calls are made")
        self._loop = loop
        self._clock = loop.time if getattr(loop, "virtual", False) else time.perf_counter
        settings, session = self._settings, self._session
        if session is None:
            self._direct_path = path = self.make_direct_path()
            if path is not None:
                self._watches.append(watch(path, DirectPath.idle_transports))
            elif needs_session(settings):
                _log.info("requests go %s", self.path, extra={"event": "path_chosen"})
            self._pool = Pool(settings.pool_size, settings.pool_size_per_host)
        elif session.closed or session.connector is None:
            raise ClientClosedError("the session given to the client is closed; give an open one")
        else:
            self._pool = Pool(session.connector.limit, session.connector.limit_per_host)
        return self._pool

    def _open_session(self) -> SessionPath:
        session = self._session
        if session is None:
            session = self._session = self.make_session()
            self._watches.append(watch(session, idle_of_session))
        path = self._session_path = SessionPath(session, callers_session=self._is_callers_session)
        return path


def needs_session(settings: ConnectionSettings) -> str:
    """What only a session of aiohttp can honour, in a few words. Empty if connections of our own can do all."""
    if settings.proxy is not None:
        return "proxy"
    if settings.trust_env:
        return "trust_env"
    if settings.cookies:
        return "cookies"
    if settings.aiohttp_middlewares:
        return "aiohttp_middlewares"
    return "a mock or an instrumentation of aiohttp" if sessions_are_replaced() else ""


async def _wait_for_slot(pool: Pool, request: Request, trace: WireTrace) -> None:
    attempt = request.attempt
    attempt.queued = True
    try:
        await pool.acquire(request.endpoint)
    except asyncio.CancelledError:
        attempt.stage = trace.mark_failed()
        raise
    finally:
        attempt.queued = False
    trace.pooled = trace.clock()


def _gate_that_ends(raw: RawResponse, request: Request, trace: WireTrace) -> Gate | None:
    """The gate that knows how the connection ended, if its end is also that of the body."""
    return trace.gate if ends_with_connection(raw.headers, request.method, raw.status) else None


def _max_wait_for_body(request: Request) -> float:
    """Seconds for the body of an error response: half of what is left, so that a slow body does not hide the status."""
    return min(ERROR_BODY_TIMEOUT, _time_left(request) / 2)


def _time_left(request: Request) -> float:
    """Seconds until the attempt times out."""
    timeout = request.attempt.timeout
    return math.inf if timeout is None else timeout.ends_at - request.context.client.loop_time()
