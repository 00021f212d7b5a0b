"""Whether what a caller passed has the shape it should have: the first question, before any of its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from resilient_client._core.errors import ConfigurationError, InvalidRequestError
from resilient_client._settings.fallback import Fallback

Wrong = type[ConfigurationError] | type[InvalidRequestError]


def check_pairs(what: str, given: object, wrong: Wrong = InvalidRequestError) -> Iterable[tuple[str, object]]:
    """The pairs of a mapping, or of a sequence of pairs.

    Raises:
        InvalidRequestError: Or ``wrong``: it is neither; names ``what`` it is.
    """
    if isinstance(given, Mapping):
        return given.items()
    if isinstance(given, (list, tuple)) and all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in given):
        return given
    raise wrong(f"{what} is {_kind(given)}; give a mapping such as {{'name': 'value'}}, or pairs of name and value")


def check_mapping(what: str, given: object) -> Mapping[str, object]:
    """A mapping.

    Raises:
        InvalidRequestError: It is none.
    """
    if isinstance(given, Mapping):
        return given
    raise InvalidRequestError(f"{what} is {_kind(given)}; give a mapping such as {{'name': 'value'}}")


def check_flag(what: str, given: object, wrong: Wrong = InvalidRequestError) -> bool:
    """True or false, nothing that merely looks like it: a wrong one here repeats or hides what it should not.

    Raises:
        InvalidRequestError: Or ``wrong``: it is no boolean.
    """
    if isinstance(given, bool):
        return given
    raise wrong(f"{what} is {given!r:.80}; give True or False, or leave it out")


def check_fallback(given: object) -> Fallback:
    """A fallback: a bare value would leave it open whether it is one.

    Raises:
        InvalidRequestError: It is none.
    """
    if isinstance(given, Fallback):
        return given
    raise InvalidRequestError(f"fallback is {_kind(given)}; give Fallback(...), or None for none")


def _kind(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
