"""Mutated replies are read as aiohttp and h11 read them, unless a section of the RFC explains the difference."""

from __future__ import annotations

import pytest
from tests.unit.transport.http1.differential import Reading, compare, difference, ours


@pytest.mark.parametrize("count", [500, pytest.param(15_000, marks=pytest.mark.slow)])
def test_differences_are_explained(count: int) -> None:
    """What is accepted here and refused there is read there after a repair of what a section allows."""
    counts, unexplained = compare(seed=1, count=count)
    assert unexplained == []
    for other in ("aiohttp", "h11"):
        assert counts[f"{other}: no difference"] > 0.9 * count


def test_unexplained_difference_is_seen() -> None:
    """Negative control: a parser that loses the last byte, and one that refuses everything."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    assert difference(reply, "GET", ours) == ""
    assert difference(reply, "GET", lambda reply, method: ours(reply, method)._replace(body=b"h")) == "?"
    assert difference(reply, "GET", lambda _reply, _method: Reading(refused="all")) == "?"
