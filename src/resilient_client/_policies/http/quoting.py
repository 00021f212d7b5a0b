"""Percent-encoding of what callers and servers write: an escape stays as it is, the rest is escaped where it must be.

A reserved character and its escape are not equivalent (RFC 3986 section 2.2): ``%2F`` is not a slash, and a signature
covers the very bytes. So no escape is ever decoded or rewritten here, not even that of an unreserved character.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import quote

_NOT_IN_PATH: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@/%]+")
_NOT_IN_QUERY: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@/?%]+")
_REFERENCE: Final = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.DOTALL
)


class Reference(NamedTuple):
    """The parts of a URI reference, as written (RFC 3986 appendix B). The fragment is left out: it is never sent.

    Attributes:
        scheme: Without the colon, ``None`` if there is none.
        authority: Without the slashes, ``None`` if there is none.
        path: Possibly empty.
        query: Without the question mark, ``None`` if there is none.
    """

    scheme: str | None
    authority: str | None
    path: str
    query: str | None


def split_reference(text: str) -> Reference:
    """Split a URL or a relative reference into its parts, as written."""
    found = _REFERENCE.fullmatch(text)
    assert found is not None  # noqa: S101 - every part may be empty, so every text matches
    return Reference(found[1], found[2], found[3], found[4])


def quote_path(path: str) -> str:
    """Escape what must be escaped in a path, in UTF-8; escapes stay as they are."""
    return _NOT_IN_PATH.sub(_escape, path)


def quote_query(query: str) -> str:
    """Escape what must be escaped in a query, in UTF-8; escapes stay as they are."""
    return _NOT_IN_QUERY.sub(_escape, query)


def _escape(found: re.Match[str]) -> str:
    # A byte that is not UTF-8 arrives in a header as a lone surrogate, and leaves as the byte that it was.
    return quote(found[0].encode("utf-8", "surrogateescape"), safe="")
