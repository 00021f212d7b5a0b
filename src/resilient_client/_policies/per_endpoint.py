"""One of something for each endpoint: made when first asked for, bounded in number.

It decides only which are kept, and knows nothing of its keys but that they are hashable. Middlewares ask it for that
of an endpoint; people read it as a mapping (``api.bulkheads``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Final, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_LOOKS: Final = 100  # examined for room when one is made, so that making one costs the same always


class PerEndpoint(Mapping[K, V]):
    """A mapping of endpoints to what is kept for them, which people may read and the chain extends.

    Above ``limit`` the least recently used that is idle is dropped. If there is none the number grows beyond
    ``limit``, and shrinks again as they fall idle.

    Args:
        make: Makes one for an endpoint that has none.
        idle: Whether one may be dropped, and what it has learnt with it: nobody uses it now.
        limit: The number kept.
    """

    __slots__ = ("_idle", "_items", "_latest", "_latest_key", "_limit", "_make")

    def __init__(self, make: Callable[[], V], idle: Callable[[V], bool], limit: int = 10_000) -> None:
        self._make = make
        self._idle = idle
        self._limit = limit
        self._items: OrderedDict[K, V] = OrderedDict()  # the least recently used first
        self._latest_key: K | None = None
        self._latest: V | None = None

    def for_endpoint(self, key: K) -> V:
        """That of this endpoint, made if there is none; counts as a use, unlike ``[key]``."""
        if key is self._latest_key and self._latest is not None:
            return self._latest  # the same endpoint again, the usual case: no hashing, no reordering
        item = self._items.get(key)
        if item is None:
            self._make_room()
            item = self._items[key] = self._make()
        else:
            self._items.move_to_end(key)
        self._latest_key, self._latest = key, item
        return item

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(tuple(self._items))  # a copy: calls made while iterating reorder the original

    def __len__(self) -> int:
        return len(self._items)

    def _make_room(self) -> None:
        for _ in range(_LOOKS):
            if len(self._items) < self._limit:
                return
            key, item = self._items.popitem(last=False)
            if not self._idle(item):
                self._items[key] = item
