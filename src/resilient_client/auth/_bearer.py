"""A bearer token (RFC 6750): a fixed one, or one that a function of yours provides."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from pydantic import SecretStr

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client.auth._secrets import TOKEN, checked_secret
from resilient_client.auth._token import Token, TokenKeeper

TokenProvider: TypeAlias = "Callable[[], Awaitable[str | SecretStr | Token]]"
"""Gets a new token. A plain string is good until a 401; a ``Token`` may say for how long."""


class BearerAuth:
    """Sends ``Authorization: Bearer``, in place of one the caller set (RFC 6750 section 2.1).

    A provider is called once, however many calls wait for its token; the token is kept until it expires or meets
    a 401. It runs as a task of its own, in an empty context, so that no single caller's deadline ends it for all.
    """

    __slots__ = ("_fixed", "_keeper", "_provider")

    def __init__(
        self, token: str | SecretStr | TokenProvider, *, timeout: float = 10.0, early_refresh: float = 0.0
    ) -> None:
        """Send ``token``, or what it provides.

        Args:
            token: A fixed token, or an async function that gets one.
            timeout: Seconds the provider may take.
            early_refresh: Seconds before a token's end at which the provider is called in the background, but never
                more than half of the token's lifetime; 0: only when the token has expired.

        Raises:
            ConfigurationError: The token does not fit into a header, or a number is out of range.
        """
        self._fixed: SecretStr | None = None
        if callable(token):
            self._provider = token
        else:
            self._fixed = checked_secret(token, "BearerAuth.token", TOKEN)
        self._keeper = TokenKeeper(self._provide, timeout=timeout, early_refresh=early_refresh)

    async def apply(self, request: Request) -> None:
        """Set ``Authorization``; waits for the provider only when there is no valid token.

        Raises:
            APIError: Whatever the provider raises comes through.
        """
        token = self._fixed or await self._keeper.get()
        request.headers["Authorization"] = f"Bearer {token.get_secret_value()}"

    async def refresh(self, rejected: Response) -> bool:
        """Ask the provider for another token; ``False`` if it gives the same one again, or for a fixed token."""
        return self._fixed is None and await self._keeper.replace()

    async def close(self) -> None:
        """End a background refresh at once. Clients never call this, since they may share the object.

        Not required either: a background refresh ends by its own timeout.
        """
        await self._keeper.close()

    async def _provide(self) -> Token:
        pending = self._provider()
        if not inspect.isawaitable(pending):
            raise ConfigurationError("the token provider of BearerAuth must be an `async def` function")
        token = await pending
        return token if isinstance(token, Token) else Token(token)

    def __repr__(self) -> str:
        return f"{type(self).__name__}('***')"
