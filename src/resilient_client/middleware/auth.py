"""Puts the credentials on each attempt; answers a 401 with one refresh, shared by all, and one resend.

It never reads a credential, never retries anything else, and never decides what a 401 means to the caller: when
fresh credentials do not help, the 401 goes back as it came. Its place is innermost but for redirects, so that each
retry carries current credentials and the resend costs no retry.
"""

from __future__ import annotations

import asyncio
import copy

from resilient_client.core.endpoint import Endpoint
from resilient_client.core.errors import APIError, ResilientClientError
from resilient_client.core.events import TokenRefreshed
from resilient_client.core.kinds import ErrorKind, Stage
from resilient_client.core.protocols import Auth, Handler
from resilient_client.core.request import CallContext, Request
from resilient_client.core.response import Response
from resilient_client.core.single_flight import SingleFlight


class AuthMiddleware:
    """The acting side of ``Auth``. May serve many clients and calls, on one event loop after another.

    Whoever waits for a refresh waits under its own deadline; leaving never ends the refresh for the others, and the
    last one to leave ends it. Nothing needs to be closed.
    """

    __slots__ = ("_auth", "_generation", "_refresh_timeout", "_refreshing")

    def __init__(self, auth: Auth, *, refresh_timeout: float = 10.0) -> None:
        """Act for ``auth``.

        Args:
            auth: Who the caller is.
            refresh_timeout: Seconds a refresh may take, whatever the deadlines of those who wait for it.
        """
        self._auth = auth
        self._refresh_timeout = refresh_timeout
        self._refreshing: SingleFlight[bool] = SingleFlight()
        self._generation = 0  # successful refreshes: tells a 401 to old credentials from a 401 to current ones

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Send with credentials; after a 401 refresh them, unless that has happened meanwhile, and send again.

        A one-shot body that was sent is not sent again, but the refresh takes place: it serves the next calls.

        Raises:
            APIError: There are no credentials to be had; stage ``LOCAL``, nothing was sent.
        """
        generation = self._generation
        reply = await call_next(await self._with_credentials(request))
        if reply.status != 401 or Endpoint.of(reply.url) != request.endpoint:
            return reply  # another origin's 401, after a redirect, is not about credentials that never went there
        request.record.stage = Stage.LOCAL  # from here on it is not the upstream that keeps the caller waiting
        outdated = generation != self._generation
        if not outdated and not await self._refreshing.join(lambda: self._refresh(reply, request.context)):
            return reply
        if request.body is not None and not request.body.sendable:
            return reply
        again = await self._with_credentials(request)
        request.record.reauthenticated = True
        return await call_next(again)

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
                f"{request.label}: no credentials, {type(self._auth).__name__} failed: {detail}",
                kind=ErrorKind.UNEXPECTED,
                stage=Stage.LOCAL,
                detail=detail,
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


def _before_sending(error: APIError) -> APIError:
    """The failure of another call, made for the sake of the credentials, as the failure of this one.

    A copy, because all who waited for the credentials got the same object; without cause and traceback, because
    frames of a token request hold secrets.
    """
    failure = copy.copy(error)
    failure.stage = Stage.LOCAL
    failure.maybe_processed = False
    return failure
