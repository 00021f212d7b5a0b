"""Text as it is sent: what a value says, not what its class prints."""

from __future__ import annotations


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
