"""Whether a target counts as up, judged by its latest checks: neither one bad nor one good check proves anything.

The verdict makes no checks and reads no clock: the prober passes it each result. It changes only in a synchronous
method.
"""

from __future__ import annotations

from enum import StrEnum


class HealthState(StrEnum):
    """The state of a target, or of all targets together."""

    UP = "up"  # answers as it should
    DEGRADED = "degraded"  # answers, but with a fault: slow, or its certificate ends soon
    DOWN = "down"  # does not answer as it should
    UNKNOWN = "unknown"  # not checked yet, or the check could not tell


class Verdict:
    """The state of one target, with hysteresis as in HAProxy and Kubernetes.

    The first check decides at once, because there is no earlier state to keep. From then on it takes ``fall`` failures
    in a row to go down and ``rise`` successes in a row to come back. A degraded check is a success, because the target
    answers. A target that is not down is up or degraded as its last successful check found it.

    Attributes:
        state: The state of the target.
        since: When it entered this state, on the caller's clock, or ``None`` before the first check.
        streak: Checks in a row that contradict the state, 0 as long as they agree.
    """

    __slots__ = ("_fall", "_rise", "since", "state", "streak")

    def __init__(self, rise: int, fall: int) -> None:
        """Set the numbers of contradicting checks in a row that change the state, 1 or more."""
        self._rise = rise
        self._fall = fall
        self.state = HealthState.UNKNOWN
        self.since: float | None = None
        self.streak = 0

    def learn(self, seen: HealthState, now: float) -> HealthState:
        """Count a check and return the state that follows.

        Args:
            seen: The result of the check. ``UNKNOWN`` (the check could not be made) changes nothing.
            now: The time of the check, in seconds, always on the same clock.
        """
        if seen is HealthState.UNKNOWN:
            return self.state
        if self.state is HealthState.UNKNOWN or (seen is HealthState.DOWN) == (self.state is HealthState.DOWN):
            self.streak = 0
            self._enter(seen, now)
            return self.state
        self.streak += 1
        if self.streak >= (self._fall if seen is HealthState.DOWN else self._rise):
            self.streak = 0
            self._enter(seen, now)
        return self.state

    def _enter(self, state: HealthState, now: float) -> None:
        if state is not self.state:
            self.state = state
            self.since = now
