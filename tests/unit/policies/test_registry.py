"""Registries are bounded: the least recently used value that may go is evicted, one in use never."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_client._policies.registry import Registry


class Value:
    def __init__(self, key):
        self.key = key
        self.idle = True


def make(limit=3, on_evict=None):
    return Registry(Value, lambda value: value.idle, on_evict, limit)


def test_use_twice_returns_the_same_value():
    """A key has one value, and other keys have others."""
    values = make()
    assert values.use("a") is values.use("a") is values["a"]
    assert values.use("b") is not values["a"]


def test_use_makes_the_value_of_its_key():
    """The key is passed to the function that makes the value."""
    assert make().use("a").key == "a"


def test_use_of_an_equal_key_returns_the_same_value():
    """The shortcut compares by identity, but equal keys share a value."""
    values = make()
    key, equal = ((scheme, "host") for scheme in ("https", "https"))
    assert key is not equal
    assert values.use(key) is values.use(equal)


def test_getitem_of_an_unknown_key_raises():
    """Reading makes nothing."""
    values = make()
    with pytest.raises(KeyError):
        values["a"]
    assert len(values) == 0


def test_reading_does_not_count_as_a_use():
    """A value that is only read is evicted as if it had not been."""
    values = make(limit=2)
    values.use("a")
    values.use("b")
    assert values["a"] is values.get("a")
    values.use("c")
    assert list(values) == ["b", "c"]


def test_limit_evicts_the_least_recently_used():
    """The value whose last use is longest ago makes room."""
    values = make()
    for key in ("a", "b", "c", "a", "d"):
        values.use(key)
    assert set(values) == {"c", "a", "d"}


def test_limit_holds_under_many_keys():
    """However many keys are used, the number of values stays at the limit."""
    values = make(limit=50)
    for key in range(5000):
        values.use(key)
    assert list(values) == list(range(4950, 5000))


def test_limit_keeps_a_value_in_use():
    """A value that may not be evicted stays, however long ago its last use was."""
    values = make()
    kept = values.use("kept")
    kept.idle = False
    for key in range(10):
        values.use(key)
    assert values["kept"] is kept
    assert len(values) == 3


def test_limit_is_exceeded_and_restored():
    """The number grows while no value may be evicted, and shrinks afterwards."""
    values = make()
    for key in range(5):
        values.use(key).idle = False
    assert len(values) == 5
    for value in values.values():
        value.idle = True
    values.use("one more")
    assert len(values) == 3


def test_registry_without_predicate_evicts_every_value():
    """Without ``evictable`` the least recently used value always goes."""
    values = Registry(Value, limit=1)
    values.use("a").idle = False
    values.use("b")
    assert list(values) == ["b"]


def test_on_evict_receives_the_evicted_value():
    """Each evicted value is passed to the callback, a kept one is not."""
    evicted = []
    values = make(limit=1, on_evict=evicted.append)
    first = values.use("a")
    second = values.use("b")
    second.idle = False
    values.use("c")
    assert evicted == [first]


def test_iteration_survives_uses():
    """Users may iterate over a registry while calls go on using it."""
    values = make()
    for key in ("a", "b", "c"):
        values.use(key)
    assert [values.use(key) for key in values] == list(values.values())


@given(st.lists(st.integers(0, 6), max_size=60), st.integers(1, 5))
def test_registry_keeps_the_latest_distinct_keys(keys, limit):
    """With evictable values it holds the last ``limit`` distinct keys, in the order of their last use."""
    values = Registry(Value, limit=limit)
    for key in keys:
        assert values.use(key).key == key
    latest = list(dict.fromkeys(reversed(keys)))[:limit]
    assert list(values) == latest[::-1]
