"""Statistics that are collected during a run: numbers per second, and the durations of all calls."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TypeAlias

Series: TypeAlias = list[int]
"""One number per second of the run, from the first second to the last one in which something was counted."""


def count(series: Series, at: float) -> None:
    """Add one to the second that contains the time ``at``."""
    second = int(at)
    try:
        series[second] += 1
    except IndexError:
        series.extend([0] * (second - len(series)))
        series.append(1)


class CallStats:
    """The calls of one group of callers, or of one upstream that calls others.

    Attributes:
        offered: Calls, by the second in which they started.
        kept: Calls that succeeded, by the second in which they *started*.
        goodput: Calls that succeeded, by the second in which they ended.
        failed: Calls that failed, by the second in which they ended, including those in ``rejected``.
        rejected: Calls that the client refused without sending anything, by the second in which they ended.
        attempts: Requests that were sent, or that failed to connect, by the second.
        kinds: The number of failed calls of each kind.
        latencies: Seconds that each successful call took, in the order in which they ended.
        waits: Seconds that each failed call took, in the order in which they ended.
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


class UpstreamStats:
    """The requests to one upstream.

    Attributes:
        load: Requests that clients sent to it, by the second, including those whose connection was refused.
        arrived: Requests that arrived, by the second.
        answered: Requests that were answered while their client still waited, by the second, errors included.
        wasted: Requests that were completed after their client had left, by the second.
        shed: Requests that were answered 503 because the queue was full.
        errors: Requests that were answered with an error, for any reason.
        cut: Requests whose connection was reset.
        lost: Requests that were never answered.
        dropped: Requests that the upstream gave up because the client had left.
        unfinished: Requests in progress at the end of the run.
        peak: The highest number of requests in progress at once in one replica, the queue included.
    """

    __slots__ = (
        "answered", "arrived", "cut", "dropped", "errors", "load", "lost", "peak", "shed", "unfinished", "wasted",
    )  # fmt: skip  # one name per line is harder to read

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
