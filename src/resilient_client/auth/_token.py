"""``Token``, and the keeper that caches one: fetched once for all waiting calls, kept until it expires or a 401.

The keeper decides when a token is fetched. The function it is given decides how. The keeper knows nothing of HTTP.
A failure is kept, too, for a moment: the calls that come meanwhile fail at once and do not ask the source again.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
from collections.abc import Awaitable, Callable

from pydantic import SecretStr

from resilient_client._core.errors import APIError, APITimeoutError, CallRejectedError, ResilientClientError
from resilient_client._core.frames import forgets_arguments
from resilient_client._core.kinds import Stage
from resilient_client._core.single_flight import SingleFlight
from resilient_client._core.types import Duration
from resilient_client._core.validation import check_duration
from resilient_client.auth._secrets import TOKEN, check_secret

_log = logging.getLogger("resilient_client.auth")

FAILURE_KEPT = 1.0
"""Seconds after a failed fetch in which no other one is started: the default break of a circuit, for the same reason.
It is the longest time by which a recovery of the source is noticed late."""
LONGEST_KEPT = 60.0
"""Seconds for which a failure is kept at most, if it has a ``retry_after``: the default cap of ``Retry-After``."""


class Token:
    """A token and its lifetime, as a token provider returns them.

    Attributes:
        value: The bare token, without ``Bearer``.
        expires_in: Seconds until it expires, from when the provider was called. With ``None`` it is kept until a 401.
    """

    __slots__ = ("expires_in", "value")

    @forgets_arguments
    def __init__(self, value: str | SecretStr, expires_in: Duration | None = None) -> None:
        """Hold a token.

        Args:
            value: The bare token, without ``Bearer``.
            expires_in: How long it is valid, from when the provider was called, above 0. ``None``: until a 401.

        Raises:
            ConfigurationError: The token does not fit into a header, or its lifetime is not a duration above 0.
        """
        self.value = check_secret(value, "Token.value", TOKEN)
        self.expires_in = None if expires_in is None else check_duration("Token.expires_in", expires_in)

    def __repr__(self) -> str:
        return f"Token('***', expires_in={self.expires_in})"


class TokenKeeper:
    """Caches one token for all calls of all clients that share an ``Auth``.

    Tasks may share a keeper. Event loops may use it one after another: all real loops read the same monotonic clock, so
    the token outlives its loop. If the clock jumps (virtual time), an expired token may pass for valid until a server
    answers it with a 401.
    """

    __slots__ = (
        "_early_refresh",
        "_expires_at",
        "_failure",
        "_failure_ends_at",
        "_fetch",
        "_fetching",
        "_refresh_at",
        "_timeout",
        "_value",
    )

    def __init__(self, fetch: Callable[[], Awaitable[Token]], *, timeout: float, early_refresh: float = 0.0) -> None:
        """Start without a token.

        Args:
            fetch: Gets a new token.
            timeout: Seconds ``fetch`` may take, above 0.
            early_refresh: Seconds before expiry at which a new token is fetched in the background, 0 or more, but
                never more than half of the token's lifetime. With 0 nothing is fetched in the background.
        """
        self._fetch = fetch
        self._timeout = timeout
        self._early_refresh = early_refresh
        self._fetching: SingleFlight[SecretStr] = SingleFlight()
        self._value: SecretStr | None = None
        self._expires_at = self._refresh_at = math.inf  # loop time
        self._failure: APIError | None = None
        self._failure_ends_at = -math.inf

    async def get(self) -> SecretStr:
        """The current token. Waits only when there is no valid one.

        The fast path returns without a task. A background task is started only within ``early_refresh`` of expiry.

        Raises:
            APITimeoutError: ``fetch`` took too long. Other exceptions of ``fetch`` propagate as they are.
            APIError: ``fetch`` failed less than a second ago (or than its ``retry_after``), and is not called again
                yet. ``retry_after`` is the time left.
        """
        now = asyncio.get_running_loop().time()
        if self._value is None or now >= self._expires_at:
            self._raise_recent_failure(now)
            return await self._fetching.join(self._renew)
        if now >= self._refresh_at:
            self._fetching.start(self._renew)
        return self._value

    async def replace(self) -> bool:
        """Drop the current token, which the server refused, and fetch one. Returns whether that is a different one.

        Raises:
            APITimeoutError: As for ``get``.
            APIError: As for ``get``.
        """
        refused, self._value = self._value, None
        self._raise_recent_failure(asyncio.get_running_loop().time())
        return await self._fetching.join(self._renew) != refused

    async def close(self) -> None:
        """Cancel a fetch that runs in the background. Optional, because its timeout ends it anyway."""
        await self._fetching.end()

    async def _renew(self) -> SecretStr:
        # The server counts the lifetime from some moment after this one, so the token is dropped too early, never too
        # late.
        requested_at = asyncio.get_running_loop().time()
        timer = asyncio.timeout(self._timeout)
        try:
            async with timer:
                token = await self._fetch()
        except Exception as error:
            timed_out = isinstance(error, TimeoutError) and timer.expired()
            self._postpone(self._late() if timed_out else error)
            if not timed_out:
                raise
            raise self._late() from None
        lifetime = math.inf if token.expires_in is None else token.expires_in
        self._value, self._failure = token.value, None
        self._expires_at = requested_at + lifetime
        self._refresh_at = self._expires_at - min(self._early_refresh, lifetime / 2)
        return token.value

    def _late(self) -> APITimeoutError:
        return APITimeoutError(f"no token came within {self._timeout:g} s", stage=Stage.LOCAL)

    def _postpone(self, error: Exception) -> None:
        """After a failed early refresh, keep the current token and try again when half of its remaining time is over.

        The retries become more frequent towards the end, but are at least one second apart, so that many calls do not
        overload a token endpoint that is down. If there is no valid token, keep the failure instead.
        """
        now = asyncio.get_running_loop().time()
        remaining = self._expires_at - now
        if self._value is None or remaining <= 0:
            self._failure = _without_frames(error)
            self._failure_ends_at = now + _kept_for(self._failure)
            return
        self._refresh_at = now + max(1.0, remaining / 2)
        _log.warning(
            "early token refresh failed (%s); the current token has %.0f s left",
            type(error).__name__,
            remaining,
            extra={"event": "early_refresh_failed"},
        )

    def _raise_recent_failure(self, now: float) -> None:
        """Raise a copy of a failure that is still kept. After a jump of the clock none is: see the class."""
        failure, left = self._failure, self._failure_ends_at - now
        if failure is None or not 0 < left <= LONGEST_KEPT:
            return
        again = copy.copy(failure)
        again.summary = f"{failure.summary}; no other token is requested for {left:.2g} s"
        again.retry_after, again.retryable = left, False
        raise again


def _without_frames(error: Exception) -> APIError:
    """What later calls get in place of a failure: without its traceback, whose frames hold secrets and much memory."""
    if isinstance(error, APIError):
        return copy.copy(error)
    # Only texts of this library are known to hold no secret.
    detail = str(error) if isinstance(error, ResilientClientError) else type(error).__name__
    return APIError(f"the token provider failed: {detail}", detail=detail)


def _kept_for(failure: APIError) -> float:
    """Seconds for which a failure is kept: as long as an open circuit lasts, or longer if the server asks for that."""
    asked = failure.retry_after
    if asked is None:
        return FAILURE_KEPT
    return min(asked if isinstance(failure, CallRejectedError) else max(asked, FAILURE_KEPT), LONGEST_KEPT)
