"""The URLs of paths are remembered within bounds, and evicted one by one."""

from itertools import chain
from sys import getsizeof
from typing import Any

import pytest
from yarl import URL

from resilient_client._call.url_cache import URLCache
from resilient_client._core.cache import MAX_BYTES
from resilient_client._policies.http.urls import build_url

BASE = URL("https://h.example/")


def put(urls: URLCache, path: str, **options: Any) -> str:
    urls.add(path, build_url(BASE, path, **options))
    return path


@pytest.mark.parametrize(
    ("text", "options"),
    [("x" * 65536, {}), ("\u20ac" * 16384, {}), ("x", {"params": {"filter": "x" * 32768}})],
    ids=["of a path", "of escapes", "of the parameters of a client"],
)
def test_memory_is_bounded_for_long_urls(text, options):
    """URLs of 64 KiB and more, as signed queries may have, fill the cache by their bytes."""
    urls = URLCache()
    paths = [put(urls, f"/{number}?{text}", **options) for number in range(300)]
    texts = [(path, url.raw_path, url.raw_query_string, url.raw_path_qs) for path, url in urls.items()]
    assert sum(map(getsizeof, chain.from_iterable(texts))) < MAX_BYTES
    assert paths[-1] in urls
    assert len(urls) > 10


def test_path_above_the_bound_evicts_nothing():
    """A single URL of a megabyte is not kept, and costs no other URL its place."""
    urls = URLCache()
    put(urls, "/a")
    put(urls, "/" + "x" * 1_000_000)
    assert list(urls) == ["/a"]
