"""Remembers the URLs of paths that are called again and again."""

from __future__ import annotations

from sys import getsizeof
from typing import Final

from yarl import URL

from resilient_client._core.cache import BoundedCache

_SIZE: Final = 1024  # bytes of a URL and its parts, besides the text
_COPIES: Final = 3  # of the text of a URL: as such, and its path with and without the query


class URLCache(BoundedCache[str, URL]):
    """The URLs of paths, bounded by their number and by their estimated memory."""

    __slots__ = ()

    def add(self, path: str, url: URL) -> None:
        """Remember the URL of a path, unless it is very long."""
        # The URL is longer than its path by escapes, and by the base URL and the parameters of the client.
        text = len(url.raw_path) + len(url.raw_query_string)
        self.put(path, url, _SIZE + getsizeof(path) + _COPIES * text)
