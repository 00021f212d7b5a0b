"""The transport: one aiohttp session, one wire request a ``send``."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

import aiohttp

from resilient_client._core.errors import APIConnectionError, ClientClosedError, ConfigurationError
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.http.redirect import REDIRECTS
from resilient_client._settings.connection import ConnectionSettings
from resilient_client._transport import fast_path
from resilient_client._transport.errors import translate
from resilient_client._transport.pool import Pool
from resilient_client._transport.raw_response import RawResponse
from resilient_client._transport.request_body import Upload, is_buffered
from resilient_client._transport.response_body import (
    ERROR_BODY_TIMEOUT,
    StreamedBody,
    buffered_body,
    read_body,
    read_error_body,
)
from resilient_client._transport.session_factory import aiohttp_timeout, create_session
from resilient_client._transport.session_path import SessionPath
from resilient_client._transport.trace import WireTrace, current_trace


class AiohttpTransport:
    """Sends requests through an aiohttp session: its own, made on first use, or a caller's, which it never closes.

    Every request is one request on the wire: aiohttp's redirects, its resend of lost requests and its
    decompression are off; what they are good for is done above, where it can be counted and bounded.
    """

    def __init__(self, settings: ConnectionSettings, session: aiohttp.ClientSession | None = None) -> None:
        """Touches no event loop yet.

        Args:
            settings: How connections are made; for a caller's session only ``max_response_size`` applies.
            session: A session of the caller's, to use instead of an own one.

        Raises:
            ConfigurationError: ``session`` is no open aiohttp session.
        """
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise ConfigurationError(
                f"session is {type(session).__name__}; give an aiohttp.ClientSession or leave it out"
            )
        if session is not None and (idle := sorted(settings.model_fields_set - {"max_response_size"})):
            raise ConfigurationError(
                f"connection sets {', '.join(idle)}, which a session of your own decides by itself; "
                "set it there, or leave session out"
            )
        self._settings = settings
        self._is_callers_session = session is not None
        self._session = session
        self._opened: tuple[aiohttp.ClientSession, Pool] | None = None
        self._fast_path: fast_path.FastPath | None = None
        self._session_path: SessionPath
        self._clock: Callable[[], float] = time.perf_counter
        self._max_size = settings.max_response_size
        self._closed = False

    async def send(self, request: Request) -> Response:
        """Send one wire request and read its reply; see ``core.protocols.Transport``."""
        session, pool = self._opened or self._open()
        context, url, endpoint = request.context, request.url, request.endpoint
        trace = WireTrace(self._clock, request.record.number, endpoint.scheme == "https")
        request.record.trace = trace
        if (abandoned := context.open_stream) is not None:  # by who sends again: it holds a connection
            context.open_stream = None
            abandoned.close()
        if pool.try_acquire(endpoint):
            trace.pooled = trace.began
        else:
            await self._wait_for_place(pool, request, trace)
        token = current_trace.set(trace)
        upload: Upload | None = None
        try:
            if self._closed or (self._is_callers_session and session.closed):  # while this request was under way
                raise ClientClosedError("the client, or the session given to it, is closed; make a new one")
            timeout = aiohttp_timeout(context.limits.connect, context.limits.idle)
            reply: RawResponse
            if self._fast_path is not None and fast_path.takes(request, context.limits.idle):
                reply = await self._fast_path.send(request, timeout, trace)
            else:
                if request.body is not None and not is_buffered(request.body):
                    upload = Upload(request.body, trace)
                reply = await self._session_path.send(request, timeout, upload)
            trace.replied = trace.ended = trace.clock()
            truncated = False
            content = None if reply.status >= 400 or context.streaming else buffered_body(reply, self._max_size)
            if content is None:
                content, truncated = await self._read(reply, request, trace, upload, (session, pool))
                trace.ended = trace.clock()
            return Response(reply.status, reply.headers, content, url, truncated, trace)
        except asyncio.CancelledError:
            request.record.stage = trace.mark_failed()
            raise
        except Exception as error:
            request.record.stage = trace.mark_failed()
            of_source = upload is not None and upload.failure
            failure = of_source or _translate(error, request, trace, session)
        finally:
            current_trace.reset(token)
            if trace.sent is not None:
                request.record.sent, request.record.reused = True, trace.reused
            if context.open_stream is None:  # else they belong to it: the upload, too, may still go on
                _let_go(trace, upload)
                pool.release(endpoint)
        raise failure

    @staticmethod
    async def _wait_for_place(pool: Pool, request: Request, trace: WireTrace) -> None:
        request.record.queued = True
        try:
            await pool.acquire(request.endpoint)
        except asyncio.CancelledError:
            request.record.stage = trace.mark_failed()
            raise
        finally:
            request.record.queued = False
        trace.pooled = trace.clock()

    async def close(self) -> None:
        """Close the session if it is our own. May be called twice."""
        self._closed = True
        if self._session is not None and not self._is_callers_session:
            await self._session.close()

    def make_session(self) -> aiohttp.ClientSession:
        """The session of our own, made on first use; the one thing that a transport in memory replaces."""
        return create_session(self._settings)

    async def _read(
        self,
        reply: RawResponse,
        request: Request,
        trace: WireTrace,
        upload: Upload | None,
        opened: tuple[aiohttp.ClientSession, Pool],
    ) -> tuple[bytes, bool]:
        """The body, and whether it was cut; a body that is to be streamed stays open."""
        try:
            if reply.status >= 400:
                return await read_error_body(reply, _max_wait_for_body(request))
            if request.context.streaming and reply.status not in REDIRECTS:
                self._leave_open(reply, request, trace, upload, opened)
                return b"", False
            return await read_body(reply, self._max_size), False
        except BaseException:
            reply.close()
            raise

    def _leave_open(
        self,
        reply: RawResponse,
        request: Request,
        trace: WireTrace,
        upload: Upload | None,
        opened: tuple[aiohttp.ClientSession, Pool],
    ) -> None:
        endpoint, (session, pool) = request.endpoint, opened

        def on_close() -> None:
            trace.ended = trace.clock()
            _let_go(trace, upload)
            pool.release(endpoint)

        request.context.open_stream = StreamedBody(
            reply, on_close, lambda error: _translate(error, request, trace, session)
        )

    def _open(self) -> tuple[aiohttp.ClientSession, Pool]:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosedError("the client is closed; make a new one, or keep it open while calls are made")
        if getattr(loop, "virtual", False):
            self._clock = loop.time
        settings, session = self._settings, self._session
        if session is None:
            session = self._session = self.make_session()
            pool = Pool(settings.pool_size, settings.pool_size_per_host)
            if fast_path.possible(session, settings):
                self._fast_path = fast_path.FastPath(session, keep_alive=settings.keepalive > 0)
        elif session.closed or session.connector is None:
            raise ClientClosedError("the session given to the client is closed; give an open one")
        else:
            pool = Pool(session.connector.limit, session.connector.limit_per_host)
        self._session_path = SessionPath(session, callers_session=self._is_callers_session)
        self._opened = session, pool
        return session, pool


def _let_go(trace: WireTrace, upload: Upload | None) -> None:
    """The exchange is over, and with it what is left of the upload."""
    if upload is not None:
        upload.close()
    trace.cut_off()


def _translate(error: Exception, request: Request, trace: WireTrace, session: aiohttp.ClientSession) -> Exception:
    """Our error; of a connection that broke because we closed the session, one that does not blame the server."""
    failure = translate(error, request, trace)
    if session.closed and isinstance(failure, APIConnectionError):
        return ClientClosedError(
            f"{request.label}: the client, or the session given to it, was closed before the reply was complete; "
            "keep it open until its calls have returned"
        )
    return failure


def _max_wait_for_body(request: Request) -> float:
    """Seconds for the body of an error reply: less than is left, so that the status outlives a body that drips."""
    timeout = request.record.timeout
    left = math.inf if timeout is None else timeout.ends_at - request.context.client.loop_time()
    return min(ERROR_BODY_TIMEOUT, left / 2)
