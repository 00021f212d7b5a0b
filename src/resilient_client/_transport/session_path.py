"""The session path: ``ClientSession.request``, which can send everything.

Taken for proxies, cookies, aiohttp's own middlewares, a caller's session, and while a mock or an instrumentation
replaces its methods.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from aiohttp import hdrs

from resilient_client._core.errors import RedirectError
from resilient_client._core.request import Request
from resilient_client._transport.aiohttp_internals import middlewares_of
from resilient_client._transport.default_headers import NOT_DEFAULTED, in_one_spelling, with_default_headers
from resilient_client._transport.hooks import prevent_resend
from resilient_client._transport.request_body import Upload
from resilient_client._transport.trace import current_trace


class SessionPath:
    """Sends requests through one session."""

    def __init__(self, session: aiohttp.ClientSession, *, callers_session: bool) -> None:
        """Send through ``session``. The settings of a caller's session are overridden by each request."""
        self._session = session
        self._is_callers_session = callers_session
        # From a .netrc, or set by the caller. A session in memory has no ``trust_env``.
        self._may_have_auth = callers_session or getattr(session, "trust_env", False)
        self._middlewares = (prevent_resend, *middlewares_of(session)) if callers_session else ()

    async def send(
        self, request: Request, timeout: aiohttp.ClientTimeout, upload: Upload | None
    ) -> aiohttp.ClientResponse:
        """Send ``request`` and wait for the head of its response.

        Args:
            request: The request; a body that takes an upload is in ``upload``.
            timeout: The limits that aiohttp enforces.
            upload: The body, if it is not sent in one piece.

        Raises:
            Exception: One of aiohttp's or of the system's, to be translated.
        """
        return await self._session.request(
            request.method, request.url, timeout=timeout, allow_redirects=False, **self._options(request, upload)
        )

    def _options(self, request: Request, upload: Upload | None) -> dict[str, Any]:
        """What the session is told of a request. Not in the frame that waits, because the headers are secret."""
        options: dict[str, Any] = {"headers": in_one_spelling(request.headers)}
        if upload is not None:
            options["data"] = upload
            if (length := upload.length()) is not None:
                options["headers"] = headers = options["headers"].copy()  # the next hop of a redirect may have no body
                headers[hdrs.CONTENT_LENGTH] = str(length)
        elif request.body is not None:
            options["data"] = request.body.source
        trace = current_trace.get()
        if self._may_have_auth and trace is not None and hdrs.AUTHORIZATION in request.headers:
            # The call's own takes precedence. aiohttp would refuse it together with that of the session, so
            # ``prevent_resend``, the outermost middleware of these sessions, adds it after the session's.
            options["headers"] = headers = options["headers"].copy()
            trace.authorization = headers.pop(hdrs.AUTHORIZATION)
        if self._is_callers_session:
            request.attempt.pool_wait_unobservable = True
            _refuse_cross_origin(self._session, request)
            options["headers"] = with_default_headers(options["headers"])
            options |= {"auto_decompress": False, "raise_for_status": False, "middlewares": self._middlewares}
            options["skip_auto_headers"] = NOT_DEFAULTED
        return options


def _refuse_cross_origin(session: aiohttp.ClientSession, request: Request) -> None:
    """Refuse a redirect to another origin, if the caller's session adds headers or credentials to every request."""
    if request.endpoint != request.attempt.endpoint and (session.headers or session.auth is not None):
        raise RedirectError(
            f"the redirect to {request.endpoint} is not followed: the session given to the client "
            "adds its own headers or auth to every request; give them to the client instead",
            label=request.label,
        )
