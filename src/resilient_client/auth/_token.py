"""A token, and the keeper of one: fetched once for all who need it, kept until it expires or meets a 401.

The keeper decides when a token is fetched; how is the business of the function it is given. It never resends a
request and knows no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable

from pydantic import SecretStr

from resilient_client._core.errors import APITimeoutError, ConfigurationError
from resilient_client._core.kinds import Stage
from resilient_client._core.single_flight import SingleFlight
from resilient_client.auth._secrets import TOKEN, checked_secret

_log = logging.getLogger("resilient_client.auth")


class Token:
    """What a token provider gives.

    Attributes:
        value: The bare token, without ``Bearer``.
        expires_in: Seconds it is good for, counted from when the provider was called; ``None``: until a 401.
    """

    __slots__ = ("expires_in", "value")

    def __init__(self, value: str | SecretStr, expires_in: float | None = None) -> None:
        """Check and keep both.

        Raises:
            ConfigurationError: The token does not fit into a header, or its lifetime is not a number above 0.
        """
        self.value = checked_secret(value, "a token", TOKEN)
        if expires_in is not None and not (math.isfinite(expires_in) and expires_in > 0):
            raise ConfigurationError(f"Token.expires_in is {expires_in!r}, but must be seconds above 0, or None")
        self.expires_in = expires_in

    def __repr__(self) -> str:
        return f"Token('***', expires_in={self.expires_in})"


class TokenKeeper:
    """Keeps one token for everybody.

    Tasks may share it, and event loops may use it one after another: real loops share one clock, so a token outlives
    its loop. After a jump of the clock (virtual time) it may be taken for valid when it is not; the 401 heals that.
    """

    __slots__ = ("_early_refresh", "_expires_at", "_fetch", "_fetching", "_refresh_at", "_timeout", "_value")

    def __init__(self, fetch: Callable[[], Awaitable[Token]], *, timeout: float, early_refresh: float = 0.0) -> None:
        """Keep what ``fetch`` gives.

        Args:
            fetch: Gets a new token.
            timeout: Seconds it may take.
            early_refresh: Seconds before the end at which a new token is fetched in the background, but never
                more than half of the token's lifetime; 0: never in the background.

        Raises:
            ConfigurationError: The timeout is not above 0, or ``early_refresh`` is negative.
        """
        if not timeout > 0:
            raise ConfigurationError(f"timeout is {timeout!r}, but must be seconds above 0")
        if not early_refresh >= 0:
            raise ConfigurationError(f"early_refresh is {early_refresh!r}, but must be seconds, 0 or more")
        self._fetch = fetch
        self._timeout = timeout
        self._early_refresh = early_refresh
        self._fetching: SingleFlight[SecretStr] = SingleFlight()
        self._value: SecretStr | None = None
        self._expires_at = self._refresh_at = math.inf  # loop time

    async def get(self) -> SecretStr:
        """The current token; waits only when there is none. No task is started but near the token's end.

        Raises:
            APITimeoutError: ``fetch`` took too long. Whatever ``fetch`` raises comes through.
        """
        now = asyncio.get_running_loop().time()
        if self._value is None or now >= self._expires_at:
            return await self._fetching.join(self._renew)
        if now >= self._refresh_at:
            self._fetching.start(self._renew)
        return self._value

    async def replace(self) -> bool:
        """Drop the current token, which the server refused, and fetch another. Whether it is indeed another.

        Raises:
            APITimeoutError: As for ``get``.
        """
        refused, self._value = self._value, None
        return await self._fetching.join(self._renew) != refused

    async def close(self) -> None:
        """End a fetch that runs in the background. Not required: it ends by its own timeout."""
        await self._fetching.end()

    async def _renew(self) -> SecretStr:
        asked = asyncio.get_running_loop().time()  # the server counts from some time after this: on the safe side
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                token = await self._fetch()
        except Exception as error:
            self._postpone(error)
            if not (isinstance(error, TimeoutError) and limit.expired()):
                raise
            raise APITimeoutError(f"no token came within {self._timeout:g} s", stage=Stage.LOCAL) from None
        lifetime = math.inf if token.expires_in is None else token.expires_in
        self._value = token.value
        self._expires_at = asked + lifetime
        self._refresh_at = self._expires_at - min(self._early_refresh, lifetime / 2)
        return token.value

    def _postpone(self, error: Exception) -> None:
        """After a failed early refresh: go on with the token there is, and try again in half of the time it has."""
        now = asyncio.get_running_loop().time()
        left = self._expires_at - now
        if self._value is None or left <= 0:
            return
        self._refresh_at = now + max(1.0, left / 2)
        _log.warning("early token refresh failed (%s); the current token has %.0f s left", type(error).__name__, left)
