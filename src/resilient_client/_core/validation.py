"""Argument checks: the one place that decides whether a value has the right shape and range.

Every check returns the value in the form the library works with, or raises one sentence: what is wrong, which value it
is, what is allowed. The error is a ``ConfigurationError`` for what is set on a client and an ``InvalidRequestError``
for what is passed to a call. Nothing has been sent when it is raised.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final, TypeAlias

from resilient_client._core.errors import ConfigurationError, InvalidRequestError

ErrorType: TypeAlias = type[ConfigurationError] | type[InvalidRequestError]

TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A token (RFC 9110 section 5.6.2), such as a method or a header name; for ``fullmatch``."""

DURATION_EXAMPLES: Final = "seconds such as 2.5, text such as '500ms', or a timedelta"

_UNITS: Final = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h)?\s*", re.ASCII)


def parse_duration(value: object) -> float | None:
    """The seconds that ``value`` stands for: ``2``, ``2.0``, ``"2"``, ``"2s"``, ``"500ms"`` or a ``timedelta``.

    Returns:
        Seconds, possibly negative or infinite; ``None`` if the value is not a duration. ``True`` and NaN are not.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        try:
            seconds = float(value)
        except OverflowError:  # an int of more than 308 digits
            return None
        return None if math.isnan(seconds) else seconds
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str) and (found := _DURATION.fullmatch(value)):
        return float(found[1]) * _UNITS[found[2]]
    return None


def check_duration(
    name: str,
    value: object,
    error: ErrorType = ConfigurationError,
    *,
    zero: bool = False,
    negative: bool = False,
    infinite: bool = False,
) -> float:
    """A duration in seconds.

    Args:
        name: What the error message calls the argument.
        value: See ``parse_duration``.
        error: The class to raise.
        zero: Whether 0 is allowed.
        negative: Whether any sign is allowed; implies ``zero``.
        infinite: Whether infinity is allowed.

    Raises:
        ConfigurationError: Or ``error``: the value is not a duration, or out of range.
    """
    seconds = parse_duration(value)
    if (
        seconds is None
        or (math.isinf(seconds) and not infinite)
        or not (negative or seconds > 0 or (zero and seconds == 0))
    ):
        range_ = "" if negative else ", 0 or more" if zero else " above 0"
        raise error(f"{name} is {shorten(value)}, but must be a duration{range_}; give {DURATION_EXAMPLES}")
    return seconds


def check_count(name: str, value: object, error: ErrorType = ConfigurationError, *, minimum: int = 1) -> int:
    """A whole number of at least ``minimum``; ``True`` is not one.

    Raises:
        ConfigurationError: Or ``error``: the value is not a whole number, or too small.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= minimum:
        return value
    raise error(f"{name} is {shorten(value)}, but must be a whole number, {minimum} or more")


def check_flag(name: str, value: object, error: ErrorType = InvalidRequestError) -> bool:
    """``True`` or ``False``; truthy values are refused, since a wrong flag repeats or hides what it should not.

    Raises:
        InvalidRequestError: Or ``error``: the value is not a boolean.
    """
    if isinstance(value, bool):
        return value
    raise error(f"{name} is {shorten(value)}; give True or False, or leave it out")


def check_mapping(name: str, value: object, error: ErrorType = InvalidRequestError) -> Mapping[str, object]:
    """A mapping.

    Raises:
        InvalidRequestError: Or ``error``: the value is not a mapping.
    """
    if isinstance(value, Mapping):
        return value
    raise error(f"{name} is {kind_of(value)}; give a mapping such as {{'name': 'value'}}")


def check_pairs(name: str, value: object, error: ErrorType = InvalidRequestError) -> Iterable[tuple[str, object]]:
    """The pairs of a mapping, or of a sequence of pairs.

    Raises:
        InvalidRequestError: Or ``error``: the value is neither.
    """
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, (list, tuple)) and all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in value):
        return value
    raise error(f"{name} is {kind_of(value)}; give a mapping such as {{'name': 'value'}}, or pairs of name and value")


def kind_of(value: object) -> str:
    """How an error message describes a value whose content may be secret or long: by its type."""
    if value is None:
        return "None"
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"


def shorten(value: object) -> str:
    """The ``repr`` of a harmless value, at most 80 characters."""
    try:
        text = repr(value)
    except Exception as error:  # of a foreign class, or an int too long for text
        text = f"a {type(value).__name__} without a repr ({type(error).__name__})"
    return text if len(text) <= 80 else f"{text[:77]}..."


def suggest(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the closest known one if there is one, else all of them."""
    import difflib  # only an error needs it

    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"allowed are: {', '.join(names)}"
