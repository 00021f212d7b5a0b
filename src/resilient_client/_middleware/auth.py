"""Puts the credentials on each attempt. Answers a 401 with one refresh, shared by all calls, and one resend.

It never reads a credential, never retries anything else, and never decides what a 401 means to the caller: if fresh
credentials do not help, the 401 is returned as it came. Only redirects are further inside, so each retry carries
current credentials, and the resend costs no retry.
"""

from __future__ import annotations

import asyncio
import copy

from resilient_client._core.context import CallContext
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import APIError, ResilientClientError
from resilient_client._core.events import TokenRefreshed
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.protocols import Auth, Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._core.single_flight import SingleFlight


class AuthMiddleware:
    """The acting side of ``Auth``. May serve many clients and calls, on one event loop after another.

    Each waiting call waits for a refresh under its own deadline. A call that stops waiting does not cancel the refresh
    for the others; the refresh is cancelled when the last waiting call is gone. There is nothing to close.
    """

    __slots__ = ("_always_differs", "_auth", "_generation", "_refresh_timeout", "_refreshing")

    def __init__(self, auth: Auth, *, refresh_timeout: float = 10.0) -> None:
        """Act for ``auth``.

        Args:
            auth: The credentials. An auth object that never applies the same twice (a signature over the time, a
                nonce) has an attribute ``always_differs = True``. For any other, a difference means a renewal.
            refresh_timeout: Seconds a refresh may take, whatever the deadlines of the calls that wait for it.
        """
        self._auth = auth
        self._always_differs: bool = getattr(auth, "always_differs", False)
        self._refresh_timeout = refresh_timeout
        self._refreshing: SingleFlight[bool] = SingleFlight()
        self._generation = 0  # counts successful refreshes: tells a 401 to old credentials from a 401 to current ones

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Send with credentials. After a 401 refresh them, unless they have been renewed already, and send again.

        There is at most one refresh and one resend. A one-shot body that was sent is not sent again. The refresh takes
        place all the same, because it serves the next calls.

        Raises:
            APIError: No credentials could be obtained; stage ``LOCAL``, nothing was sent.
        """
        generation = self._generation
        first = await self._with_credentials(request)
        first.kept_url, first.kept_headers = first.url, first.headers.copy()  # the links below may change the request
        reply = await call_next(first)
        if not _is_refused(reply, request):
            return reply
        request.attempt.stage = Stage.LOCAL  # from here on the caller does not wait for the upstream
        renewed = await self._is_outdated(first, generation, request)
        if not renewed and not await self._refreshed(reply, request):
            return reply
        if request.body is not None and not request.body.sendable:
            return reply
        generation = self._generation
        again = await self._with_credentials(request)
        request.attempt.reauthenticated = True
        reply = await call_next(again)
        if renewed and generation == self._generation and _is_refused(reply, request):
            # They were refused too, or only seemed renewed because they always differ. The next calls benefit.
            request.attempt.stage = Stage.LOCAL
            await self._refreshed(reply, request)
        return reply

    async def _is_outdated(self, refused: Request, generation: int, request: Request) -> bool:
        """Whether the credentials were renewed since: by this client, by their own expiry, or by another client."""
        if generation != self._generation:
            return True
        if self._always_differs:
            return False
        try:
            current = await self._with_credentials(request)
        except APIError:
            return False  # there are none; the refresh reports that once for all calls
        return refused.kept_url != current.url or refused.kept_headers != current.headers

    async def _refreshed(self, reply: Response, request: Request) -> bool:
        return await self._refreshing.join(lambda: self._refresh(reply, request.context))

    async def _with_credentials(self, request: Request) -> Request:
        fresh = request.copy()  # of the original, or what the last apply() added would be there twice
        try:
            await self._auth.apply(fresh)
            return fresh
        except APIError as error:
            failure = _before_sending(error)
        except Exception as error:
            # Only texts of this library are known to hold no secret.
            detail = str(error) if isinstance(error, ResilientClientError) else type(error).__name__
            failure = APIError(
                f"no credentials, {type(self._auth).__name__} failed: {detail}",
                kind=ErrorKind.UNEXPECTED,
                stage=Stage.LOCAL,
                detail=detail,
                label=request.label,
            )
        raise failure  # outside the handler, or __context__ would keep the foreign error and the secrets in its frames

    async def _refresh(self, rejected: Response, context: CallContext) -> bool:
        """The refresh that all waiting calls share. A failure counts as "not renewed" and is emitted as an event."""
        try:
            async with asyncio.timeout(self._refresh_timeout):
                renewed = await self._auth.refresh(rejected)
            detail = "" if renewed else "there are no new credentials"
        except Exception as error:
            renewed, detail = False, type(error).__name__
        self._generation += renewed
        context.client.emit(TokenRefreshed, context.client.loop_time(), ok=renewed, detail=detail)
        return renewed


def _is_refused(reply: Response, request: Request) -> bool:
    """Whether this is a 401 to the credentials: a redirect may have led to an origin that never got them."""
    return reply.status == 401 and Endpoint.of(reply.url) == request.endpoint


def _before_sending(error: APIError) -> APIError:
    """The failure of a token request, as the failure of this call.

    It is a copy, because all waiting calls got the same object. It has no cause and no traceback, because the frames of
    a token request hold secrets.
    """
    failure = copy.copy(error)
    failure.stage = Stage.LOCAL
    failure.maybe_processed = False
    return failure
