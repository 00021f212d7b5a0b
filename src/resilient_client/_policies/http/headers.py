"""Which headers a caller may set: all but those that frame the message, and no value that breaks out of its line."""

from __future__ import annotations

import re

from multidict import CIMultiDict

from resilient_client._core.errors import ConfigurationError, InvalidRequestError
from resilient_client._core.text import plain
from resilient_client._core.types import HeadersLike
from resilient_client._core.validation import TOKEN, check_pairs, shorten

_FRAMING = frozenset({"host", "content-length", "transfer-encoding"})
_BROKEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")  # a lone surrogate would be dropped silently


def checked_headers(
    headers: HeadersLike, error: type[ConfigurationError | InvalidRequestError] = InvalidRequestError
) -> CIMultiDict[str]:
    """Check that the headers may be sent, and return them (RFC 9110 section 5.5, RFC 9112 section 6).

    Spellings of one name are the same name (RFC 9110 section 5.1). Values of one name are sent as lines of their own.

    Raises:
        InvalidRequestError: Or ``error``: a name is not a token, a value is not text or could break the line, or the
            client sets the header itself. The message never shows a value.
    """
    checked: CIMultiDict[str] = CIMultiDict()
    spellings: dict[str, str] = {}
    for name, value in check_pairs("headers", headers, error):
        if not isinstance(name, str) or not TOKEN.fullmatch(name):
            raise error(f"header name {shorten(name)} is not an HTTP token; use letters, digits and '-'")
        if name.lower() in _FRAMING:
            raise error(f"header {name!r} frames the message and is set by the client; leave it out")
        if not isinstance(value, str):
            raise error(f"header {name!r} has a {type(value).__name__} value; give text")
        if _BROKEN.search(value):
            raise error(
                f"header {name!r} has a line break, control character or lone surrogate in its value; remove it"
            )
        # In one spelling, because some of what reads these headers later compares names with their case.
        checked.add(spellings.setdefault(name.lower(), plain(name)), plain(value))
    return checked
