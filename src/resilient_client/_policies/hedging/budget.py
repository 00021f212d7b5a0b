"""How many hedges an upstream is asked to bear: a bucket of tokens of their own, and a look at what hedges do to it.

Decides yes or no. Calls that got an answer fill the bucket, hedges empty it, and time does nothing: in an outage
nothing is answered, so hedges cease by themselves (as in Finagle's ``BackupRequestFilter``). A hedge needs a token of
the retry budget besides, so that retries and hedges together cannot storm either.

A hedge must be *worth* its load. Where single replies are slow by chance (a pause, a lost packet), a hedge nearly
always overtakes the attempt it was started for. Where all are slow, because requests queue, it queues, too, while its
load makes the queue longer. Two signs tell, besides what ``_policies.hedging.route`` reads from the latencies before a
hedge is started:

- **crowded**: far more attempts are late than usually are. Something has become slow as a whole; at once, no hedges.
- **worth**: each hedge that overtakes its attempt lifts it, each that does not lowers it by half as much again, and
  calls deposit by that measure. Where less than three in five win, only a few go on, to see when times change.
"""

from __future__ import annotations

from math import exp
from typing import Final

INITIAL_TOKENS: Final = 10.0
"""Tokens at the start."""
MAX_TOKENS: Final = 100.0
"""The most tokens kept: what a fan-out of 2,000 calls earns is there for its stragglers, a quiet day is not."""
WIN_GAIN: Final = 0.1
"""What a win adds to the worth of hedges."""
LOSS: Final = 0.15
"""What a defeat takes from it."""
MIN_WORTH: Final = 0.02
"""The least they are worth: by default, one hedge in 1,000 calls."""
LATENESS_MEMORY: Final = 100
"""Steps begun, in which the news that one was late loses all but a third (1/e) of its weight."""
CONGESTION: Final = 2.0
"""How many times more than usual may be late: at 5 %, that is 10 in 100, which chance alone seldom brings about."""


class HedgeTokens:
    """The tokens of one upstream, shared by all calls to it. Hedges never exceed ``INITIAL_TOKENS`` and what was deposited.

    Attributes:
        available: The tokens at hand, at most ``MAX_TOKENS`` times ``worth``.
        begun: Steps that may be hedged, counted by who begins them.
        worth: What share of a deposit counts, ``MIN_WORTH`` to 1.
    """

    __slots__ = ("_lateness", "_latest", "available", "begun", "worth")

    def __init__(self) -> None:
        self.available = INITIAL_TOKENS
        self.worth = 1.0
        self.begun = 0
        self._latest = 0  # of the steps begun, that was late
        self._lateness = 0.0  # how many were late, each as many times as that is unusual, fading as further ones begin

    @property
    def congested(self) -> bool:
        """Whether far more are late than usually are."""
        return self._lateness > CONGESTION * LATENESS_MEMORY

    def deposit(self, share: float) -> None:
        """Credit an answered call with its share of a hedge."""
        self.available = min(MAX_TOKENS * self.worth, self.available + share * self.worth)

    def try_spend(self) -> bool:
        """Take the token of a hedge, if there is a whole one.

        Returns:
            Whether it was there.
        """
        if self.available < 1.0:
            return False
        self.available -= 1.0
        return True

    def refund(self) -> None:
        """Return the token of a hedge that was not sent."""
        self.available = min(MAX_TOKENS * self.worth, self.available + 1.0)

    def judge(self, *, won: bool) -> None:
        """Learn whether a hedge overtook the attempt it was started for."""
        self.worth = min(1.0, self.worth + WIN_GAIN) if won else max(MIN_WORTH, self.worth - LOSS)
        self.available = min(MAX_TOKENS * self.worth, self.available)

    def late(self, number: int, usual: float) -> None:
        """Learn that a step waits for longer than the delay of hedges, once for each.

        It counts in the order in which steps were begun, not by the clock: of a thousand begun at once, all the late
        ones are late at the same moment, and yet they are few.

        Args:
            number: Its number among those begun.
            usual: The share that is late as a rule, above 0, up to 1.
        """
        if number > self._latest:
            self._lateness *= exp((self._latest - number) / LATENESS_MEMORY)
            self._latest = number
        self._lateness += 1.0 / usual
