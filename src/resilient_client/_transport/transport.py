"""The transport: one aiohttp session, one wire request per ``send``."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import hdrs

from resilient_client._core.cancellation import client_closed
from resilient_client._core.errors import APIConnectionError, ClientClosedError, ConfigurationError, WrongLoopError
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.http.redirect import REDIRECTS
from resilient_client._settings.connection import ConnectionSettings
from resilient_client._transport import fast_path
from resilient_client._transport.aiohttp_internals import check_supported
from resilient_client._transport.errors import translate
from resilient_client._transport.gate import Gate, ends_with_connection
from resilient_client._transport.loop_end import Watch, drop_session, watch
from resilient_client._transport.pool import Pool
from resilient_client._transport.raw_response import RawResponse
from resilient_client._transport.request_body import Upload, is_buffered
from resilient_client._transport.response_body import (
    ERROR_BODY_LIMIT,
    ERROR_BODY_TIMEOUT,
    BodyReader,
    StreamedBody,
    buffered_body,
    read_body,
    read_error_body,
)
from resilient_client._transport.session_factory import aiohttp_timeout, create_session
from resilient_client._transport.session_path import SessionPath
from resilient_client._transport.threads import Threads
from resilient_client._transport.trace import MAX_CONTINUE_WAIT, WireTrace, current_trace

_FILE_THREADS = 16
"""Threads that read the files of a client's uploads. Each upload reads one piece at a time."""


