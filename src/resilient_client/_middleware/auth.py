"""Puts the credentials on each attempt; answers a 401 with one refresh, shared by all, and one resend.

It never reads a credential, never retries anything else, and never decides what a 401 means to the caller: when
fresh credentials do not help, the 401 goes back as it came. Its place is innermost but for redirects, so that each
retry carries current credentials and the resend costs no retry.
"""

from __future__ import annotations

import asyncio
import copy

from multidict import CIMultiDict
from yarl import URL

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

    Whoever waits for a refresh waits under its own deadline; leaving never ends the refresh for the others, and the
    last one to leave ends it. Nothing needs to be closed.
    """

    __slots__ = ("_always_differs", "_auth", "_generation", "_refresh_timeout", "_refreshing")

    def __init__(self, auth: Auth, *, refresh_timeout: float = 10.0) -> None:
        """Act for ``auth``.

        Args:
            auth: Who the caller is. One that never applies the same twice (a signature over the time, a nonce) says
                so by an attribute ``always_differs = True``: of others, a difference means that they were renewed.
            refresh_timeout: Seconds a refresh may take, whatever the deadlines of those who wait for it.
        """
        self._auth = auth
        self._always_differs: bool = getattr(auth, "always_differs", False)
        self._refresh_timeout = refresh_timeout
        self._refreshing: SingleFlight[bool] = SingleFlight()
        self._generation = 0  # successful refreshes: tells a 401 to old credentials from a 401 to current ones

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Send with credentials; after a 401 refresh them, unless there are others already, and send again.

        At most one refresh and one resend. A one-shot body that was sent is not sent again, but the refresh takes
        place: it serves the next calls.

        Raises:
            APIError: There are no credentials to be had; stage ``LOCAL``, nothing was sent.
        """
        generation = self._generation
        first = await self._with_credentials(request)
        refused = first.url, first.headers.copy()  # what is handed down may be changed there
        reply = await call_next(first)
        if not _is_refused(reply, request):
            return reply
        request.attempt.stage = Stage.LOCAL  # from here on it is not the upstream that keeps the caller waiting
        renewed = await self._is_outdated(refused, generation, request)
        if not renewed and not await self._refreshed(reply, request):
            return reply
        if request.body is not None and not request.body.sendable:
            return reply
        generation = self._generation
        again = await self._with_credentials(request)
        request.attempt.reauthenticated = True
        reply = await call_next(again)
        if renewed and generation == self._generation and _is_refused(reply, request):
            # They were refused as well, or just looked renewed because they always differ. The next calls profit.
            request.attempt.stage = Stage.LOCAL
            await self._refreshed(reply, request)
        return reply

    async def _is_outdated(self, refused: tuple[URL, CIMultiDict[str]], generation: int, request: Request) -> bool:
        """Whether the credentials have been renewed since: here, by their own expiry, or for another client."""
        if generation != self._generation:
            return True
        if self._always_differs:
            return False
        try:
            current = await self._with_credentials(request)
        except APIError:
            return False  # none at all; the refresh says so, once for all
        return refused != (current.url, current.headers)

    async def _refreshed(self, reply: Response, request: Request) -> bool:
        return await self._refreshing.join(lambda: self._refresh(reply, request.context))

    async def _with_credentials(self, request: Request) -> Request:
        fresh = request.copy()  # of the original: what the last apply() added must not be there twice
        try:
            await self._auth.apply(fresh)
            return fresh
        except APIError as error:
            failure = _before_sending(error)
        except Exception as error:
            # Only our own texts are known to hold no secret.
            detail = str(error) if isinstance(error, ResilientClientError) else type(error).__name__
            failure = APIError(
                f"no credentials, {type(self._auth).__name__} failed: {detail}",
                kind=ErrorKind.UNEXPECTED,
                stage=Stage.LOCAL,
                detail=detail,
                label=request.label,
            )
        raise failure  # out here, so that not even __context__ keeps a foreign error and the secrets in its frames

    async def _refresh(self, rejected: Response, context: CallContext) -> bool:
        """The work shared by all who wait; a failure means "no", and is told as an event."""
        try:
            async with asyncio.timeout(self._refresh_timeout):
                renewed = await self._auth.refresh(rejected)
            detail = "" if renewed else "there are no other credentials"
        except Exception as error:
            renewed, detail = False, type(error).__name__
        self._generation += renewed
        if context.client.events.active:
            context.client.events.emit(
                TokenRefreshed(client=context.client.name, at=context.client.loop_time(), ok=renewed, detail=detail)
            )
        return renewed


def _is_refused(reply: Response, request: Request) -> bool:
    """Another origin's 401, after a redirect, is not about credentials that never went there."""
    return reply.status == 401 and Endpoint.of(reply.url) == request.endpoint


def _before_sending(error: APIError) -> APIError:
    """The failure of another call, made for the sake of the credentials, as the failure of this one.

    A copy, because all who waited for the credentials got the same object; without cause and traceback, because
    frames of a token request hold secrets.
    """
    failure = copy.copy(error)
    failure.stage = Stage.LOCAL
    failure.maybe_processed = False
    return failure
