"""Credentials that do not change: a user name with a password, an API key.

Nothing here waits or fetches anything. A 401 to fixed credentials is final: there are no newer ones.
"""

from __future__ import annotations

import base64
from typing import Literal

from pydantic import SecretStr

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._core.validation import TOKEN
from resilient_client.auth._secrets import HEADER_VALUE, TEXT, USER_NAME, checked_secret


class _StaticAuth:
    __slots__ = ()

    async def refresh(self, rejected: Response) -> bool:
        """There is nothing to refresh: ``False``."""
        return False

    def __repr__(self) -> str:
        return f"{type(self).__name__}('***')"


class BasicAuth(_StaticAuth):
    """A user name and a password (RFC 7617), in UTF-8. Replaces an ``Authorization`` the caller set."""

    __slots__ = ("_value",)

    def __init__(self, username: str, password: str | SecretStr) -> None:
        """Send these with every request.

        Raises:
            ConfigurationError: A control character in either, or a colon in the user name (RFC 7617 section 2).
        """
        self._value = basic_credentials(
            checked_secret(username, "BasicAuth.username", USER_NAME),
            checked_secret(password, "BasicAuth.password", TEXT),
        )

    async def apply(self, request: Request) -> None:
        """Set ``Authorization: Basic``."""
        request.headers["Authorization"] = self._value.get_secret_value()


class APIKeyAuth(_StaticAuth):
    """A key in a header or in the query.

    Prefer the header: a query ends up in the logs of servers and proxies, and is not sent to the target of a redirect.
    """

    __slots__ = ("_in_query", "_key", "_name")

    def __init__(
        self, key: str | SecretStr, name: str = "X-Api-Key", location: Literal["header", "query"] = "header"
    ) -> None:
        """Send this with every request.

        Args:
            key: Printable ASCII for a header; any text without control characters for the query.
            name: Of the header or query parameter; a header of that name set by the caller is replaced.
            location: Where it goes.

        Raises:
            ConfigurationError: One of them cannot be sent.
        """
        if location not in ("header", "query"):
            raise ConfigurationError(f"APIKeyAuth.location is {location!r}, but must be 'header' or 'query'")
        self._in_query = location == "query"
        if not name or not (self._in_query or TOKEN.fullmatch(name)):
            raise ConfigurationError(f"APIKeyAuth.name is {name!r}, but must be a {location} name such as 'X-Api-Key'")
        self._name = name
        self._key = checked_secret(key, "APIKeyAuth.key", TEXT if self._in_query else HEADER_VALUE)

    async def apply(self, request: Request) -> None:
        """Set the header, or append to the query."""
        key = self._key.get_secret_value()
        if self._in_query:
            request.url = request.url.extend_query({self._name: key})  # leaves the spelling of the rest as it is
        else:
            request.headers[self._name] = key


def basic_credentials(username: SecretStr, password: SecretStr) -> SecretStr:
    """The value of an ``Authorization`` header for the Basic scheme (RFC 7617 section 2)."""
    pair = f"{username.get_secret_value()}:{password.get_secret_value()}".encode()
    return SecretStr(f"Basic {base64.b64encode(pair).decode()}")
