"""One for each endpoint, bounded in number: the least recently used idle one goes, one in use never."""

import pytest

from resilient_client._policies.per_endpoint import PerEndpoint


class Thing:
    idle = True


def make(limit=3):
    return PerEndpoint(Thing, lambda thing: thing.idle, limit)


def test_for_endpoint_twice_is_the_same_thing():
    """An endpoint has one, and others have others."""
    things = make()
    assert things.for_endpoint("a") is things.for_endpoint("a") is things["a"]
    assert things.for_endpoint("b") is not things["a"]


def test_getitem_of_an_unknown_key_raises_and_creates_nothing():
    """Looking is not using: only the chain makes them."""
    things = make()
    with pytest.raises(KeyError):
        things["a"]
    assert len(things) == 0


def test_limit_reached_drops_the_least_recently_used():
    """The one whose last use is longest ago makes room."""
    things = make()
    for key in ("a", "b", "c", "a", "d"):
        things.for_endpoint(key)
    assert set(things) == {"c", "a", "d"}


def test_limit_under_many_keys_holds():
    """However many endpoints are called, the number stays at the limit."""
    things = make(limit=50)
    for key in range(5000):
        things.for_endpoint(key)
    assert list(things) == list(range(4950, 5000))


def test_limit_reached_keeps_one_in_use():
    """Permits that are out must come home to where they came from."""
    things = make()
    kept = things.for_endpoint("kept")
    kept.idle = False
    for key in range(10):
        things.for_endpoint(key)
    assert things["kept"] is kept
    assert len(things) == 3


def test_limit_with_all_in_use_gives_way_and_comes_back():
    """The number grows as long as it must."""
    things = make()
    for key in range(5):
        things.for_endpoint(key).idle = False
    assert len(things) == 5
    for thing in things.values():
        thing.idle = True
    things.for_endpoint("one more")
    assert len(things) == 3
