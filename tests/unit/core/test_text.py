"""What is sent of a value is the value, not the name of its class."""

from enum import Enum, IntEnum, StrEnum

import pytest

from resilient_client._core.text import plain, scalar_text


class Color(str, Enum):  # noqa: UP042 - unlike that of a StrEnum, its str() is not its value
    RED = "red"


class Shade(StrEnum):
    DARK = "dark"


class Ratio(float, Enum):
    HALF = 0.5


class Level(int, Enum):
    HIGH = 3


class Order(IntEnum):
    FIRST = 1


class Loud(str):
    __slots__ = ()

    def __str__(self):
        return "LOUD"

    __format__ = __repr__ = lambda self, *_: "LOUD"


@pytest.mark.parametrize(("value", "text"), [(Color.RED, "red"), (Shade.DARK, "dark"), (Loud("a"), "a"), ("b", "b")])
def test_plain_text_has_no_subclass(value, text):
    """The characters, as an exact ``str``."""
    assert plain(value) == text
    assert type(plain(value)) is str
    assert scalar_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Ratio.HALF, "0.5"),
        (Level.HIGH, "3"),
        (Order.FIRST, "1"),
        (True, "true"),
        (False, "false"),
        (1.0, "1.0"),
        (7, "7"),
    ],
)
def test_scalar_is_its_value(value, text):
    """Members of an ``Enum`` by their value, booleans in lower case."""
    assert scalar_text(value) == text
