"""How many hedges an upstream has to bear: a bucket of tokens for hedges, and two signs of whether they help.

The budget decides yes or no. Answered calls fill the bucket, hedges empty it, and time changes nothing: in an outage
nothing is answered, so hedging stops by itself (as in Finagle's ``BackupRequestFilter``). A hedge also takes a token of
the retry budget, so that retries and hedges together cannot cause a storm either.

A hedge must be *worth* its load. Where single replies are slow at random (a pause, a lost packet), a hedge nearly
always overtakes the attempt it was started for. Where all are slow, because requests queue, the hedge queues, too, and
makes the queue longer. ``_policies.hedging.route`` judges by the latencies before a hedge is started. This module adds
two signs:

- **congested**: far more attempts are late than usual. The upstream has become slow as a whole, so hedging stops at
  once.
- **worth**: each hedge that overtakes its attempt raises the worth, each that does not lowers it by half as much again,
  and deposits are scaled by it. Where fewer than three in five win, only a few hedges continue, to notice a change.
"""

from __future__ import annotations

from math import exp
from typing import Final

INITIAL_TOKENS: Final = 10.0
"""Tokens at the start."""
MAX_TOKENS: Final = 100.0
"""The tokens a bucket holds: enough for the stragglers of a fan-out of 2,000 calls, but not the savings of a day."""
WIN_GAIN: Final = 0.1
"""What a hedge that overtakes its attempt adds to the worth."""
LOSS: Final = 0.15
"""What a hedge that does not overtake its attempt takes from the worth."""
MIN_WORTH: Final = 0.02
"""The lowest worth: by default, one hedge per 1,000 calls."""
LATENESS_MEMORY: Final = 100
"""Steps begun after a late one, in which it loses all but a third (1/e) of its weight."""
CONGESTION: Final = 2.0
"""How many times as many as usual may be late: at 5 %, that is 10 in 100, which is seldom a coincidence."""


class HedgeTokens:
    """The tokens of one upstream, shared by all calls to it.

    There are never more hedges than ``INITIAL_TOKENS`` plus the deposits.

    Attributes:
        available: The tokens in the bucket, at most ``MAX_TOKENS`` times ``worth``.
        begun: The number of steps begun that may be hedged. The hedging middleware counts them.
        worth: The share of a deposit that counts, ``MIN_WORTH`` to 1.
    """

    __slots__ = ("_lateness", "_latest", "available", "begun", "worth")

    def __init__(self) -> None:
        self.available = INITIAL_TOKENS
        self.worth = 1.0
        self.begun = 0
        self._latest = 0  # the highest number of a late step
        # How many steps were late, each weighted by 1 / the usual share of late ones, and fading with each step begun.
        # With the usual share of late steps, the sum stays near LATENESS_MEMORY, whatever that share is.
        self._lateness = 0.0

    @property
    def congested(self) -> bool:
        """Whether far more steps are late than usual."""
        return self._lateness > CONGESTION * LATENESS_MEMORY

    def deposit(self, share: float) -> None:
        """Credit an answered call with its share of a hedge, scaled by the worth."""
        self.available = min(MAX_TOKENS * self.worth, self.available + share * self.worth)

    def try_spend(self) -> bool:
        """Take the token of a hedge, if there is a whole one.

        Returns:
            Whether there was one.
        """
        if self.available < 1.0:
            return False
        self.available -= 1.0
        return True

    def refund(self) -> None:
        """Return the token of a hedge that was not sent."""
        self.available = min(MAX_TOKENS * self.worth, self.available + 1.0)

    def judge(self, *, won: bool) -> None:
        """Record whether a hedge overtook the attempt it was started for."""
        self.worth = min(1.0, self.worth + WIN_GAIN) if won else max(MIN_WORTH, self.worth - LOSS)
        self.available = min(MAX_TOKENS * self.worth, self.available)

    def late(self, number: int, usual: float) -> None:
        """Record that a step takes longer than the hedging delay, called once per late step.

        Lateness fades with the steps begun and not with the clock: of a thousand steps begun at once, all the late
        ones are late at the same moment, although they are few.

        Args:
            number: The number of the step among those begun.
            usual: The share of steps that is usually late, above 0, up to 1.
        """
        if number > self._latest:
            self._lateness *= exp((self._latest - number) / LATENESS_MEMORY)
            self._latest = number
        self._lateness += 1.0 / usual
