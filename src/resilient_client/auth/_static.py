"""Credentials that do not change: a user name with a password, or an API key.

Nothing here waits or sends anything. A 401 is final, because there are no newer credentials.
"""

from __future__ import annotations

import base64
from typing import Literal

from pydantic import SecretStr

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.frames import forgets_arguments
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._core.text import plain
from resilient_client._core.validation import TOKEN, shorten
from resilient_client.auth._secrets import HEADER_VALUE, TEXT, USER_NAME, check_secret


class _StaticAuth:
    __slots__ = ()

    async def refresh(self, rejected: Response) -> bool:
        """Return ``False``: fixed credentials cannot be refreshed."""
        return False

    def __repr__(self) -> str:
        return f"{type(self).__name__}('***')"


class BasicAuth(_StaticAuth):
    """A user name and a password (RFC 7617), in UTF-8. Replaces an ``Authorization`` header of the caller."""

    __slots__ = ("_value",)

    @forgets_arguments
    def __init__(self, username: str, password: str | SecretStr) -> None:
        """Hold a user name and a password.

        Raises:
            ConfigurationError: Either holds a control character, or the user name a colon (RFC 7617 section 2).
        """
        self._value = basic_credentials(
            check_secret(username, "BasicAuth.username", USER_NAME),
            check_secret(password, "BasicAuth.password", TEXT),
        )

    async def apply(self, request: Request) -> None:
        """Set ``Authorization: Basic``."""
        request.headers["Authorization"] = self._value.get_secret_value()


class APIKeyAuth(_StaticAuth):
    """A key in a header or in the query.

    Prefer the header. Servers and proxies write queries into their logs, and a redirect drops the query.
    """

    __slots__ = ("_in_query", "_key", "_name")

    @forgets_arguments
    def __init__(
        self, key: str | SecretStr, name: str = "X-Api-Key", location: Literal["header", "query"] = "header"
    ) -> None:
        """Hold a key.

        Args:
            key: Printable ASCII for a header, or any text without control characters for the query.
            name: The name of the header or query parameter. Replaces a header of that name from the caller.
            location: Where the key is sent.

        Raises:
            ConfigurationError: The key or the name cannot be sent, or the location is unknown.
        """
        if not isinstance(location, str) or location not in ("header", "query"):
            raise ConfigurationError(f"APIKeyAuth.location is {shorten(location)}, but must be 'header' or 'query'")
        self._in_query = location == "query"
        if not isinstance(name, str) or not name or not (self._in_query or TOKEN.fullmatch(name)):
            raise ConfigurationError(
                f"APIKeyAuth.name is {shorten(name)}, but must be a {location} name such as 'X-Api-Key'"
            )
        self._name = plain(name)
        self._key = check_secret(key, "APIKeyAuth.key", TEXT if self._in_query else HEADER_VALUE)

    async def apply(self, request: Request) -> None:
        """Set the header, or append the key to the query."""
        if self._in_query:
            # Keeps the bytes of the rest.
            request.url = request.url.extend_query({self._name: self._key.get_secret_value()})
        else:
            request.headers[self._name] = self._key.get_secret_value()


def basic_credentials(username: SecretStr, password: SecretStr) -> SecretStr:
    """The value of an ``Authorization`` header for the Basic scheme (RFC 7617 section 2)."""
    pair = f"{username.get_secret_value()}:{password.get_secret_value()}".encode()
    return SecretStr(f"Basic {base64.b64encode(pair).decode()}")
