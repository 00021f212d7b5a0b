"""The cache is bounded by entries and bytes, and one key more than fit does not cost the others their entries."""

from __future__ import annotations

import pytest

from resilient_client._core.cache import BoundedCache


def hits_of_a_round(cache: BoundedCache[int, int], keys: int) -> int:
    """Use each key once, in order, and return how many were found."""
    hits = 0
    for key in range(keys):
        if cache.get(key) is None:
            cache.put(key, key)
        else:
            hits += 1
    return hits


@pytest.mark.parametrize(("keys", "expected"), [(1_000, 1_000), (1_001, 990), (1_010, 950), (1_100, 700)])
def test_one_key_too_many_costs_few_entries(keys: int, expected: int) -> None:
    """Keys that are used in turn, as by a worker that goes through its hosts: the oldest is the next to be needed."""
    cache: BoundedCache[int, int] = BoundedCache(max_entries=1_000)
    for _ in range(5):
        hits = hits_of_a_round(cache, keys)
    assert hits >= expected
    assert len(cache) == 1_000


def test_evicting_the_oldest_would_cost_all_entries() -> None:
    """The negative control: a dict that evicts in the order of insertion finds nothing."""
    cache: dict[int, int] = {}
    hits = 0
    for _ in range(5):
        for key in range(1_001):
            hits += key in cache
            cache.setdefault(key, key)
            if len(cache) > 1_000:
                del cache[next(iter(cache))]
    assert hits == 0


def test_values_are_kept_with_their_keys() -> None:
    """However many entries come and go, each key has its own value, and an entry may be replaced."""
    cache: BoundedCache[int, int] = BoundedCache(max_entries=7)
    for number in range(500):
        cache.put(number, -number)
        assert cache.get(number) == -number
        assert all(value == -key for key, value in cache.items())
    cache.put(499, 1)
    assert (cache[499], len(cache)) == (1, 7)


def test_bytes_are_bounded() -> None:
    """As many entries are evicted as the new one needs. One above an eighth of the bound is not kept."""
    cache: BoundedCache[int, int] = BoundedCache(max_bytes=1_000)
    for number in range(100):
        cache.put(number, number, size=100)
    assert len(cache) == 10
    cache.put(100, 100, size=126)
    assert 100 not in cache
    cache.put(101, 101, size=125)
    assert len(cache) == 9
    assert 101 in cache
