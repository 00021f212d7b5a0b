"""Argument checks: the one place that decides whether a value has the right shape and range.

Every check returns the value in the form the library works with, or raises one sentence: what is wrong, which value it
is, what is allowed. The error is a ``ConfigurationError`` for what is set on a client and an ``InvalidRequestError``
for what is passed to a call. Nothing has been sent when it is raised.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from resilient_client._core.errors import ConfigurationError, InvalidRequestError, ResilientClientError

T = TypeVar("T")

ErrorType: TypeAlias = type[ConfigurationError] | type[InvalidRequestError]

TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A token (RFC 9110 section 5.6.2), such as a method or a header name. Use it with ``fullmatch``."""

DURATION_EXAMPLES: Final = "seconds such as 2.5, text such as '500ms', or a timedelta"

_UNITS: Final = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h)?\s*", re.ASCII)


def parse_duration(value: object) -> float | None:
    """Convert ``2``, ``2.0``, ``"2"``, ``"2s"``, ``"500ms"`` or a ``timedelta`` to seconds.

    Returns:
        Seconds, possibly negative or infinite, or ``None`` if the value is not a duration. ``True`` and NaN are not.
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
    """Return the duration in seconds.

    Args:
        name: What the error message calls the argument.
        value: See ``parse_duration``.
        error: The class to raise.
        zero: Whether 0 is allowed.
        negative: Whether any sign is allowed. Implies ``zero``.
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
    """Return a whole number of at least ``minimum``. ``True`` is not one.

    Raises:
        ConfigurationError: Or ``error``: the value is not a whole number, or too small.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= minimum:
        return value
    raise error(f"{name} is {shorten(value)}, but must be a whole number, {minimum} or more")


def check_flag(name: str, value: object, error: ErrorType = InvalidRequestError) -> bool:
    """Return ``True`` or ``False``. Truthy values are refused: a wrong flag may repeat a request or hide an error.

    Raises:
        InvalidRequestError: Or ``error``: the value is not a boolean.
    """
    if isinstance(value, bool):
        return value
    raise error(f"{name} is {shorten(value)}; give True or False, or leave it out")


def check_mapping(name: str, value: object, error: ErrorType = InvalidRequestError) -> Mapping[str, object]:
    """Return the value if it is a mapping.

    Raises:
        InvalidRequestError: Or ``error``: the value is not a mapping.
    """
    if type(value) is dict:
        return value
    if isinstance(value, Mapping):
        return read_argument(name, lambda: dict(value), error)  # a copy: its own methods may raise anything
    raise error(f"{name} is {kind_of(value)}; give a mapping such as {{'name': 'value'}}")


def check_pairs(name: str, value: object, error: ErrorType = InvalidRequestError) -> Iterable[tuple[str, object]]:
    """Return the pairs of a mapping, or of a sequence of pairs.

    Raises:
        InvalidRequestError: Or ``error``: the value is neither.
    """
    if type(value) is dict:
        return value.items()
    if (pairs := read_argument(name, lambda: _pairs_of(value), error)) is not None:
        return pairs
    raise error(f"{name} is {kind_of(value)}; give a mapping such as {{'name': 'value'}}, or pairs of name and value")


def _pairs_of(value: object) -> Iterable[tuple[str, object]] | None:
    if isinstance(value, Mapping):
        return list(value.items())
    return value if isinstance(value, (list, tuple)) and all(map(_is_pair, value)) else None


def _is_pair(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2


def has_methods(value: object, *names: str) -> bool:
    """Whether an object, not a class, has these methods."""
    try:
        return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in names)
    except Exception:  # a __getattr__ that raises anything else than AttributeError
        return False


def accepts(function: Callable[..., object], count: int) -> bool:
    """Whether a function can be called with ``count`` arguments by position."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except Exception:  # a builtin without a signature, or an object with a broken one: its call will tell
        return True
    return True


def is_async(function: object) -> bool:
    """Whether a function, or an object with ``__call__``, is declared with ``async def``."""
    called = getattr(type(function), "__call__", None)  # noqa: B004 - the method itself, to see how it is declared
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def discard(value: object) -> None:
    """Close a refused coroutine. Otherwise Python would warn that it was never awaited."""
    if inspect.iscoroutine(value):
        value.close()


def read_argument(name: str, read: Callable[[], T], error: ErrorType = InvalidRequestError) -> T:
    """Return ``read()``, which reads an argument whose own methods may raise anything.

    Raises:
        InvalidRequestError: Or ``error``: reading raised an exception that is not of this library.
    """
    try:
        return read()
    except ResilientClientError:
        raise
    except Exception as failure:
        text = unreadable(name, failure)
    raise error(text)  # outside: __context__ would keep the exception, which may hold a secret


def unreadable(name: str, failure: Exception) -> str:
    """Describe an exception that an argument raised while it was read, without its text, which may hold a secret."""
    trace = failure.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    return (
        f"{name} raised {type(failure).__name__}{where} while it was read; "
        "give plain text, numbers, lists and dicts, or an object whose methods work"
    )


def kind_of(value: object) -> str:
    """Describe a value by its type, for error messages: its content may be secret or long."""
    if value is None:
        return "None"
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"


def hide_userinfo(text: str) -> str:
    """Return a path or URL without the user names and passwords in it, also of a URL with a mistyped scheme.

    Each segment that holds an ``@`` loses what is in front of it: it may be an authority.
    """
    if "@" not in text:
        return text
    return "/".join(_after_userinfo(segment) for segment in text.split("/"))


def _after_userinfo(segment: str) -> str:
    userinfo, _, rest = segment.rpartition("@")
    return f"***@{rest}" if userinfo else segment


def shorten(value: object) -> str:
    """Return the ``repr`` of a value that is not secret, in one line of at most 80 characters."""
    try:
        text = repr(value)
    except Exception as error:  # a class with a broken __repr__, an int with too many digits, a list too deep
        text = f"a {type(value).__name__} without a repr ({type(error).__name__})"
    text = text if len(text) <= 80 else f"{text[:77]}..."
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def suggest(word: str, known: Iterable[str]) -> str:
    """Return a hint for a misspelt name: the closest known name if there is one, else all of them."""
    import difflib  # imported here: only an error needs it

    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"allowed are: {', '.join(names)}"
