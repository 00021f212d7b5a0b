"""Reads a ``Content-Type`` (RFC 9110 section 8.3.1)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_ESSENCE: Final = re.compile(rf"\s*({_WORD}/{_WORD})\s*(?=;|$)")
_PARAMETER: Final = re.compile(rf";\s*(?:({_WORD})\s*=\s*(?:({_WORD})|\"((?:[^\"\\]|\\.)*)\"))?\s*(?=;|$)")


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
    found = _ESSENCE.match(text)
    if found is None:
        return MediaType("", None)
    at = found.end()
    while (parameter := _PARAMETER.match(text, at)) is not None:
        name, token, quoted = parameter.groups()
        if name is not None and name.lower() == "charset":
            value = token if token is not None else re.sub(r"\\(.)", r"\1", quoted)
            return MediaType(found[1].lower(), value.lower())
        at = parameter.end()
    return MediaType(found[1].lower(), None)
