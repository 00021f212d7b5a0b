"""Numbers that a caller gives, checked when they are given."""

from __future__ import annotations

import math

from resilient_client._core.errors import ConfigurationError


def above_zero(what: str, value: object, unit: str = "seconds") -> float:
    """A number above zero.

    Raises:
        ConfigurationError: It is none.
    """
    if (number := _finite(value)) is not None and number > 0:
        return number
    raise ConfigurationError(f"{what} is {value!r:.80}; give a number of {unit} above 0")


def zero_or_more(what: str, value: object, unit: str = "seconds") -> float:
    """A number that is not negative.

    Raises:
        ConfigurationError: It is none.
    """
    if (number := _finite(value)) is not None and number >= 0:
        return number
    raise ConfigurationError(f"{what} is {value!r:.80}; give a number of {unit}, 0 or more")


def one_or_more(what: str, value: object) -> int:
    """A whole number above zero.

    Raises:
        ConfigurationError: It is none.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ConfigurationError(f"{what} is {value!r:.80}; give a whole number, 1 or more")


def _finite(value: object) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # an int may have any number of digits
        return None
    return number if math.isfinite(number) else None
