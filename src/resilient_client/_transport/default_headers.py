"""The headers that the transport adds to every request."""

from __future__ import annotations

from functools import cache

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDict

from resilient_client._core.cache import BoundedCache
from resilient_client._transport.decoding import accept_encoding
from resilient_client._version import __version__

NOT_DEFAULTED = (hdrs.CONTENT_TYPE,)
"""What aiohttp would add to a POST, PUT or PATCH without a body. A body sets its own."""


@cache
def _own_defaults() -> dict[str, str]:
    return {hdrs.ACCEPT_ENCODING: accept_encoding(), hdrs.USER_AGENT: f"resilient-client/{__version__}"}


_by_host: BoundedCache[str, CIMultiDict[str]] = BoundedCache(max_entries=4096)


def default_headers(host: str) -> CIMultiDict[str]:
    """The headers of every request to this host; must not be changed.

    Args:
        host: As in a ``Host`` header: with the port, unless it is the default of the scheme.
    """
    headers = _by_host.get(host)
    if headers is None:
        headers = CIMultiDict({hdrs.HOST: host} | aiohttp.ClientRequest.DEFAULT_HEADERS | _own_defaults())
        _by_host.put(host, headers)
    return headers


def with_default_headers(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """The headers of a request for a session that does not add ours by itself."""
    merged = CIMultiDict(_own_defaults())
    merged.update(headers)
    return merged


def in_one_spelling(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """The same lines, with each name spelled as in its first line.

    A session compares names with their case, so of ``X-A`` and ``x-a`` it would keep only the last. The headers of a
    call are in one spelling already, but a middleware may add others.
    """
    names = [name for name, _ in headers.items()]  # not keys(), which leaves out the second spelling
    spellings: dict[str, str] = {}
    for name in names:
        spellings.setdefault(name.lower(), name)
    if len(spellings) == len(set(names)):
        return headers
    return CIMultiDict((spellings[name.lower()], value) for name, value in headers.items())
