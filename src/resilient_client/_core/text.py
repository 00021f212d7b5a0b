"""Text as it is sent: what a value says, not what its class prints."""

from __future__ import annotations

from typing import Final

MAX_QUOTED: Final = 120
"""Characters kept of a text from outside that an error quotes."""


def plain(value: str) -> str:
    """Return the characters of ``value`` as a ``str`` and no subclass.

    ``str()`` of a member of ``class Color(str, Enum)`` is ``Color.RED``: the name of a class, which means nothing to a
    server and, in a path, something else altogether. Its characters are the value.
    """
    return value if type(value) is str else str.__str__(value)


def scalar_text(value: str | float) -> str:
    """Return a scalar as it stands in a URL or a form: booleans in lower case, members of an ``Enum`` by their value.

    Raises:
        ValueError: An integer has more digits than Python converts.
    """
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return int.__repr__(value) if isinstance(value, int) else float.__repr__(value)


def one_line(text: str) -> str:
    """Return ``text`` as one printable line that any encoding of Unicode can hold.

    A line break would forge a line of a log, an escape reaches the terminal, and a lone surrogate, which is how a byte
    that is not UTF-8 arrives in a header, cannot be printed at all.
    """
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def quoted(text: str) -> str:
    """Return a text from outside as an error may quote it: one printable line of at most ``MAX_QUOTED`` characters."""
    return one_line(text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED - 3]}...")
