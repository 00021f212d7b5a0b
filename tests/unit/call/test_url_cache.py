"""The URLs of paths are remembered within bounds, and evicted one by one."""

from yarl import URL

from resilient_client._call import url_cache
from resilient_client._call.url_cache import URLCache

ANY = URL("https://h.example/")


def test_oldest_entry_is_evicted_alone(monkeypatch):
    """One path above the bound costs one entry, not all of them."""
    monkeypatch.setattr(url_cache, "MAX_ENTRIES", 3)
    urls = URLCache()
    for path in ("/a", "/b", "/c", "/d", "/d"):
        urls.put(path, ANY)
    assert list(urls) == ["/b", "/c", "/d"]


def test_memory_is_bounded_for_long_paths():
    """Paths of 64 KiB, as signed queries may have, fill the cache by their bytes."""
    urls = URLCache()
    for number in range(100):
        urls.put(f"/{number}?{'x' * 65536}", ANY)
    assert len(urls) == 31
    assert f"/99?{'x' * 65536}" in urls


def test_path_above_the_bound_is_not_kept(monkeypatch):
    """A single path that exceeds the bound leaves the cache empty, and consistent."""
    monkeypatch.setattr(url_cache, "MAX_BYTES", 5000)
    urls = URLCache()
    urls.put("/" + "x" * 5000, ANY)
    urls.put("/a", ANY)
    assert list(urls) == ["/a"]
