"""The headers that the transport adds to every request."""

from __future__ import annotations

from functools import cache, lru_cache

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDict

from resilient_client._transport.decoding import accept_encoding
from resilient_client._version import __version__

NOT_DEFAULTED = (hdrs.CONTENT_TYPE,)
"""What aiohttp would declare for a POST, PUT or PATCH without a body; one of ours says what it is."""


@cache
def _own_defaults() -> dict[str, str]:
    return {hdrs.ACCEPT_ENCODING: accept_encoding(), hdrs.USER_AGENT: f"resilient-client/{__version__}"}


@lru_cache(maxsize=256)
def default_headers(host: str) -> CIMultiDict[str]:
    """What every request to this host carries; not to be changed.

    Args:
        host: With the port where it is not the usual one, as in a ``Host`` header.
    """
    return CIMultiDict({hdrs.HOST: host} | aiohttp.ClientRequest.DEFAULT_HEADERS | _own_defaults())


def with_default_headers(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """The headers of a request for a session that does not add ours by itself."""
    merged = CIMultiDict(_own_defaults())
    merged.update(headers)
    return merged
