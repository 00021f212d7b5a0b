"""Stands between a connection and aiohttp's parser, and mends what that parser throws away.

aiohttp's parser drops a complete response whose bytes are followed by others in the same segment, reads any number of
interim responses ahead, and takes a reset for the end of a body without a length. The gate is the protocol of the
transport (``Transport.set_protocol``, which is public on every event loop) and passes everything on to aiohttp's own,
so it serves both paths and a caller's session. It is put in place once per connection.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from resilient_client._transport.aiohttp_internals import ResponseHandler, http_exceptions

MAX_INTERIM_RESPONSES: Final = 32
"""Interim (1xx) responses before the final one. Go's ``net/http`` accepts 5, curl heads of 1 MiB in all."""
_MAX_HEAD: Final = 1024 * 1024  # bytes of a head that are kept while its end is looked for
_BODILESS: Final = (b"204", b"304")
_TRANSFER_ENCODING: Final = hdrs.TRANSFER_ENCODING
_END: Final = b"\r\n\r\n"


class Gate(asyncio.Protocol):
    """The protocol of one connection.

    Attributes:
        expected: The method of the request whose response has not begun, or ``None``.
        reset: The connection broke, and was not closed in good order.
    """

    __slots__ = ("_handler", "_head", "_interim", "_transport", "expected", "reset")

    def __init__(self, handler: ResponseHandler, transport: asyncio.BaseTransport) -> None:
        self._handler = handler
        self._transport = transport
        self.expected: str | None = None
        self._interim = 0
        self._head = b""
        self.reset = False

    def data_received(self, data: bytes) -> None:
        """Pass on what belongs to the response."""
        if self.expected is not None:
            if data[9:12] == b"200" and self.expected != "HEAD" and not self._head:  # the usual case, at once
                self.expected = None
            else:
                data = self._without_excess(data)
                if self._interim > MAX_INTERIM_RESPONSES:
                    self._refuse_flood()
                    return
        self._handler.data_received(data)

    def eof_received(self) -> None:
        """Pass it on. The transport closes itself."""
        self._handler.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember whether it was a reset, and pass it on."""
        self.reset = exc is not None
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._handler.resume_writing()

    def _without_excess(self, data: bytes) -> bytes:
        """Cut off what follows a response that ends with its head (RFC 9112 section 6.3, rule 1).

        Such bytes are not a response of their own, so the connection is not used again. Interim responses on the way
        are counted.
        """
        head, self._head = self._head + data, b""
        while self._interim <= MAX_INTERIM_RESPONSES:
            status = head[9:12]
            is_interim = status[:1] == b"1" and status != b"101"
            if len(status) == 3 and not (is_interim or self.expected == "HEAD" or status in _BODILESS):
                break  # the usual case: a response with a body
            end = head.find(_END) + len(_END)
            if end < len(_END):
                if len(head) > _MAX_HEAD:
                    break
                self._head = head
                return data
            if not is_interim:
                self.expected, self._interim = None, 0
                if excess := len(head) - end:
                    self._handler.force_close()
                    return data[:-excess]
                return data
            self._interim += 1
            head = head[end:]
            if not head:
                return data
        if self._interim <= MAX_INTERIM_RESPONSES:
            self.expected, self._interim = None, 0
        return data

    def _refuse_flood(self) -> None:
        self._handler.set_exception(
            http_exceptions.HttpProcessingError(message=f"more than {MAX_INTERIM_RESPONSES} responses to one request")
        )
        cast("asyncio.Transport", self._transport).abort()


def expect_response(handler: ResponseHandler, method: str) -> Gate | None:
    """The next bytes on a connection are a response: call this before any of them can arrive.

    Returns:
        The gate of the connection, which is put in place if there is none yet. ``None``: the connection is lost.
    """
    transport = handler.transport
    if transport is None:
        return None
    gate = transport.get_protocol()
    if type(gate) is not Gate:
        gate = Gate(handler, transport)
        transport.set_protocol(gate)
    gate.expected = method
    return gate


def ends_with_connection(headers: CIMultiDictProxy[str], method: str, status: int) -> bool:
    """Whether the body ends where the connection ends: it has neither a length nor chunks (RFC 9112 section 6.3)."""
    framed = hdrs.CONTENT_LENGTH in headers or _codings(headers) not in ("", "identity")
    return not framed and method != "HEAD" and status not in (204, 304)


def check_head(headers: CIMultiDictProxy[str], status: int) -> None:
    """Refuse a head that aiohttp's parser accepts, but that no HTTP/1.1 server may send here.

    A status below 200 is no final response, and 101 was not asked for (RFC 9110 section 15). A transfer coding other
    than ``chunked`` was not asked for either (the client sends no TE field). Its bytes would pass for the content
    (RFC 9112 section 7). The caller closes the connection.

    Raises:
        HttpProcessingError: The message says what is wrong.
    """
    if status < 200:
        raise http_exceptions.HttpProcessingError(message=f"status {status:03}")
    if _TRANSFER_ENCODING in headers and _codings(headers) not in ("chunked", "identity"):
        raise http_exceptions.HttpProcessingError(message="a Transfer-Encoding other than chunked")


def _codings(headers: CIMultiDictProxy[str]) -> str:
    return ",".join(headers.getall(_TRANSFER_ENCODING, ())).lower().replace(" ", "")
