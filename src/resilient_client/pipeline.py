"""Composition: a list of middlewares and a last handler become one handler, once, when a client is built."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from types import FunctionType

from resilient_client.core.protocols import Handler, Middleware
from resilient_client.core.request import Request
from resilient_client.core.response import Response


def compose(middlewares: Iterable[Middleware], last: Handler) -> Handler:
    """Chain ``middlewares``, the first one outermost, around ``last``."""
    handler = last
    for middleware in reversed(tuple(middlewares)):
        handler = _link(middleware, handler)
    return handler


def describe(middleware: Middleware) -> str:
    """The name of a middleware, for people."""
    name = getattr(middleware, "__name__", None) or type(middleware).__name__
    return str(name).removesuffix("Middleware")


def _link(middleware: Middleware, call_next: Handler) -> Handler:
    act = middleware if isinstance(middleware, FunctionType) else middleware.__call__  # looked up once

    def handler(request: Request) -> Awaitable[Response]:  # no coroutine of its own: a link costs one call
        return act(request, call_next)

    return handler
