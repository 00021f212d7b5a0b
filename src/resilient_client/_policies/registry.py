"""One value per key, made on first use and bounded in number: circuits, permits, buckets, latencies.

The registry decides only which values are kept. It knows nothing of its keys but that they are hashable, and nothing
of its values but whether they may be evicted. Middlewares ask it for the value of an endpoint, an upstream or a route.
Users read it as a mapping (``api.circuits``, ``api.bulkheads``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Final, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

LIMIT: Final = 10_000
"""The number of values a registry keeps by default."""

_CANDIDATES: Final = 100
"""Values examined for eviction when one is added. The bound keeps the cost of adding constant."""


class BoundedMapping(Mapping[K, V]):
    """A mapping that keeps at most ``limit`` values and evicts the least recently used one that may go.

    If no value may be evicted, the mapping grows beyond ``limit``. It shrinks again when values become evictable and
    further ones are added. Reading it, with ``[key]`` or an iteration, does not count as a use.

    Args:
        limit: The number of values kept.
        evictable: Returns whether a value may be evicted, which loses what it has learnt. ``None``: every value may.
        on_evict: Called with each evicted value.
        expendable: Returns whether a value may be evicted if none of those examined is ``evictable``. ``None``: no
            value may, so the mapping grows.
    """

    __slots__ = ("_evictable", "_expendable", "_items", "_latest", "_latest_key", "_limit", "_on_evict")

    def __init__(
        self,
        limit: int = LIMIT,
        evictable: Callable[[V], bool] | None = None,
        on_evict: Callable[[V], None] | None = None,
        expendable: Callable[[V], bool] | None = None,
    ) -> None:
        self._limit = limit
        self._evictable = evictable
        self._on_evict = on_evict
        self._expendable = expendable
        self._items: OrderedDict[K, V] = OrderedDict()  # the least recently used first
        # Most clients call one endpoint, whose key is one and the same object. Comparing it by identity saves hashing
        # the key and reordering the items. Only adding a value evicts, and the added one becomes the latest, so the
        # shortcut never returns an evicted value.
        self._latest_key: K | None = None
        self._latest: V | None = None

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(tuple(self._items))  # a copy, because calls made during the iteration reorder the items

    def __len__(self) -> int:
        return len(self._items)

    def _add(self, key: K, item: V) -> V:
        self._make_room()
        self._items[key] = item
        return self._touch(key, item)

    def _touch(self, key: K, item: V) -> V:
        self._items.move_to_end(key)
        self._latest_key, self._latest = key, item
        return item

    def _make_room(self) -> None:
        self._evict(self._evictable)
        if self._expendable is not None:
            self._evict(self._expendable)

    def _evict(self, may_go: Callable[[V], bool] | None) -> None:
        for _ in range(_CANDIDATES):
            if len(self._items) < self._limit:
                return
            key, item = self._items.popitem(last=False)
            if may_go is not None and not may_go(item):
                self._items[key] = item  # at the end, so that the next addition does not examine it first again
            elif self._on_evict is not None:
                self._on_evict(item)


class Registry(BoundedMapping[K, V]):
    """A bounded mapping that makes its values itself.

    Args:
        make: Makes the value of a key that has none.
        evictable: As for ``BoundedMapping``.
        on_evict: As for ``BoundedMapping``.
        limit: The number of values kept.
        expendable: As for ``BoundedMapping``.
    """

    __slots__ = ("_make",)

    def __init__(
        self,
        make: Callable[[K], V],
        evictable: Callable[[V], bool] | None = None,
        on_evict: Callable[[V], None] | None = None,
        limit: int = LIMIT,
        expendable: Callable[[V], bool] | None = None,
    ) -> None:
        super().__init__(limit, evictable, on_evict, expendable)
        self._make = make

    def use(self, key: K) -> V:
        """Return the value of this key, made if there is none. It counts as a use, unlike ``registry[key]``."""
        if key is self._latest_key and self._latest is not None:
            return self._latest
        item = self._items.get(key)
        return self._add(key, self._make(key)) if item is None else self._touch(key, item)
