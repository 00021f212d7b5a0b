"""Redirects: followed here, counted, bounded, and without secrets across origins.

Per attempt, innermost, just above the transport: hops belong to their attempt and are part of its record.
"""

from __future__ import annotations

from resilient_client._core.errors import RedirectError
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.http.redirect import REDIRECTS, Refusal, next_hop
from resilient_client._settings.config import FollowRedirects


class RedirectMiddleware:
    """Follows at most ``max_redirects`` redirects in a row, as far as ``mode`` allows."""

    __slots__ = ("_max_redirects", "_mode")

    def __init__(self, mode: FollowRedirects, max_redirects: int) -> None:
        self._mode: FollowRedirects = mode
        self._max_redirects = max_redirects

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Send, and send again to where a redirect points.

        Raises:
            RedirectError: The policy forbids following it.
        """
        request.attempt.redirected_to = None  # a middleware above may have sent once already
        response = await call_next(request)
        asked = request
        sent: tuple[Request, ...] = ()
        while response.status in REDIRECTS:
            sent += (request,)
            hop = next_hop(
                status=response.status,
                location=response.headers.get("Location"),
                method=request.method,
                url=request.url,
                headers=request.headers,
                has_body=request.body is not None,
                sendable=request.body is None or request.body.sendable,
                visited=[one.url for one in sent],
                mode=self._mode,
                max_redirects=self._max_redirects,
            )
            if hop is None:
                return response
            if isinstance(hop, Refusal):
                raise _refused(hop, request, response)
            request.attempt.redirects += (str(hop.url.with_query(None)),)
            body = request.body if hop.keep_body else None
            request = Request(hop.method, hop.url, hop.headers, body, request.context, request.attempt)
            del hop  # its headers and URL are secret
            request.redirected_from = asked
            request.attempt.redirected_to = request.endpoint
            response = await call_next(request)
        return response


def _refused(refusal: Refusal, request: Request, response: Response) -> RedirectError:
    error = RedirectError(
        f"the redirect {response.status} is not followed: {refusal.reason}", response=response, label=request.label
    )
    error.endless, error.cross_origin = refusal.endless, refusal.cross_origin
    if refusal.advice:
        error.advice = (refusal.advice,)
    return error
