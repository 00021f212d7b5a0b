"""Decides how a final response is framed: how long its content is, and whether the connection may be used again.

It reads the values of Content-Length, Transfer-Encoding and Connection, and nothing else.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from resilient_client._transport.http1.failure import RefusedError
from resilient_client._transport.http1.fields import Field

_MAX_KNOWN_VALUE: Final = 64  # characters: what is kept is bounded in number and in size
_MAX_DIGITS: Final = 18  # of a length: far above what can be sent, and below what overflows elsewhere


class Framing(NamedTuple):
    """How a response is framed.

    Attributes:
        length: Bytes of content, or ``None`` if Content-Length does not say it.
        chunked: The content is chunked.
        keeps_alive: The server keeps the connection open.
    """

    length: int | None
    chunked: bool
    keeps_alive: bool


def read_framing(minor: int, fields: tuple[Field, ...]) -> Framing:
    """Read the framing fields of a response.

    Args:
        minor: Minor version of HTTP/1.
        fields: All fields named Content-Length, Transfer-Encoding or Connection.

    Raises:
        RefusedError: The length is invalid or ambiguous (RFC 9112 sections 6.1 and 6.3).
    """
    if len(fields) == 1 and len(fields[0][1]) <= _MAX_KNOWN_VALUE:
        return _read_known(minor, fields)
    return _read(minor, fields)


def _read(minor: int, fields: tuple[Field, ...]) -> Framing:
    lengths: list[str] = []
    codings: list[str] | None = None
    options: set[str] = set()
    for name, value in fields:
        match name.lower():
            case "content-length":
                lengths.append(value)
            case "transfer-encoding":
                codings = (codings or []) + _elements(value)
            case _:
                options.update(_elements(value))
    length = _read_length(lengths) if lengths else None
    chunked = codings is not None and _read_codings(codings, minor, length)
    return Framing(length, chunked, keeps_alive(minor, options))


_read_known = lru_cache(256)(_read)  # most servers send the same few


def keeps_alive(minor: int, options: set[str]) -> bool:
    """Whether the server keeps the connection open (RFC 9112 section 9.3)."""
    return "close" not in options and (minor >= 1 or "keep-alive" in options)


def _read_length(values: list[str]) -> int:
    """Return the length that all values agree on (RFC 9112 section 6.3, rule 5)."""
    lengths = {_read_digits(element.strip(" \t")) for value in values for element in value.split(",")}
    if len(lengths) > 1:
        raise RefusedError("Content-Length fields that contradict each other")
    return lengths.pop()


def _read_digits(text: str) -> int:
    digits = text.lstrip("0")
    if not (text.isascii() and text.isdigit()) or len(digits) > _MAX_DIGITS:
        raise RefusedError("a Content-Length that is not a number of bytes")
    return int(digits or "0")


def _read_codings(codings: list[str], minor: int, length: int | None) -> bool:
    """Whether the content is chunked.

    Nothing but ``chunked`` is accepted, because the client sends no TE field that asks for other codings (RFC 9112
    section 7.4), and their bytes would pass for the content. ``identity`` is what RFC 2616 called no coding at all.
    """
    if minor == 0:
        raise RefusedError("Transfer-Encoding in HTTP/1.0")  # faulty framing, says RFC 9112 section 6.1
    if length is not None:
        raise RefusedError("both Transfer-Encoding and Content-Length")  # RFC 9112 section 6.3, rule 3
    if codings not in (["chunked"], ["identity"]):
        raise RefusedError("a Transfer-Encoding other than chunked")
    return codings == ["chunked"]


def _elements(value: str) -> list[str]:
    """Return the elements of a list. Empty ones do not count (RFC 9110 section 5.6.1.2)."""
    return [element for part in value.lower().split(",") if (element := part.strip(" \t"))]
