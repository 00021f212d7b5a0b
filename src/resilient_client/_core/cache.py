"""A cache for what is expensive to compute and may be computed again: bounded, and without a cliff at its bound."""

from __future__ import annotations

from typing import Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

MAX_ENTRIES: Final = 16_384
MAX_BYTES: Final = 20 * 1024 * 1024
_STEP: Final = 0.6180339887498949  # the golden ratio: its multiples, modulo 1, are spread evenly


class BoundedCache(dict[K, V]):
    """A dict that keeps a limited number of entries, and a limited number of bytes.

    Look entries up with ``get``, which costs no function of Python, and add them with ``put``. Above a bound, entries
    are evicted one by one, each from another place. If the oldest or the least recently used were evicted, one key more
    than fit would cost every lookup its entry when keys are used in turn, as by a worker that goes through its hosts.
    Here it costs a few lookups per round. A key that is used all the time is evicted as often as any other.

    Args:
        max_entries: The number of entries kept.
        max_bytes: The bytes kept, by the sizes that ``put`` is given. An entry above an eighth of it is not kept: it
            must not evict all others.
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_entries", "_order", "_position")

    def __init__(self, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        super().__init__()
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._order: list[tuple[K, int]] = []  # the keys with their sizes, in no particular order
        self._position = 0.0  # of the latest eviction, from 0 to 1

    def put(self, key: K, value: V, size: int = 0) -> None:
        """Add an entry, or replace the value of one. An entry that is too large is not kept.

        Args:
            key: The key.
            value: The value.
            size: The bytes that the entry takes, about. 0: a small one, bounded by the number of entries.
        """
        if key in self:
            self[key] = value  # its size stays that of the first
            return
        if size > self._max_bytes // 8:
            return
        order = self._order
        while len(order) >= self._max_entries or self._bytes + size > self._max_bytes:
            self._evict()
        self[key] = value
        order.append((key, size))
        self._bytes += size

    def _evict(self) -> None:
        order = self._order
        self._position = (self._position + _STEP) % 1.0
        place = int(self._position * len(order))
        order[place], order[-1] = order[-1], order[place]  # the last place is the only one that is left at no cost
        key, size = order.pop()
        del self[key]
        self._bytes -= size
