"""What this library needs of multidict; ``make lowest`` runs this with the lowest release that is allowed."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

import pytest
from multidict import CIMultiDict, MultiDict

USES: dict[str, Callable[[str], object]] = {
    "add": lambda name: CIMultiDict({"Accept": "*/*"}).add(name, name),
    "update": lambda name: CIMultiDict({"Accept": "*/*"}).update(CIMultiDict({name: name, "accept": name})),
    "setdefault": lambda name: CIMultiDict({"Accept": "*/*"}).setdefault(name, name),
    "replace": lambda name: CIMultiDict({name: ""}).__setitem__(name, name),
    "remove": lambda name: CIMultiDict({name: name}).__delitem__(name),
    "pop": lambda name: CIMultiDict({name: name}).pop(name),
    "copy": lambda name: CIMultiDict({name: name}).copy().getall(name),
    "iterate": lambda name: list(CIMultiDict({name: name}).items()),
}


@pytest.mark.parametrize("use", USES)
def test_headers_leak_nothing(use: str) -> None:
    """Some releases before 6.6.4 lose memory in one of these, with every call."""

    def repeat(start: int) -> int:
        for number in range(start, start + 2_000):
            USES[use](f"X-Name-{number}")
        gc.collect()
        return sys.getallocatedblocks()

    before = repeat(0)
    assert repeat(10_000) - before < 500


def test_headers_of_a_multidict_ignore_case() -> None:
    """Before 6.3.1 a header that came from a ``MultiDict`` was not found in another spelling, and not replaced."""
    sent = CIMultiDict({"accept": "old"})
    sent.update(MultiDict({"Accept": "new"}))
    assert list(sent.items()) == [("Accept", "new")]
    assert "ACCEPT" in CIMultiDict(MultiDict({"Accept": "new"}))
