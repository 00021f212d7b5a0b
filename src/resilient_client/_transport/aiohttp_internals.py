"""Every name of aiohttp that its documentation does not promise, in one place, with what it is used for.

The rest of the package imports such names from here only. All of them serve the session path: connections of our own
need nothing of aiohttp but its multidict and URLs. What aiohttp might rename is listed in ``NEEDED`` and checked when a
client is built. Without one of these names a client is refused: headers would be lost in silence, or lost requests
resent.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from types import FunctionType, ModuleType
from typing import Any, Final, NamedTuple

import aiohttp
from aiohttp import client, http_exceptions
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.typedefs import LooseHeaders

from resilient_client._core.errors import ConfigurationError

__all__ = [
    "NEEDED",
    "SUPPORTED",
    "Connection",
    "ConnectionKey",
    "LooseHeaders",
    "ResponseHandler",
    "check_supported",
    "http_exceptions",
    "idle_connections",
    "middlewares_of",
    "request_method",
    "sessions_are_replaced",
]

SUPPORTED: Final = "aiohttp>=3.14,<4"
"""The releases that this library works with, as in its metadata."""


class Internal(NamedTuple):
    """One undocumented name.

    Attributes:
        owner: The class or module that has it.
        name: An attribute or method.
        purpose: What it is used for.
    """

    owner: type | ModuleType
    name: str
    purpose: str

    def __str__(self) -> str:
        return f"{self.owner.__name__}.{self.name}"


NEEDED: Final = (
    Internal(aiohttp.ClientRequest, "DEFAULT_HEADERS", "the headers that aiohttp sends with every request"),
    Internal(aiohttp.ClientRequest, "POST_METHODS", "the methods for which aiohttp makes up a Content-Type"),
    Internal(aiohttp.ClientRequest, "update_headers", "lays all headers in one step"),
    Internal(aiohttp.ClientRequest, "update_auto_headers", "keeps aiohttp from making up a Content-Type"),
    Internal(aiohttp.ClientResponse, "_continue", "a body is sent without the 100 that a server never sends"),
    Internal(aiohttp.ClientResponse, "start", "marks the request as sent, and keeps aiohttp from resending it"),
    Internal(aiohttp.TCPConnector, "_create_connection", "closes idle connections before one is opened"),
    Internal(Connection, "protocol", "the protocol of a connection"),
    Internal(ResponseHandler, "__len__", "responses that arrived before any request"),
    Internal(ResponseHandler, "closed", "wakes a reader whose connection was lost"),
    Internal(ResponseHandler, "exception", "why a connection was lost"),
    Internal(ResponseHandler, "force_close", "a connection on which an upload was cut is not used again"),
    Internal(aiohttp.StreamReader, "is_eof", "whether the whole body has arrived"),
    Internal(aiohttp.StreamReader, "on_eof", "gives the connection back at the end of the body"),
    Internal(aiohttp.StreamReader, "exception", "whether the body has failed"),
    Internal(aiohttp.StreamReader, "set_exception", "wakes a reader whose connection was lost"),
    Internal(http_exceptions, "HttpProcessingError", "what the parser raises"),
    Internal(http_exceptions, "PayloadEncodingError", "what the parser raises"),
    Internal(http_exceptions, "TransferEncodingError", "what the parser raises"),
    Internal(http_exceptions, "ContentLengthError", "what the parser raises"),
    Internal(http_exceptions, "BadHttpMessage", "what the parser raises"),
    Internal(aiohttp.ClientSession, "_request", "whether a mock or a tracer stands in its place"),
)


@cache
def check_supported() -> None:
    """Refuse a release of aiohttp in which a needed name is missing.

    Raises:
        ConfigurationError: Names what is missing, and the releases that are supported.
    """
    if missing := _missing(NEEDED):
        raise ConfigurationError(
            f"aiohttp {aiohttp.__version__} has no {', '.join(missing)}, which this library needs; "
            f"install a supported release: pip install '{SUPPORTED}'"
        )


def sessions_are_replaced() -> bool:
    """Whether a mock or an instrumentation stands in place of what makes a session, or sends through one."""
    return not all(_is_aiohttps_own(method) for method in (aiohttp.ClientSession.__init__, request_method()))


def request_method() -> object:
    """What ``ClientSession.request`` calls: aiohttp's own method, or what a mock or a tracer put in its place."""
    return aiohttp.ClientSession._request


def middlewares_of(session: aiohttp.ClientSession) -> tuple[Any, ...]:
    """The middlewares of a caller's session, which those given with a request would replace."""
    return tuple(getattr(session, "_middlewares", ()))


def idle_connections(connector: aiohttp.BaseConnector) -> list[ResponseHandler]:
    """The connections that a connector keeps for reuse. Empty if a release of aiohttp keeps them elsewhere."""
    kept: dict[ConnectionKey, Iterable[tuple[ResponseHandler, float]]] = getattr(connector, "_conns", {})
    return [protocol for connections in kept.values() for protocol, _ in connections]


def _is_aiohttps_own(method: object) -> bool:
    # type(), because a wrapper may pretend to be what it wraps, and the file, because it may carry its name.
    return type(method) is FunctionType and method.__code__.co_filename == client.__file__


def _missing(internals: tuple[Internal, ...]) -> list[str]:
    return [str(internal) for internal in internals if not hasattr(internal.owner, internal.name)]
