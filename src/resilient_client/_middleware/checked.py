"""Calls a middleware of the user, and checks that it returns a response.

One that forgets ``return``, or is not async, would otherwise fail far from its mistake, as an ``AttributeError`` of the
link outside it. Only chains with middlewares of the user have this link.
"""

from __future__ import annotations

from inspect import isawaitable

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.protocols import Handler, Middleware
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._core.validation import kind_of


class CheckedMiddleware:
    """One middleware of the user."""

    __slots__ = ("_middleware", "_name")

    def __init__(self, middleware: Middleware, name: str) -> None:
        """Check what ``middleware`` returns; an error calls it ``name``."""
        self._middleware = middleware
        self._name = name

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Run the middleware.

        Raises:
            ConfigurationError: It returned no awaitable, or no response.
        """
        returned: object = self._middleware(request, call_next)
        if not isawaitable(returned):
            raise ConfigurationError(
                f"the middleware {self._name!r} is not async, it returned {kind_of(returned)}; "
                "write async def and return await call_next(request)"
            )
        response: object = await returned
        if isinstance(response, Response):
            return response
        raise ConfigurationError(
            f"the middleware {self._name!r} returned {kind_of(response)} in place of a response; "
            "write return await call_next(request)"
        )
