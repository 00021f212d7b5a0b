"""Whether one of several endpoints is well: what its replies and its health checks say, and how fast it comes back.

It judges one endpoint by itself and remembers; whether the others can spare it is the balancer's question. It knows
no circuit: that refuses on its own account.
"""

from __future__ import annotations

import math
import random
from typing import Final

from resilient_client._policies.balancing.hysteresis import HealthState, Verdict
from resilient_client._settings.load_balancing import LoadBalancing

LEAST_WEIGHT: Final = 0.1
"""The share of a full one with which a slow start begins (as in Envoy)."""
_JITTER: Final = 1.25  # an ejection lasts up to this many times as long as it should


class OutlierState:
    """One endpoint in the eyes of the balancer.

    Args:
        settings: When it is ejected, and for how long.
        since: When it joined, in seconds; minus infinity: it needs no slow start.
    """

    __slots__ = ("_began", "_settings", "_span", "_verdict", "ejected", "failures", "until")

    def __init__(self, settings: LoadBalancing, since: float = -math.inf) -> None:
        self._settings = settings
        self._span = settings.ejection
        self._began = since  # of the slow start
        check = settings.health_check
        self._verdict = Verdict(1, 1) if check is None else Verdict(check.rise, check.fall)
        self.failures = 0
        """In a row; an ejection does not end the row, so one more failure after it ejects again."""
        self.ejected = False
        """Whether it is passed over for how it answered calls."""
        self.until = -math.inf
        """When the latest ejection ends, in seconds."""

    @property
    def healthy(self) -> bool:
        """What the health checks say; true before the first, and without any."""
        return self._verdict.state is not HealthState.DOWN

    @property
    def well(self) -> bool:
        """Whether nothing speaks against it."""
        return self.healthy and not self.ejected

    def weight(self, now: float) -> float:
        """Its share of a full one, ``LEAST_WEIGHT`` to 1: less in a slow start."""
        passed, whole = now - self._began, self._settings.slow_start
        return 1.0 if passed >= whole else max(LEAST_WEIGHT, passed / whole)

    def start_slowly(self, now: float) -> None:
        """It has just come back."""
        self._began = now

    def eject(self, now: float, rng: random.Random) -> None:
        """Pass it over for a while: twice as long as the last time, unless it has been well for long since."""
        settings = self._settings
        if now - self.until >= settings.max_ejection:
            self._span = settings.ejection
        span = min(self._span, settings.max_ejection)
        self._span = 2 * span
        self.ejected = True
        self.until = now + span * rng.uniform(1, _JITTER)

    def readmit(self, now: float) -> None:
        """The ejection is over."""
        self.ejected = False
        self.start_slowly(now)

    def checked(self, good: bool, now: float) -> None:
        """Learn from a health check: the first decides, then it takes several in a row to change its word."""
        was_healthy = self.healthy
        self._verdict.learn(HealthState.UP if good else HealthState.DOWN, now)
        if self.healthy and not was_healthy:
            self.start_slowly(now)