class AiohttpTransport:
    """Sends requests through an aiohttp session: its own, made on first use, or a caller's, which it never closes.

    Every request is one request on the wire. aiohttp's redirects, its resend of lost requests and its decompression
    are off; the layers above do what they are good for, where it can be counted and bounded.
    """

    def __init__(self, settings: ConnectionSettings, session: aiohttp.ClientSession | None = None) -> None:
        """Touches no event loop yet.

        Args:
            settings: How connections are made; for a caller's session only ``max_response_size`` applies.
            session: A caller's session, used instead of an own one.

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
        self._opened: tuple[aiohttp.ClientSession, Pool] | None = None
        self._fast_path: fast_path.FastPath | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: Watch | None = None
        self._session_path: SessionPath
        self._clock: Callable[[], float] = time.perf_counter
        self._max_size = settings.max_response_size
        self._file_threads = Threads("resilient-client-file", _FILE_THREADS)
        self._closed = False

    async def send(self, request: Request) -> Response:
        """Send one wire request and read its response; see ``_core.protocols.Transport``."""
        session, pool = self._opened or self._open()
        context, attempt, endpoint = request.context, request.attempt, request.endpoint
        trace = attempt.trace = WireTrace(self._clock, attempt.number, endpoint.scheme == "https")
        if context.open_response is not None:  # of an earlier request of this attempt: it holds a connection
            context.close_open_response()
        if pool.try_acquire(endpoint):
            trace.pooled = trace.began
        else:
            await _wait_for_slot(pool, request, trace)
        token = current_trace.set(trace)
        try:
            if self._closed or (self._is_callers_session and session.closed):  # while it waited for a slot
                raise client_closed(request.label, sent=attempt.sent)
            raw = await self._send_head(request, trace)
            trace.replied = trace.ended = trace.clock()
            status = raw.status
            content = None if status >= 300 or context.streaming else buffered_body(raw, self._max_size, trace.gate)
            if content is not None:
                return Response(status, raw.headers, content, request.url, False, trace)
            return await self._receive(raw, request, trace, (session, pool))
        except asyncio.CancelledError as cancelled:
            attempt.stage = trace.mark_failed()
            raise cancelled.with_traceback(None)  # noqa: B904 -- the same one, without aiohttp's frames: they hold headers
        except Exception as error:
            attempt.stage = trace.mark_failed()
            failure = _translate(error, request, trace, session)
        finally:
            current_trace.reset(token)
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
        """Close the session if it is our own. May be called twice."""
        self._closed = True
        self._file_threads.shutdown(cancel_futures=False)  # a call in flight may still need its piece
        if self._session is None or self._is_callers_session:
            return
        if self._loop is not None and self._loop.is_closed():
            self.leave_loop()
            return
        await self._session.close()
        if self._watch is not None:
            await self._watch.aclose()

    @property
    def in_use(self) -> int:
        """Requests and open bodies that hold a slot of the pool."""
        return 0 if self._opened is None else self._opened[1].in_use

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
        session = self._session
        self._session = self._opened = self._fast_path = self._loop = self._watch = None
        if session is not None:
            drop_session(session)

    def make_session(self) -> aiohttp.ClientSession:
        """Make the session, on first use; the one thing that a transport in memory replaces."""
        return create_session(self._settings)

    def _send_head(self, request: Request, trace: WireTrace) -> Awaitable[RawResponse]:
        """Send the request on the fast path where it can be taken, and wait for the head of the response."""
        limits, body = request.context.settings.limits, request.body
        timeout = aiohttp_timeout(limits.connect, limits.idle)
        if self._fast_path is not None and fast_path.takes(request, limits.idle):
            return self._fast_path.send(request, timeout, trace)
        if body is not None and not is_buffered(body):
            trace.upload = Upload(body, trace, self._file_threads)
        if hdrs.EXPECT in request.headers:
            trace.continue_wait = min(MAX_CONTINUE_WAIT, _time_left(request) / 2)
        return self._session_path.send(request, timeout, trace.upload)

    async def _receive(
        self, raw: RawResponse, request: Request, trace: WireTrace, opened: tuple[aiohttp.ClientSession, Pool]
    ) -> Response:
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
                response.open_body = _open_body(reader, request, trace, *opened)
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
        trace.ended = trace.clock()
        response = Response(raw.status, raw.headers, content, request.url, truncated, trace)
        if reader.undecoded:
            response.undecoded = reader.undecoded
        return response

    def _open(self) -> tuple[aiohttp.ClientSession, Pool]:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosedError("the client is closed; make a new one, or keep it open while calls are made")
        self._loop = loop
        self._clock = loop.time if getattr(loop, "virtual", False) else time.perf_counter
        settings, session = self._settings, self._session
        if session is None:
            session = self._session = self.make_session()
            self._watch = watch(session)
            pool = Pool(settings.pool_size, settings.pool_size_per_host)
            if fast_path.possible(session, settings):
                self._fast_path = fast_path.FastPath(session, settings)
        elif session.closed or session.connector is None:
            raise ClientClosedError("the session given to the client is closed; give an open one")
        else:
            pool = Pool(session.connector.limit, session.connector.limit_per_host)
        self._session_path = SessionPath(session, callers_session=self._is_callers_session)
        self._opened = session, pool
        return session, pool


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


def _open_body(
    reader: BodyReader, request: Request, trace: WireTrace, session: aiohttp.ClientSession, pool: Pool
) -> StreamedBody:
    """The body as it is left open; it owns the slot in the pool, the connection and the upload until it is closed."""
    endpoint = request.endpoint

    def on_close() -> None:
        trace.ended = trace.clock()
        trace.release()
        pool.release(endpoint)

    reader.limit(None)
    return StreamedBody(reader, on_close, lambda error: _translate(error, request, trace, session))


def _translate(error: Exception, request: Request, trace: WireTrace, session: aiohttp.ClientSession) -> BaseException:
    """Our error. Neither a failed source of the body nor a session that was closed is the server's fault."""
    if trace.upload is not None and trace.upload.failure is not None:
        failed, trace.upload.failure = trace.upload.failure, None  # its traceback refers to the upload
        return failed
    failure = translate(error, request, trace)
    if session.closed and isinstance(failure, APIConnectionError):
        return client_closed(request.label, trace.stage(), sent=trace.sent is not None or request.attempt.sent)
    return failure


def _max_wait_for_body(request: Request) -> float:
    """Seconds for the body of an error response: half of what is left, so that a slow body does not hide the status."""
    return min(ERROR_BODY_TIMEOUT, _time_left(request) / 2)


def _time_left(request: Request) -> float:
    """Seconds until the attempt times out."""
    timeout = request.attempt.timeout
    return math.inf if timeout is None else timeout.ends_at - request.context.client.loop_time()
