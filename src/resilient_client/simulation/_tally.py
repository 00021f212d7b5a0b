"""What is counted while a run goes on: numbers by the second, and the times of all answers."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TypeAlias

Series: TypeAlias = list[int]
"""One number for each second of the run, from the first; it ends with the last second in which something happened."""


def count(series: Series, at: float) -> None:
    """Add one to the second of the time ``at``."""
    second = int(at)
    try:
        series[second] += 1
    except IndexError:
        series.extend([0] * (second - len(series)))
        series.append(1)


class CallTally:
    """The calls of one group of callers, or of one layer of services.

    Attributes:
        offered: Calls by the second in which they began.
        kept: Calls that succeeded, by the second in which they *began*.
        goodput: Calls that succeeded, by the second in which they ended.
        failed: Calls that failed, by the second in which they ended; those refused here included.
        rejected: Calls refused here, nothing sent, by the second in which they ended.
        attempts: Requests they sent, or tried to, by the second.
        kinds: How many failed calls there were of each kind.
        latencies: Seconds each successful call took, in order of their ends.
        waits: Seconds each failed call took.
    """

    __slots__ = ("attempts", "failed", "goodput", "kept", "kinds", "latencies", "offered", "rejected", "waits")

    def __init__(self) -> None:
        self.offered: Series = []
        self.kept: Series = []
        self.goodput: Series = []
        self.failed: Series = []
        self.rejected: Series = []
        self.attempts: Series = []
        self.kinds: Counter[str] = Counter()
        self.latencies = array("d")
        self.waits = array("d")


class UpstreamTally:
    """What one upstream met.

    Attributes:
        load: Requests on their way to it by the second, connections refused included.
        arrived: Requests that reached it, by the second.
        answered: Requests answered while their client still waited, by the second; errors included.
        wasted: Requests done, by the second, whose client had left.
        shed: Requests answered 503 because the queue was full.
        errors: Requests answered with an error, for whatever reason.
        cut: Requests whose connection was reset.
        lost: Requests that were never answered.
        dropped: Requests given up because the client had left.
        unfinished: Requests still in hand at the end of the run.
        peak: The most requests in hand at once, in one replica.
    """

    __slots__ = (
        "answered", "arrived", "cut", "dropped", "errors", "load", "lost", "peak", "shed", "unfinished", "wasted",
    )  # fmt: skip  # one name a line says no more

    def __init__(self) -> None:
        self.load: Series = []
        self.arrived: Series = []
        self.answered: Series = []
        self.wasted: Series = []
        self.shed = 0
        self.errors = 0
        self.cut = 0
        self.lost = 0
        self.dropped = 0
        self.unfinished = 0
        self.peak = 0
