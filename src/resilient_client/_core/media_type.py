"""Reads a ``Content-Type`` (RFC 9110 section 8.3.1)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_ESSENCE: Final = re.compile(rf"\s*({_WORD}/{_WORD})\s*")
_PART: Final = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*"?)*')  # up to a semicolon outside of quotes
_CHARSET: Final = re.compile(rf"\s*charset\s*=\s*(?:({_WORD})|\"((?:[^\"\\]|\\.)*)\")\s*", re.IGNORECASE)


class MediaType(NamedTuple):
    """A media type.

    Attributes:
        essence: Type and subtype in lower case, such as ``application/json``, or ``""`` for what is no media type.
        charset: The value of the parameter ``charset``, in lower case, or ``None``.
    """

    essence: str
    charset: str | None

    @property
    def is_problem(self) -> bool:
        """Whether it announces problem details in JSON (RFC 9457)."""
        return self.essence == "application/problem+json"


def parse_media_type(text: str) -> MediaType:
    """Parse the value of a ``Content-Type`` field.

    Type, names and charset are case-insensitive. The first charset counts.
    """
    essence, *parameters = _parts(text)
    found = _ESSENCE.fullmatch(essence)
    charset = next(filter(None, map(_CHARSET.fullmatch, parameters)), None)
    value = None
    if charset is not None:
        value = charset[1] if charset[1] is not None else re.sub(r"\\(.)", r"\1", charset[2])
    return MediaType("" if found is None else found[1].lower(), None if value is None else value.lower())


def _parts(text: str) -> list[str]:
    """Split at the semicolons outside of quotes. What is malformed between two of them hides nothing behind it."""
    parts, at = [], 0
    while True:
        part = _PART.match(text, at)
        assert part is not None  # noqa: S101 - the pattern also matches nothing
        parts.append(part[0])
        at = part.end() + 1
        if at > len(text):
            return parts
