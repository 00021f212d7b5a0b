"""Whether one endpoint is healthy, by its replies and its health checks, and how fast it returns to its full share.

This module keeps the state of one endpoint. Whether the others can do without it is decided by the endpoint pool. It
is independent of the endpoint's circuit, which refuses for reasons of its own.
"""

from __future__ import annotations

import math
import random
from typing import Final

from resilient_client._policies.balancing.hysteresis import HealthState, Verdict
from resilient_client._settings.load_balancing import LoadBalancing

MIN_WEIGHT: Final = 0.1
"""The share of a full load with which a slow start begins (as in Envoy)."""
_JITTER: Final = 1.25  # an ejection lasts up to this many times its nominal time


class OutlierState:
    """Whether one endpoint is ejected, in its slow start or failing its health checks.

    Args:
        settings: When an endpoint is ejected, and for how long.
        since: When it joined the pool, in seconds, minus infinity: it needs no slow start.
    """

    __slots__ = ("_settings", "_slow_start_began", "_span", "_verdict", "ejected", "failures", "until")

    def __init__(self, settings: LoadBalancing, since: float = -math.inf) -> None:
        self._settings = settings
        self._span = settings.ejection_time
        self._slow_start_began = since
        check = settings.health_check
        self._verdict = Verdict(1, 1) if check is None else Verdict(check.rise, check.fall)
        self.failures = 0
        """Failures in a row. An ejection does not reset them, so one more failure after it ejects again."""
        self.ejected = False
        """Whether the endpoint is passed over for its failures or its slowness."""
        self.until = -math.inf
        """When the latest ejection ends, in seconds."""

    @property
    def passes_checks(self) -> bool:
        """The verdict of the health checks, true before the first, and without any."""
        return self._verdict.state is not HealthState.DOWN

    @property
    def healthy(self) -> bool:
        """Whether the endpoint passes its health checks and is not ejected."""
        return self.passes_checks and not self.ejected

    def weight(self, now: float) -> float:
        """Its share of a full load, ``MIN_WEIGHT`` to 1: less than 1 in a slow start."""
        passed, whole = now - self._slow_start_began, self._settings.slow_start
        return 1.0 if passed >= whole else max(MIN_WEIGHT, passed / whole)

    def start_slowly(self, now: float) -> None:
        """Begin a slow start, because the endpoint has just come back."""
        self._slow_start_began = now

    def eject(self, now: float, rng: random.Random) -> None:
        """Eject the endpoint, for twice as long as the last time unless it has been healthy for long since."""
        settings = self._settings
        # A short recovery does not count as one: an endpoint that fails again soon would otherwise get its full share
        # over and over, with every ejection as short as the first.
        if now - self.until >= settings.max_ejection_time:
            self._span = settings.ejection_time
        span = min(self._span, settings.max_ejection_time)
        self._span = 2 * span
        self.ejected = True
        self.until = now + span * rng.uniform(1, _JITTER)

    def readmit(self, now: float) -> None:
        """End the ejection and begin a slow start."""
        self.ejected = False
        self.start_slowly(now)

    def checked(self, good: bool, now: float) -> None:
        """Record a health check. The first decides. After that it takes several in a row to change the verdict."""
        passed_before = self.passes_checks
        self._verdict.learn(HealthState.UP if good else HealthState.DOWN, now)
        if self.passes_checks and not passed_before:
            self.start_slowly(now)
