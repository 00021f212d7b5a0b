"""Remembers the URLs of paths that are called again and again."""

from __future__ import annotations

from sys import getsizeof
from typing import Final

from yarl import URL

MAX_ENTRIES: Final = 16_384
MAX_BYTES: Final = 8 * 1024 * 1024
_MAX_BYTES_PER_ENTRY: Final = MAX_BYTES // 8  # one URL must not evict all others; servers refuse such URLs
_COST_PER_ENTRY: Final = 1024  # bytes of a URL and its parts, besides the text
_COPIES: Final = 3  # of the text of a URL: as such, and its path with and without the query


class URLCache(dict[str, URL]):
    """The URLs of the latest paths, bounded by their number and by their estimated memory.

    Above a bound the oldest entries are evicted one by one. Clearing all at once would make one host more than fit cost
    every call its entry. It is a dict, so that the lookup of each call costs no function of Python.
    """

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def put(self, path: str, url: URL) -> None:
        """Remember the URL of a path, unless it is very long."""
        cost = _cost(path, url)
        if path in self or cost > _MAX_BYTES_PER_ENTRY:
            return
        self[path] = url
        self._bytes += cost
        while len(self) > MAX_ENTRIES or self._bytes > MAX_BYTES:
            oldest = next(iter(self))
            self._bytes -= _cost(oldest, self.pop(oldest))


def _cost(path: str, url: URL) -> int:
    # The URL is longer than its path by escapes, and by the base URL and the parameters of the client.
    return _COST_PER_ENTRY + getsizeof(path) + _COPIES * (len(url.raw_path) + len(url.raw_query_string))
