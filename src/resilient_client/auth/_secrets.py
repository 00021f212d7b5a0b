"""Checks secrets at construction, and keeps them out of everything that is printed.

A ``SecretStr`` hides its value in reprs and in tracebacks that show locals. It cannot hide a plain string in the frames
of the code that passed it in.
"""

from __future__ import annotations

import re

from pydantic import SecretStr

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.text import plain
from resilient_client._core.validation import kind_of, shorten

Allowed = tuple[re.Pattern[str], str]
"""The characters that a secret may hold, as a pattern and as words for the message."""

TOKEN: Allowed = (re.compile(r"[\x21-\x7e]+"), "printable ASCII without spaces, and without the word 'Bearer'")
HEADER_VALUE: Allowed = (re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?"), "printable ASCII, no spaces around it")
TEXT: Allowed = (
    re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*"),
    "text without control characters and lone surrogates",
)
USER_NAME: Allowed = (
    re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff:]*"),
    "text without control characters, lone surrogates and colons",
)


def check_secret(value: object, field: str, allowed: Allowed) -> SecretStr:
    """A secret that can be sent. A line break in a header value would let it add further headers.

    Raises:
        ConfigurationError: The value cannot be sent. The message names the field and what is allowed, never the value.
    """
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if not isinstance(value, str):
        raise ConfigurationError(f"{field} is {kind_of(value)}; give a str or a pydantic SecretStr")
    pattern, words = allowed
    if not pattern.fullmatch(value):
        shown = field if field.isprintable() else shorten(field)  # a field of a form, which the caller named
        raise ConfigurationError(f"{shown} must be {words}; its value is secret and not shown here")
    return SecretStr(plain(value))
