"""Names that a caller writes: what they may be made of, and which one was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A token (RFC 9110 section 5.6.2), such as the name of a header; for ``fullmatch``."""


def suggest(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the closest known one if it is close, else all of them."""
    import difflib  # only whoever misspells something needs it

    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"allowed are: {', '.join(names)}"
