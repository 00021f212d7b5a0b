"""Bearer tokens (RFC 6750): a fixed token, or one that an async function provides."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from pydantic import SecretStr

from resilient_client._core.errors import ConfigurationError
from resilient_client._core.frames import forgets_arguments
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._core.types import Duration
from resilient_client._core.validation import check_duration
from resilient_client.auth._secrets import TOKEN, check_secret
from resilient_client.auth._token import Token, TokenKeeper

TokenProvider: TypeAlias = "Callable[[], Awaitable[str | SecretStr | Token]]"
"""Gets a new token. A plain string is kept until a 401. A ``Token`` can have a lifetime."""


class BearerAuth:
    """Sends ``Authorization: Bearer`` (RFC 6750 section 2.1). Replaces an ``Authorization`` header of the caller.

    The provider is called once, however many calls wait for its token. The token is kept until it expires or a server
    answers it with a 401. The provider runs in its own task with an empty context, so the deadline of one caller does
    not cancel it for the others. If it fails, it is not called again for a second, and the calls that come meanwhile
    fail at once.
    """

    __slots__ = ("_fixed", "_keeper", "_provider")

    @forgets_arguments
    def __init__(
        self, token: str | SecretStr | TokenProvider, *, timeout: Duration = 10.0, early_refresh: Duration = 0.0
    ) -> None:
        """Hold a fixed token, or a function that provides tokens.

        Args:
            token: A fixed token, or an async function that gets one.
            timeout: How long the provider may take, above 0.
            early_refresh: How long before the token expires the provider is called in the background, 0 or more, but
                never more than half of the token's lifetime. With 0 it is called only after the token has expired.

        Raises:
            ConfigurationError: The token does not fit into a header, or a duration is out of range.
        """
        name = type(self).__name__
        self._fixed: SecretStr | None = None
        if callable(token):
            self._provider = token
        else:
            self._fixed = check_secret(token, "BearerAuth.token", TOKEN)
        self._keeper = TokenKeeper(
            self._provide,
            timeout=check_duration(f"{name}.timeout", timeout),
            early_refresh=check_duration(f"{name}.early_refresh", early_refresh, zero=True, infinite=True),
        )

    async def apply(self, request: Request) -> None:
        """Set ``Authorization``. Waits for the provider only when there is no valid token.

        Raises:
            APIError: The provider failed or took too long. Other exceptions of the provider propagate as they are.
        """
        token = self._fixed or await self._keeper.get()
        request.headers["Authorization"] = f"Bearer {token.get_secret_value()}"

    async def refresh(self, rejected: Response) -> bool:
        """Call the provider again. ``False`` for a fixed token, or if the provider returned the same one."""
        return self._fixed is None and await self._keeper.replace()

    async def close(self) -> None:
        """Cancel a background refresh. Optional, because its timeout ends it anyway.

        Clients never call this, since they may share the object.
        """
        await self._keeper.close()

    async def _provide(self) -> Token:
        awaitable = self._provider()
        if not inspect.isawaitable(awaitable):
            raise ConfigurationError("the token provider of BearerAuth must be an `async def` function")
        token = await awaitable
        if isinstance(token, str):
            token = SecretStr(token)  # which this frame does not show if it is refused
        return token if isinstance(token, Token) else Token(token)

    def __repr__(self) -> str:
        return f"{type(self).__name__}('***')"
