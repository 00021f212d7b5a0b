"""The transport: one aiohttp session, one wire request a ``send``."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from http.cookies import SimpleCookie
from typing import Any, Final

import aiohttp
from aiohttp import hdrs
from aiohttp.typedefs import LooseHeaders
from multidict import CIMultiDict
from yarl import URL

from resilient_client._version import __version__
from resilient_client.core.errors import APIConnectionError, ClientClosedError, ConfigurationError, RedirectError
from resilient_client.core.request import Request
from resilient_client.core.response import Response
from resilient_client.policies.redirect import REDIRECTS
from resilient_client.settings.connection import ConnectionSettings
from resilient_client.settings.timeout import TimeLimits
from resilient_client.transport.decoding import ACCEPT_ENCODING
from resilient_client.transport.download import ERROR_BODY_PATIENCE, OpenReply, body_at_hand, read_body, read_error_body
from resilient_client.transport.errors import translate
from resilient_client.transport.pool import Pool
from resilient_client.transport.progress import (
    MarkingResolver,
    MarkingResponse,
    Progress,
    current,
    guard,
)
from resilient_client.transport.sockets import make_socket
from resilient_client.transport.upload import Upload, is_small

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
        if session is not None and (idle := sorted(settings.model_fields_set - {"max_response_size"})):
            raise ConfigurationError(
                f"connection sets {', '.join(idle)}, which a session of your own decides by itself; "
                "set it there, or leave session out"
            )
        self._settings = settings
        self._foreign = session is not None
        self._session = session
        self._pool: Pool | None = None
        self._clock: Callable[[], float] = time.perf_counter
        self._middlewares: tuple[aiohttp.ClientMiddlewareType, ...] | None = None
        self._usual_limits: TimeLimits | None = None
        self._max_size = settings.max_response_size
        self._closed = False

    async def send(self, request: Request) -> Response:
        """Send one wire request and read its reply; see ``core.protocols.Transport``."""
        session = self._session if self._pool is not None and self._session is not None else self._open(request)
        endpoint, pool = request.endpoint, self._pool
        progress = Progress(self._clock, request.record.number, endpoint.scheme == "https")
        request.record.trace = progress
        if pool is None:
            raise ClientClosedError("the client is closed; make a new one")
        if (abandoned := request.context.open_stream) is not None:  # by who sends again: it holds a connection
            request.context.open_stream = None
            abandoned.close()
        if pool.try_acquire(endpoint):
            progress.pooled = progress.began
        else:
            await self._wait_for_place(pool, request, progress)
        token = current.set(progress)
        upload: Upload | None = None
        try:
            if self._closed or (
                self._foreign and session.closed
            ):  # while this request was under way, perhaps for a second time
                raise ClientClosedError("the client, or the session given to it, is closed; make a new one")
            if request.body is not None and not is_small(request.body):
                upload = Upload(request.body, progress)
            usual = request.body is None and request.context.limits is self._usual_limits
            options: dict[str, Any] = {"headers": request.headers} if usual else self._options(session, request, upload)
            url = request.url
            reply = await session.request(request.method, url, allow_redirects=False, **options)
            progress.replied = progress.ended = progress.clock()
            truncated = False
            content = None if reply.status >= 400 or request.context.streaming else body_at_hand(reply, self._max_size)
            if content is None:
                content, truncated = await self._read(reply, request, progress, upload, session)
                progress.ended = progress.clock()
            return Response(reply.status, reply.headers, content, url, truncated, progress)
        except asyncio.CancelledError:
            request.record.stage = progress.mark_failed()
            raise
        except Exception as error:
            request.record.stage = progress.mark_failed()
            of_source = upload is not None and upload.failure
            failure = of_source or _translate(error, request, progress, session)
        finally:
            current.reset(token)
            if progress.sent is not None:
                request.record.sent, request.record.reused = True, progress.reused
            if request.context.open_stream is None:  # else they belong to it: the upload, too, may still go on
                if upload is not None:
                    upload.close()
                pool.release(endpoint)
        raise failure

    @staticmethod
    async def _wait_for_place(pool: Pool, request: Request, progress: Progress) -> None:
        request.record.queued = True
        try:
            await pool.acquire(request.endpoint)
        except asyncio.CancelledError:
            request.record.stage = progress.mark_failed()
            raise
        finally:
            request.record.queued = False
        progress.pooled = progress.clock()

    async def close(self) -> None:
        """Close the session if it is our own. May be called twice."""
        self._closed = True
        if self._session is not None and not self._foreign:
            await self._session.close()

    def make_session(self, limits: TimeLimits) -> aiohttp.ClientSession:
        """The session of our own, made on first use; the one thing that a transport in memory replaces.

        Args:
            limits: Those of most calls; others come with their request.
        """
        settings = self._settings
        proxied = settings.proxy is not None or settings.trust_env
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=settings.keepalive or None,
                force_close=not settings.keepalive,
                use_dns_cache=settings.dns_ttl is not None,
                ttl_dns_cache=settings.dns_ttl,  # type: ignore[arg-type]  # a float works, the hint says int
                resolver=MarkingResolver(),
                socket_factory=make_socket,
                ssl=settings.tls,
                timeout_ceil_threshold=_NEVER_ROUNDED,
            ),
            timeout=_timeout(limits.connect, limits.idle),
            auto_decompress=False,
            cookie_jar=None if settings.cookies else _NoCookies(),
            request_class=_OwnRequest,
            response_class=MarkingResponse,
            trust_env=settings.trust_env,
            proxy=None if settings.proxy is None else settings.proxy.get_secret_value(),
            middlewares=(guard, *settings.aiohttp_middlewares) if proxied else settings.aiohttp_middlewares,
        )

    def _options(self, session: aiohttp.ClientSession, request: Request, upload: Upload | None) -> dict[str, Any]:
        """What aiohttp is told beside method and URL."""
        options: dict[str, Any] = {"headers": request.headers}
        if upload is not None:
            options["data"] = upload
            if (length := upload.length()) is not None:
                options["headers"] = headers = request.headers.copy()  # the next hop of a redirect may have no body
                headers["Content-Length"] = str(length)
        elif request.body is not None:
            options["data"] = request.body.source
        if self._foreign:
            request.record.blind = True
            _refuse_strangers(session, request)
            options["headers"] = _with_own(options["headers"])
            options |= {"auto_decompress": False, "raise_for_status": False, "middlewares": self._middlewares}
        limits = request.context.limits
        if limits is not self._usual_limits:
            options["timeout"] = _timeout(limits.connect, limits.idle)
        return options

    async def _read(
        self,
        reply: aiohttp.ClientResponse,
        request: Request,
        progress: Progress,
        upload: Upload | None,
        session: aiohttp.ClientSession,
    ) -> tuple[bytes, bool]:
        """The body, and whether it was cut; a body that is to be streamed stays open."""
        try:
            if reply.status >= 400:
                return await read_error_body(reply, _patience(request))
            if request.context.streaming and reply.status not in REDIRECTS:
                self._leave_open(reply, request, progress, upload, session)
                return b"", False
            return await read_body(reply, self._max_size), False
        except BaseException:
            reply.close()
            raise

    def _leave_open(
        self,
        reply: aiohttp.ClientResponse,
        request: Request,
        progress: Progress,
        upload: Upload | None,
        session: aiohttp.ClientSession,
    ) -> None:
        endpoint, pool = request.endpoint, self._pool

        def on_close() -> None:
            progress.ended = progress.clock()
            if upload is not None:
                upload.close()
            if pool is not None:
                pool.release(endpoint)

        request.context.open_stream = OpenReply(
            reply, on_close, lambda error: _translate(error, request, progress, session)
        )

    def _open(self, request: Request) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosedError("the client is closed; make a new one, or keep it open while calls are made")
        if getattr(loop, "virtual", False):
            self._clock = loop.time
        if self._session is not None:
            return self._adopt(self._session)
        self._usual_limits = limits = request.context.limits
        self._pool = Pool(self._settings.pool_size, self._settings.pool_size_per_host)
        self._session = self.make_session(limits)
        return self._session

    def _adopt(self, session: aiohttp.ClientSession) -> aiohttp.ClientSession:
        if session.closed or session.connector is None:
            raise ClientClosedError("the session given to the client is closed; give an open one")
        self._pool = Pool(session.connector.limit, session.connector.limit_per_host)
        # There is no public way to read them, and those given with a request replace them.
        self._middlewares = (guard, *getattr(session, "_middlewares", ()))
        return session


def _translate(error: Exception, request: Request, progress: Progress, session: aiohttp.ClientSession) -> Exception:
    """Our error; of a connection that broke because we closed the session, one that does not blame the server."""
    failure = translate(error, request, progress)
    if session.closed and isinstance(failure, APIConnectionError):
        return ClientClosedError(
            f"{request.label}: the client, or the session given to it, was closed before the reply was complete; "
            "keep it open until its calls have returned"
        )
    return failure


_OWN_HEADERS = {hdrs.ACCEPT_ENCODING: ACCEPT_ENCODING, hdrs.USER_AGENT: f"resilient-client/{__version__}"}


class _OwnRequest(aiohttp.ClientRequest):
    """Lays a request's headers over ours in one step, instead of a step a header."""

    def update_headers(self, headers: LooseHeaders | None) -> None:
        """Start from what every request to this host carries; ``headers`` are those of the session and the call."""
        self.headers = _usual_headers(self.url.host_port_subcomponent or "").copy()
        if headers:
            self.headers.update(headers)

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """Nothing is left to add."""


