"""Every name of aiohttp that its documentation does not promise, in one place, with what it is used for.

The rest of the package imports such names from here only, on both paths. What aiohttp might rename is listed in
``BOTH_PATHS`` and ``FAST_PATH`` and checked when a client is built:

- Without one of ``BOTH_PATHS`` a client is refused: headers would be lost in silence, or lost requests resent.
- Without one of ``FAST_PATH``, or with a release that it was not tested with, the fast path is off, and everything goes
  through ``ClientSession.request``.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from types import FunctionType, ModuleType
from typing import Any, Final, NamedTuple

import aiohttp
from aiohttp import http_exceptions
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http import StreamWriter
from aiohttp.typedefs import LooseHeaders

from resilient_client._core.errors import ConfigurationError

__all__ = [
    "BOTH_PATHS",
    "FAST_PATH",
    "SUPPORTED",
    "Connection",
    "ConnectionKey",
    "LooseHeaders",
    "ResponseHandler",
    "StreamWriter",
    "check_supported",
    "http_exceptions",
    "idle_connections",
    "is_tested_release",
    "middlewares_of",
    "request_method",
]

SUPPORTED: Final = "aiohttp>=3.14,<4"
"""The releases that this library works with, as in its metadata."""
TESTED: Final = ("3.14.",)
"""The releases with which the fast path was tested."""


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


BOTH_PATHS: Final = (
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

FAST_PATH: Final = (
    Internal(aiohttp.BaseConnector, "connect", "a connection, new or kept alive"),
    Internal(aiohttp.ClientRequest, "connection_key", "what a connector must know to connect"),
    Internal(ResponseHandler, "set_response_params", "how the response is to be parsed"),
    Internal(ResponseHandler, "start_timeout", "the timeout of a silent server"),
    Internal(ResponseHandler, "read", "the head of the response"),
    Internal(StreamWriter, "write_headers", "writes the head of the request"),
    Internal(StreamWriter, "write", "writes the body"),
    Internal(StreamWriter, "set_eof", "ends the request"),
)

_REQUEST: Final = getattr(aiohttp.ClientSession, "_request", None)


@cache
def check_supported() -> None:
    """Refuse a release of aiohttp in which a name is missing that both paths need.

    Raises:
        ConfigurationError: Names what is missing, and the releases that are supported.
    """
    if missing := _missing(BOTH_PATHS):
        raise ConfigurationError(
            f"aiohttp {aiohttp.__version__} has no {', '.join(missing)}, which this library needs; "
            f"install a supported release: pip install '{SUPPORTED}'"
        )


def is_tested_release(version: str = aiohttp.__version__) -> bool:
    """Whether the fast path can be taken with this release of aiohttp."""
    known = isinstance(_REQUEST, FunctionType) and _REQUEST.__module__ == "aiohttp.client"
    return version.startswith(TESTED) and known and not _missing(FAST_PATH)


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


def _missing(internals: tuple[Internal, ...]) -> list[str]:
    return [str(internal) for internal in internals if not hasattr(internal.owner, internal.name)]
