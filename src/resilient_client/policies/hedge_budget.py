"""How many hedges an upstream is asked to bear: a bucket of tokens of their own.

Decides yes or no. Calls that got an answer fill it, hedges empty it, and time does nothing: in an outage nothing is
answered, so hedges cease by themselves (as in Finagle's ``BackupRequestFilter``). A hedge needs a token of the retry
budget besides, so that retries and hedges together cannot storm either.

A hedge must be *worth* its load. Where single replies are slow by chance (a pause, a lost packet), a hedge nearly
always overtakes the attempt it was started for. Where all are slow, because requests queue, it queues, too, and mostly
loses, while its load makes the queue longer. Against replicas that go on with what nobody waits for, hedging does good
as long as most of the hedges win, and harm below (``tests/simulation/test_hedging.py``). So each win lifts the worth
of hedges, each defeat lowers it by twice as much, and calls deposit by that measure: where less than two in three win,
only a few go on, to see when times change.
"""

from __future__ import annotations

from typing import Final

START: Final = 10.0
"""Tokens at the start."""
MOST: Final = 100.0
"""The most tokens kept: what a fan-out of 2,000 calls earns is there for its stragglers, a quiet day is not."""
WIN: Final = 0.1
"""What a win adds to the worth of hedges."""
DEFEAT: Final = 0.2
"""What a defeat takes from it."""
LEAST: Final = 0.02
"""The least they are worth: by default, one hedge in 1,000 calls."""


class HedgeTokens:
    """The tokens of one upstream, shared by all calls to it. Hedges never exceed ``START`` and what was deposited.

    Attributes:
        worth: What share of a deposit counts, ``LEAST`` to 1.
        available: The tokens at hand, at most ``MOST`` times ``worth``.
    """

    __slots__ = ("available", "worth")

    def __init__(self) -> None:
        self.available = START
        self.worth = 1.0

    def deposit(self, share: float) -> None:
        """Credit an answered call with its share of a hedge."""
        self.available = min(MOST * self.worth, self.available + share * self.worth)

    def try_spend(self) -> bool:
        """Take the token of a hedge, if there is a whole one.

        Returns:
            Whether it was there.
        """
        if self.available < 1.0:
            return False
        self.available -= 1.0
        return True

    def give_back(self) -> None:
        """Return the token of a hedge that was not sent."""
        self.available = min(MOST * self.worth, self.available + 1.0)

    def judge(self, *, won: bool) -> None:
        """Learn whether a hedge overtook the attempt it was started for."""
        self.worth = min(1.0, self.worth + WIN) if won else max(LEAST, self.worth - DEFEAT)
        self.available = min(MOST * self.worth, self.available)
