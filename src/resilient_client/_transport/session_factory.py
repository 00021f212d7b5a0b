"""Creates a client's own session. Every request through it is one request on the wire and carries no more than it must.

aiohttp's redirects, its resend of lost requests, its decompression and its timer are off. The layers above do what they
are good for, where it can be counted and bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import aiohttp
from aiohttp import hdrs

from resilient_client._settings.connection import ConnectionSettings
from resilient_client._transport.aiohttp_internals import LooseHeaders
from resilient_client._transport.connector import BoundedConnector
from resilient_client._transport.cookies import NoCookies, VerbatimCookies
from resilient_client._transport.default_headers import NOT_DEFAULTED, default_headers
from resilient_client._transport.hooks import TracingResponse, create_socket, prevent_resend

_NEVER_ROUNDED = 1e9  # aiohttp rounds timeouts above a threshold up to whole seconds


def create_session(settings: ConnectionSettings) -> aiohttp.ClientSession:
    """A new session; the caller closes it. Each request brings its own time limits."""
    return aiohttp.ClientSession(
        connector=BoundedConnector(
            settings.pool_size,
            settings.dns_ttl,
            keepalive_timeout=settings.keepalive or None,
            force_close=not settings.keepalive,
            socket_factory=create_socket,
            ssl=settings.tls,
            timeout_ceil_threshold=_NEVER_ROUNDED,
        ),
        auto_decompress=False,
        max_line_size=settings.max_field_size,
        max_field_size=settings.max_field_size,
        max_headers=settings.max_headers,
        cookie_jar=VerbatimCookies() if settings.cookies else NoCookies(),
        request_class=_OwnRequest,
        response_class=TracingResponse,
        trust_env=settings.trust_env,
        proxy=None if settings.proxy is None else settings.proxy.get_secret_value(),
        middlewares=(prevent_resend, *settings.aiohttp_middlewares)
        if proxied(settings)
        else settings.aiohttp_middlewares,
    )


def proxied(settings: ConnectionSettings) -> bool:
    """Whether requests may go through a proxy."""
    return settings.proxy is not None or settings.trust_env


@lru_cache(maxsize=256)
def aiohttp_timeout(connect: float | None, idle: float | None) -> aiohttp.ClientTimeout:
    """The limits that aiohttp enforces; the deadline enforces the others."""
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_read=idle, ceil_threshold=_NEVER_ROUNDED)


class _OwnRequest(aiohttp.ClientRequest):
    """Lays a request's headers over the default ones in one step, instead of one step per header."""

    def update_headers(self, headers: LooseHeaders | None) -> None:
        """Start from what every request to this host carries; ``headers`` come from the session and the call."""
        self.headers = default_headers(self.url.host_port_subcomponent or "").copy()
        if headers:
            self.headers.update(headers)

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """Add nothing: all headers are there, and aiohttp must not make up the type of a body."""
        if self.method in self.POST_METHODS and hdrs.CONTENT_TYPE not in self.headers:
            super().update_auto_headers(NOT_DEFAULTED)
