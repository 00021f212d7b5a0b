"""Redirects, followed by us: counted, bounded, and with nothing secret across origins.

Per attempt, innermost, just above the transport: hops belong to their attempt and stand in its record.
"""

from __future__ import annotations

from resilient_client._core.errors import RedirectError
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.http.redirect import REDIRECTS, Refusal, next_hop
from resilient_client._settings.config import FollowRedirects


class RedirectMiddleware:
    """Follows redirects as far as ``mode`` allows."""

    __slots__ = ("_mode",)

    def __init__(self, mode: FollowRedirects) -> None:
        self._mode: FollowRedirects = mode

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Send, and send again to wherever the reply points.

        Raises:
            RedirectError: The policy forbids to follow.
        """
        request.attempt.redirected_to = None  # a middleware above may have sent before
        response = await call_next(request)
        hops, asked = 0, request
        while response.status in REDIRECTS:
            hop = next_hop(
                status=response.status,
                location=response.headers.get("Location"),
                method=request.method,
                url=request.url,
                headers=request.headers,
                has_body=request.body is not None,
                sendable=request.body is None or request.body.sendable,
                hops=hops,
                mode=self._mode,
            )
            if hop is None:
                return response
            if isinstance(hop, Refusal):
                raise RedirectError(
                    f"the redirect {response.status} is not followed: {hop.reason}",
                    response=response,
                    label=request.label,
                )
            hops += 1
            request.attempt.redirects += (str(hop.url.with_query(None)),)
            body = request.body if hop.keep_body else None
            request = Request(hop.method, hop.url, hop.headers, body, request.context, request.attempt)
            request.redirected_from = asked
            request.attempt.redirected_to = request.endpoint
            response = await call_next(request)
        return response
