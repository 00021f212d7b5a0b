"""What goes wrong with which upstream, and when. Decides nothing else; knows no server and no clock.

The times are shares of the whole run, so that a short run tells the same story as a long one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

UPSTREAMS: Final[tuple[str, ...]] = ("inventory", "payment", "logistics")


class Condition(StrEnum):
    """How an upstream is, in words for people."""

    WELL = "well"
    DOWN = "down: every connection is reset"
    SLOW = "slow: each answer takes 3 s"
    OVERLOADED = "overloaded: 503 beyond 22 a second"
    SPOILT = "spoilt: some replies are garbage"
    FORGETFUL = "forgetful: acts, but loses replies"


class Trouble(NamedTuple):
    """A stretch of time in which an upstream is not well; ``begins`` and ``ends`` are shares of the run."""

    upstream: str
    condition: Condition
    begins: float
    ends: float


# One after the other, with room for the circuits to find out by themselves that it is over.
TROUBLES: Final = (
    Trouble("logistics", Condition.DOWN, 0.13, 0.27),
    Trouble("inventory", Condition.SLOW, 0.36, 0.46),
    Trouble("payment", Condition.OVERLOADED, 0.52, 0.68),
    Trouble("logistics", Condition.SPOILT, 0.73, 0.82),
    Trouble("payment", Condition.FORGETFUL, 0.82, 0.91),
)


class Timetable(NamedTuple):
    """The troubles of one run.

    Attributes:
        seconds: How long orders come in.
        seed: Where chance begins: the arrivals, the troubles and the client's jitter follow from it.
        rate: Orders a second, on average.
    """

    seconds: float = 15.0
    seed: int = 22
    rate: float = 30.0

    def condition(self, upstream: str, elapsed: float) -> Condition:
        """How ``upstream`` is, ``elapsed`` seconds after the start."""
        share = elapsed / self.seconds
        for trouble in TROUBLES:
            if trouble.upstream == upstream and trouble.begins <= share < trouble.ends:
                return trouble.condition
        return Condition.WELL

    @property
    def changes(self) -> list[tuple[float, str, Condition]]:
        """When which upstream turns into what: seconds from the start, in order."""
        begun = [(trouble.begins * self.seconds, trouble.upstream, trouble.condition) for trouble in TROUBLES]
        ended = [(trouble.ends * self.seconds, trouble.upstream, Condition.WELL) for trouble in TROUBLES]
        return sorted([*begun, *ended])