@lru_cache(maxsize=256)
def _usual_headers(host: str) -> CIMultiDict[str]:
    return CIMultiDict({hdrs.HOST: host} | aiohttp.ClientRequest.DEFAULT_HEADERS | _OWN_HEADERS)


class _NoCookies(aiohttp.DummyCookieJar):
    """Keeps no cookies, and makes no new empty jar for each request either."""

    _NONE: Final[SimpleCookie] = SimpleCookie()

    def filter_cookies(self, request_url: URL) -> SimpleCookie:
        """Give no cookies; never changed by aiohttp, which gets its own with ``cookies=`` only."""
        return self._NONE


def _patience(request: Request) -> float:
    """Seconds for the body of an error reply: less than is left, so that the status outlives a body that drips."""
    alarm = request.record.alarm
    left = math.inf if alarm is None else alarm.ends_at - request.context.client.loop_time()
    return min(ERROR_BODY_PATIENCE, left / 2)


def _refuse_strangers(session: aiohttp.ClientSession, request: Request) -> None:
    """Keep what a caller's session adds to every request from an origin that a redirect leads to."""
    if request.endpoint != request.record.endpoint and (session.headers or session.auth is not None):
        raise RedirectError(
            f"{request.label}: the redirect to {request.endpoint} is not followed: the session given to the client "
            "adds its own headers or auth to every request; give them to the client instead"
        )


def _with_own(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """The headers of a request for a session that does not add ours by itself."""
    merged = CIMultiDict(_OWN_HEADERS)
    merged.update(headers)
    return merged


@lru_cache(maxsize=256)
def _timeout(connect: float | None, idle: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_read=idle, ceil_threshold=_NEVER_ROUNDED)
