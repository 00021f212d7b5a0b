"""Every kind of wrong value, for the walk over all public parameters (``test_arguments``).

Each is made anew for each use: generators, coroutines and files can be used only once.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID


class WithoutText:
    """Raises where it is shown, as an object-relational model may outside of its session."""

    def __str__(self) -> str:
        raise LookupError("detached")

    __repr__ = __str__


class WithoutEquality:
    """Raises where it is compared."""

    def __eq__(self, other: object) -> bool:
        raise LookupError("detached")

    def __hash__(self) -> int:
        return 1


class WithoutHash:
    """Raises something else than ``TypeError`` where it is hashed."""

    def __hash__(self) -> int:
        raise LookupError("detached")


class WithoutAttributes:
    """Raises something else than ``AttributeError`` for an attribute."""

    def __getattr__(self, name: str) -> Any:
        raise LookupError(name)


class WithoutLength(list[object]):
    """A list that cannot be counted."""

    def __len__(self) -> int:
        raise LookupError("detached")


class BrokenMapping(Mapping[str, str]):
    """A mapping whose methods raise."""

    def __getitem__(self, name: str) -> str:
        raise LookupError(name)

    def __iter__(self) -> Iterator[str]:
        raise LookupError("detached")

    def __len__(self) -> int:
        return 1


class Scalar:
    """Behaves like a number of numpy."""

    def __float__(self) -> float:
        return 1.0

    def __index__(self) -> int:
        return 1


class Array:
    """Behaves like an array of numpy: neither true nor false, and compared item by item."""

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    def __eq__(self, other: object) -> Any:
        return self

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[int]:
        return iter((1, 2))


class Level(IntEnum):
    """A number with a name."""

    HIGH = 1


class Colour(Enum):
    """Not a number, and not a text."""

    RED = object()


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


async def async_function(*_: object) -> int:
    return 1


def closed_file() -> io.BytesIO:
    file = io.BytesIO(b"content")
    file.close()
    return file


def inside_itself() -> list[object]:
    items: list[object] = []
    items.append(items)
    return items


def keyed_by_itself() -> dict[str, object]:
    items: dict[str, object] = {}
    items["self"] = items
    return items


def deep() -> list[object]:
    items: list[object] = []
    for _ in range(10_000):
        items = [items]
    return items


WRONG: dict[str, Callable[[], Any]] = {
    "object": object,
    "namespace": SimpleNamespace,
    "none": lambda: None,
    "true": lambda: True,
    "zero": lambda: 0,
    "negative": lambda: -1,
    "fraction of one": lambda: 0.5,
    "nan": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "no float": lambda: 10**400,
    "no text": lambda: 10**5000,
    "beyond C": lambda: -(2**64),
    "complex": lambda: 1j,
    "decimal": lambda: Decimal("sNaN"),
    "fraction": lambda: Fraction(1, 3),
    "scalar": Scalar,
    "array": Array,
    "int enum": lambda: Level.HIGH,
    "text": lambda: "nonsense",
    "empty text": str,
    "space": lambda: " ",
    "line break": lambda: "a\r\nb",
    "NUL": lambda: "a\0b",
    "surrogate": lambda: "a\ud800b",
    "long text": lambda: "x" * 100_000,
    "placeholder": lambda: "/{a}/{",
    "punycode": lambda: "https://xn--/",
    "port": lambda: "https://a.example:99999/",
    "address": lambda: "https://[::1",
    "long label": lambda: f"https://{'a' * 70}.example/",
    "foreign digit": lambda: "\u0661s",
    "many digits": lambda: "9" * 400,
    "bytes": lambda: b"bytes",
    "bytearray": lambda: bytearray(b"bytes"),
    "memory": lambda: memoryview(b"bytes"),
    "list": lambda: [1, object()],
    "empty list": list,
    "pairs of objects": lambda: [("a", object())],
    "triples": lambda: [("a", "b", "c")],
    "pair of numbers": lambda: (3, 5),
    "unhashable tuple": lambda: ([],),
    "inside itself": inside_itself,
    "deep": deep,
    "without length": WithoutLength,
    "set": lambda: {"a"},
    "range": lambda: range(3),
    "counter": lambda: Counter("ab"),
    "mapping": lambda: {"a": object()},
    "keyed by number": lambda: {1: "a"},
    "keyed by bytes": lambda: {b"a": b"b"},
    "keyed by None": lambda: {None: None},
    "keyed by a tuple": lambda: {("a", 1): "b"},
    "keyed by itself": keyed_by_itself,
    "nested": lambda: {"a": {"b": [[]]}},
    "number without text in mapping": lambda: {"a": 10**5000},
    "surrogates in mapping": lambda: {"\ud800": "\ud800"},
    "object without text in mapping": lambda: {WithoutText(): WithoutText()},
    "broken mapping": BrokenMapping,
    "generator": generator,
    "async generator": async_generator,
    "coroutine": async_function,
    "function": lambda: print,
    "lambda": lambda: lambda: None,
    "async function": lambda: async_function,
    "partial": lambda: partial(print),
    "class": lambda: int,
    "own class": lambda: WithoutText,
    "enum class": lambda: Colour,
    "generic class": lambda: list[int],
    "enum": lambda: Colour.RED,
    "exception": lambda: ValueError("x"),
    "module": lambda: io,
    "date": lambda: datetime.now(UTC),
    "negative timedelta": lambda: timedelta(seconds=-1),
    "uuid": lambda: UUID(int=1),
    "path": lambda: Path("/no/such/file"),
    "text file": io.StringIO,
    "closed file": closed_file,
    "without text": WithoutText,
    "without equality": WithoutEquality,
    "without hash": WithoutHash,
    "without attributes": WithoutAttributes,
    "ellipsis": lambda: ...,
}
