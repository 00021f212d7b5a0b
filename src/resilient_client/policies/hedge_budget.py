"""How many hedges an upstream is asked to bear: a bucket of tokens of their own.

Decides yes or no. Calls that got an answer fill it, hedges empty it, and time does nothing: in an outage nothing is
answered, so hedges cease by themselves (as in Finagle's ``BackupRequestFilter``). A hedge needs a token of the retry
budget besides, so that retries and hedges together cannot storm either.
"""

from __future__ import annotations

from typing import Final

START: Final = 10.0
"""Tokens at the start."""
MOST: Final = 100.0
"""The most tokens kept: what a fan-out of 2,000 calls earns is there for its stragglers, a quiet day is not."""


class HedgeTokens:
    """The tokens of one upstream, shared by all calls to it. Hedges never exceed ``START`` and what was deposited."""

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        self._tokens = START

    @property
    def available(self) -> float:
        """The tokens at hand."""
        return self._tokens

    def deposit(self, share: float) -> None:
        """Credit an answered call with its share of a hedge."""
        self._tokens = min(MOST, self._tokens + share)

    def try_spend(self) -> bool:
        """Take the token of a hedge, if there is a whole one.

        Returns:
            Whether it was there.
        """
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def give_back(self) -> None:
        """Return the token of a hedge that was not sent."""
        self._tokens = min(MOST, self._tokens + 1.0)
