"""Remembers the URLs of paths that are called again and again."""

from __future__ import annotations

from typing import Final

from yarl import URL

MAX_ENTRIES: Final = 16_384
MAX_BYTES: Final = 8 * 1024 * 1024
_COST_PER_ENTRY: Final = 1024  # bytes of a URL and its parts, besides the text
_COPIES: Final = 4  # of the text: the path, the URL, its path with and without the query


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
        """Remember the URL of a path."""
        if path in self:
            return
        self[path] = url
        self._bytes += _cost(path)
        while len(self) > MAX_ENTRIES or self._bytes > MAX_BYTES:
            oldest = next(iter(self))
            del self[oldest]
            self._bytes -= _cost(oldest)


def _cost(path: str) -> int:
    return _COST_PER_ENTRY + _COPIES * len(path)
