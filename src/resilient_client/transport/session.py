"""The transport: one aiohttp session, one wire request a ``send``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import lru_cache

import aiohttp
from multidict import CIMultiDict

from resilient_client._version import __version__
from resilient_client.core.errors import ClientClosedError, ConfigurationError
from resilient_client.core.request import Request
from resilient_client.core.response import Response
from resilient_client.settings.connection import ConnectionSettings
from resilient_client.transport.decoding import ACCEPT_ENCODING
from resilient_client.transport.download import OpenReply, body_at_hand, read_body, read_error_body
from resilient_client.transport.errors import translate
from resilient_client.transport.pool import Pool
from resilient_client.transport.progress import (
    MarkingResolver,
    MarkingResponse,
    Progress,
    current,
    guard,
    make_socket,
)
from resilient_client.transport.upload import BodyFailed, Upload, is_small

_NEVER_ROUNDED = 1e9  # aiohttp rounds timeouts above a threshold up to whole seconds


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
        self._settings = settings
        self._foreign = session is not None
        self._session = session
        self._pool: Pool | None = None
        self._clock: Callable[[], float] = time.perf_counter
        self._middlewares: tuple[aiohttp.ClientMiddlewareType, ...] | None = None
        self._closed = False

    async def send(self, request: Request) -> Response:
        """Send one wire request and read its reply; see ``core.protocols.Transport``."""
        session = self._session if self._pool is not None and self._session is not None else self._open()
        progress = Progress(self._clock, request.record, tls=request.url.scheme == "https")
        endpoint = request.endpoint
        if (abandoned := request.context.open_stream) is not None:  # by who sends again: it holds a connection
            request.context.open_stream = None
            abandoned.close()
        pool = self._pool
        if pool is None:
            raise ClientClosedError("the client is closed; make a new one")
        try:
            if not pool.try_acquire(endpoint):
                await pool.acquire(endpoint)
        except asyncio.CancelledError:
            request.record.stage = progress.stage()
            raise
        progress.pooled = progress.clock()
        handed_over = False
        try:
            if self._closed or session.closed:  # while this request was under way, perhaps for a second time
                raise ClientClosedError("the client, or the session given to it, is closed; make a new one")
            body = request.body
            if body is None or is_small(body):
                response = await self._exchange(session, request, progress, None if body is None else body.source)
            else:
                response = await self._upload(session, request, progress, Upload(body, progress))
            handed_over = request.context.open_stream is not None
            return response
        except asyncio.CancelledError:
            request.record.stage = progress.stage()
            raise
        except Exception as error:
            request.record.stage = progress.stage()
            failure = translate(error, request, progress)
        finally:
            if not handed_over:
                pool.release(endpoint)
        raise failure

    async def close(self) -> None:
        """Close the session if it is our own. May be called twice."""
        self._closed = True
        if self._session is not None and not self._foreign:
            await self._session.close()

    async def _upload(
        self, session: aiohttp.ClientSession, request: Request, progress: Progress, upload: Upload
    ) -> Response:
        try:
            if (length := upload.length()) is not None:
                request = request.copy()  # the next hop of a redirect may have no body
                request.headers["Content-Length"] = str(length)
            return await self._exchange(session, request, progress, upload, upload.close)
        except Exception:
            if upload.failure is not None:
                raise BodyFailed(upload.failure) from None
            raise
        finally:
            if request.context.open_stream is None:  # else the reply has begun, and the upload may still go on
                upload.close()

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        request: Request,
        progress: Progress,
        data: bytes | Upload | None,
        end_upload: Callable[[], None] | None = None,
    ) -> Response:
        token = current.set(progress)
        try:
            reply = await session.request(
                request.method,
                request.url,
                headers=_with_own(request.headers) if self._foreign else request.headers,
                data=data,
                allow_redirects=False,
                auto_decompress=False,
                raise_for_status=False,
                timeout=_timeout(request.context.limits.connect, request.context.limits.idle),
                middlewares=self._middlewares,
            )
        finally:
            current.reset(token)
        progress.replied = progress.clock()
        if reply.status < 400 and not request.context.streaming:
            content = body_at_hand(reply, self._settings.max_response_size)
            if content is not None:
                progress.ended = progress.replied
                return Response(reply.status, reply.headers, content, request.url, timings=progress)
        return await self._read(reply, request, progress, end_upload)

    async def _read(
        self,
        reply: aiohttp.ClientResponse,
        request: Request,
        progress: Progress,
        end_upload: Callable[[], None] | None,
    ) -> Response:
        truncated = False
        content = b""
        try:
            if reply.status >= 400:
                content, truncated = await read_error_body(reply)
            elif request.context.streaming and reply.status not in _REDIRECTS:
                self._leave_open(reply, request, progress, end_upload)
            else:
                content = await read_body(reply, self._settings.max_response_size)
        except BaseException:
            reply.close()
            raise
        progress.ended = progress.clock()
        return Response(reply.status, reply.headers, content, request.url, truncated=truncated, timings=progress)

    def _leave_open(
        self,
        reply: aiohttp.ClientResponse,
        request: Request,
        progress: Progress,
        end_upload: Callable[[], None] | None,
    ) -> None:
        endpoint, pool = request.endpoint, self._pool

        def on_close() -> None:
            if end_upload is not None:
                end_upload()
            if pool is not None:
                pool.release(endpoint)

        request.context.open_stream = OpenReply(reply, on_close, lambda error: translate(error, request, progress))

    def _open(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosedError("the client is closed; make a new one, or keep it open while calls are made")
        if getattr(loop, "virtual", False):
            self._clock = loop.time
        if self._session is not None:
            return self._adopt(self._session)
        settings = self._settings
        self._pool = Pool(settings.pool_size, settings.pool_size_per_host)
        proxied = settings.proxy is not None or settings.trust_env
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=settings.keepalive,
                use_dns_cache=settings.dns_ttl is not None,
                ttl_dns_cache=settings.dns_ttl,  # type: ignore[arg-type]  # a float works, the hint says int
                resolver=MarkingResolver(),
                socket_factory=make_socket,
                ssl=settings.tls,
                timeout_ceil_threshold=_NEVER_ROUNDED,
            ),
            headers=_OWN_HEADERS,
            cookie_jar=None if settings.cookies else aiohttp.DummyCookieJar(),
            response_class=MarkingResponse,
            trust_env=settings.trust_env,
            proxy=None if settings.proxy is None else settings.proxy.get_secret_value(),
            middlewares=(guard, *settings.aiohttp_middlewares) if proxied else settings.aiohttp_middlewares,
        )
        return self._session

    def _adopt(self, session: aiohttp.ClientSession) -> aiohttp.ClientSession:
        if session.closed or session.connector is None:
            raise ClientClosedError("the session given to the client is closed; give an open one")
        self._pool = Pool(session.connector.limit, session.connector.limit_per_host)
        # There is no public way to read them, and those given with a request replace them.
        self._middlewares = (guard, *getattr(session, "_middlewares", ()))
        return session


_OWN_HEADERS = {"Accept-Encoding": ACCEPT_ENCODING, "User-Agent": f"resilient-client/{__version__}"}


def _with_own(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """The headers of a request for a session that does not add ours by itself."""
    merged = CIMultiDict(_OWN_HEADERS)
    merged.update(headers)
    return merged


_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@lru_cache(maxsize=256)
def _timeout(connect: float | None, idle: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_read=idle, ceil_threshold=_NEVER_ROUNDED)
