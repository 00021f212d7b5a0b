"""Whether a target counts as up, judged by its latest looks: a single bad one proves nothing, nor does a good one.

It never looks by itself and reads no clock: the prober tells it what each look saw. It changes only in a synchronous
method.
"""

from __future__ import annotations

from enum import StrEnum


class HealthState(StrEnum):
    """How a target stands, or all of them together."""

    UP = "up"  # answers as it should
    DEGRADED = "degraded"  # answers, but something is amiss: slow, or its certificate ends soon
    DOWN = "down"  # does not answer as it should
    UNKNOWN = "unknown"  # nobody has looked yet, or who was asked does not know


class Verdict:
    """The standing of one target, with hysteresis as in HAProxy and Kubernetes.

    The very first look decides at once: nothing is known that could be kept. From then on it takes ``fall`` failures
    in a row to go down and ``rise`` successes in a row to come back. A degraded look is a success: the target lives.
    What a living target shows, up or degraded, is what its last success saw.

    Attributes:
        state: Where the target stands.
        since: When it came to stand there, on the caller's clock; ``None`` before the first look.
        streak: Looks in a row that speak against the state; 0 as long as they agree.
    """

    __slots__ = ("_fall", "_rise", "since", "state", "streak")

    def __init__(self, rise: int, fall: int) -> None:
        """Both are numbers of looks in a row, 1 or more."""
        self._rise = rise
        self._fall = fall
        self.state = HealthState.UNKNOWN
        self.since: float | None = None
        self.streak = 0

    def learn(self, seen: HealthState, now: float) -> HealthState:
        """Count a look and give the state that follows.

        Args:
            seen: What the look saw; ``UNKNOWN``, because nobody could look, changes nothing.
            now: When, in seconds on any one clock.
        """
        if seen is HealthState.UNKNOWN:
            return self.state
        if self.state is HealthState.UNKNOWN or (seen is HealthState.DOWN) == (self.state is HealthState.DOWN):
            self.streak = 0
            self._stand(seen, now)
            return self.state
        self.streak += 1
        if self.streak >= (self._fall if seen is HealthState.DOWN else self._rise):
            self.streak = 0
            self._stand(seen, now)
        return self.state

    def _stand(self, state: HealthState, now: float) -> None:
        if state is not self.state:
            self.state = state
            self.since = now
