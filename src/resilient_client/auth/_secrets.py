"""Secrets: checked when they come in, never shown again.

A ``SecretStr`` keeps them out of reprs and of tracebacks that show locals. The frames of whoever hands a plain string
in are beyond its reach.
"""

from __future__ import annotations

import re

from pydantic import SecretStr

from resilient_client._core.errors import ConfigurationError

Allowed = tuple[re.Pattern[str], str]
"""Which characters a secret may hold, as a pattern and in words."""

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


def checked_secret(value: str | SecretStr, field: str, allowed: Allowed) -> SecretStr:
    """``value``, if it can be sent; a line break in it could otherwise smuggle in a header.

    Raises:
        ConfigurationError: It cannot. The message names the field and what is allowed, never the value.
    """
    secret = SecretStr(value) if isinstance(value, str) else value
    if not isinstance(secret, SecretStr):
        raise ConfigurationError(f"{field} is of type {type(value).__name__}; give a str or a pydantic SecretStr")
    pattern, words = allowed
    if not pattern.fullmatch(secret.get_secret_value()):
        raise ConfigurationError(f"{field} must be {words}; its value is secret and not shown here")
    return secret
