"""What may be shown of headers and URLs in errors, logs, spans and reprs.

This module decides what a reader may see, and never changes what is sent. Only what is known to be harmless is shown:
a header that is not on the list stays hidden (as in azure-core), and a URL that cannot be parsed is not shown at all.
The path of a URL *is* shown, so it must not hold secrets.

The result fits into one log line. Control characters, line breaks and invisible marks (text direction) are replaced,
and long text is cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from yarl import URL

from resilient_client._core.validation import hide_userinfo

REDACTED: Final = "***"
"""What stands in place of a hidden value."""
UNREADABLE_URL: Final = "<unreadable URL>"
"""What stands in place of a URL that cannot be parsed."""
MAX_LENGTH: Final = 256
"""Characters shown of one text."""
HARMLESS_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "age",
        "allow",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "etag",
        "expires",
        "host",
        "keep-alive",
        "last-modified",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "retry-after-ms",
        "server",
        "traceparent",
        "transfer-encoding",
        "user-agent",
        "vary",
        "via",
        "x-correlation-id",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-request-id",
    }
)
"""Names, in lower case, of the headers whose values are shown."""


def redact_text(text: str, longest: int = MAX_LENGTH) -> str:
    """``text`` in one line of at most ``longest`` characters (and an ellipsis), unprintable ones replaced."""
    kept = text[:longest]
    if not kept.isprintable():
        kept = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in kept)
    return kept if len(text) <= longest else f"{kept}…"


def redact_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """All names, but only the values of the headers in ``HARMLESS_HEADERS``."""
    return {
        redact_text(name): redact_text(value) if name.lower() in HARMLESS_HEADERS else REDACTED
        for name, value in headers.items()
    }


def redact_url(url: str | URL) -> str:
    """``url`` without userinfo, fragment and the values of its query: ``https://host/path?key=***``."""
    return _redacted(url, with_keys=True)


def without_query(url: str | URL) -> str:
    """``url`` without userinfo, fragment and query, for error messages: ``https://host:8443/path``."""
    return _redacted(url, with_keys=False)


def _redacted(url: str | URL, *, with_keys: bool) -> str:
    try:
        parts = URL(url)
        host, tail, query = parts.host_port_subcomponent, parts.raw_path, parts.raw_query_string
    except (ValueError, IndexError):  # a bad port, bracket or host name; IndexError: yarl on an empty host
        return UNREADABLE_URL
    if host is None and parts.scheme:  # `user:password@host` parses as the scheme `user`
        return UNREADABLE_URL
    origin = "" if host is None else f"{parts.scheme}://{host}".removeprefix(":")
    if with_keys and query:
        tail += "?" + "&".join(_key_only(pair) for pair in query.split("&"))
    return redact_text(origin + hide_userinfo(tail))  # of a mistyped scheme, or of a URL within this URL


def _key_only(pair: str) -> str:
    """``key=***``, or ``***`` for a piece without ``=``, because that may itself be a value."""
    key, equals, _ = pair.partition("=")
    return f"{key}={REDACTED}" if equals else REDACTED
