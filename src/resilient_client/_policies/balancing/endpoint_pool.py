"""The endpoints of one client and what is known of each. An endpoint that fails or is slow is ejected.

The pool learns from attempts in flight and from health checks. It never sends, waits or reads a clock. Which of the
endpoints that are left gets an attempt is the balancer's choice.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from yarl import URL

from resilient_client._core.endpoint import Endpoint
from resilient_client._policies.balancing.endpoint import EndpointStats
from resilient_client._settings.load_balancing import LoadBalancing

INITIAL_TYPICAL: Final = 0.05
"""Seconds that a reply is assumed to take before any is measured."""
FAILURE_COST: Final = 10.0
"""What a failure adds to the load of an endpoint, in typical latencies: quick failures must not attract attempts."""

_MARGIN: Final = 2.0  # of what is typical, within which a slow endpoint cannot be missed

OnChange: TypeAlias = Callable[[Endpoint, str], None]
"""Called with an endpoint that was ejected or failed its health checks, and the reason, or ``""`` when it is back."""


class InFlight:
    """One attempt in flight to one endpoint. It is settled at most once, and released in every case.

    ``success``, ``failure`` and ``throttled`` settle it. ``now`` is the time and ``elapsed`` the duration of the
    attempt, both in seconds.
    """

    __slots__ = ("_endpoint_pool", "_held", "_unanswered", "stats")

    def __init__(self, endpoint_pool: EndpointPool, stats: EndpointStats, now: float) -> None:
        self._endpoint_pool = endpoint_pool
        self._held = self._unanswered = True
        self.stats = stats
        if not stats.unanswered:
            stats.silent_since = now
        stats.unanswered += 1
        stats.in_flight += 1

    def success(self, now: float, elapsed: float | None) -> None:
        """Record a good answer. ``elapsed`` is ``None`` if it does not measure this endpoint."""
        stats = self.stats
        stats.silent_since = stats.served_at = now
        if self._unanswered:
            self._unanswered = False
            stats.unanswered -= 1
        stats.outlier_state.failures = 0
        if elapsed is not None:
            self._endpoint_pool.observe(stats, now, elapsed)

    def failure(self, now: float, elapsed: float, *, silent: bool = False) -> None:
        """Record a failure, ``silent`` if the endpoint did not answer at all in this time."""
        self.stats.outlier_state.failures += 1
        if silent:
            self._endpoint_pool.observe(self.stats, now, elapsed)
        else:
            self._record_answer(now)
        self._endpoint_pool.penalize(self.stats, now, elapsed)
        self._endpoint_pool.maybe_eject(self.stats, now)

    def throttled(self, now: float, elapsed: float) -> None:
        """Record that it asked for fewer requests: it is healthy, but other endpoints are the better choice."""
        self._record_answer(now)
        self.stats.outlier_state.failures = 0
        self._endpoint_pool.penalize(self.stats, now, elapsed)

    def release(self) -> None:
        """End the attempt. May be called again."""
        if self._held:
            self._held = False
            self.stats.in_flight -= 1
            if self._unanswered:
                self._stop_waiting()

    def _record_answer(self, now: float) -> None:
        self.stats.silent_since = now
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._unanswered:
            self._unanswered = False
            self.stats.unanswered -= 1


class EndpointPool:
    """The endpoints of one client, in order.

    Attributes:
        endpoints: What is known of each endpoint.
        all_healthy: Whether every endpoint is healthy.
        typical: Seconds that a reply typically takes, over all endpoints.
        next_back: When the next ejection ends, in seconds, infinity: none.

    Args:
        settings: When an endpoint is ejected.
        urls: The base URL of each endpoint.
        rng: The random generator.
        on_change: Called when an endpoint is ejected or fails its health checks, and when it is back. It must not
            raise.
    """

    __slots__ = ("_on_change", "_rng", "_settings", "_unseen", "all_healthy", "endpoints", "next_back", "typical")

    def __init__(
        self, settings: LoadBalancing, urls: Iterable[URL], rng: random.Random, on_change: OnChange | None = None
    ) -> None:
        self._settings = settings
        self._rng = rng
        self._on_change = on_change
        self._unseen = 0  # replies since `typical` was last computed
        self.next_back = math.inf
        self.endpoints: tuple[EndpointStats, ...] = tuple(EndpointStats(url, settings) for url in urls)
        self.all_healthy = True
        self.typical = INITIAL_TYPICAL

    def replace(self, urls: Iterable[URL], now: float) -> None:
        """Replace the endpoints. Those that stay keep what is known of them. New ones begin with a slow start."""
        known = {stats.endpoint: stats for stats in self.endpoints}
        self.endpoints = tuple(known.get(Endpoint.of(url)) or EndpointStats(url, self._settings, now) for url in urls)
        self._update_summary()

    def healthy_of(self, endpoints: Sequence[EndpointStats]) -> Sequence[EndpointStats]:
        """The healthy ones of ``endpoints``, or all of them.

        All are returned if none is healthy, and if the healthy share of the whole pool is below ``panic_below``: so
        few would not bear the load of all.
        """
        healthy = [stats for stats in endpoints if stats.outlier_state.healthy]
        if not healthy or len(healthy) == len(endpoints):
            return endpoints
        count = sum(stats.outlier_state.healthy for stats in self.endpoints)
        return endpoints if count < self._settings.panic_below * len(self.endpoints) else healthy

    def readmit(self, now: float) -> None:
        """End the ejections whose time is over."""
        if now < self.next_back:
            return
        due = [stats for stats in self.endpoints if stats.outlier_state.ejected and now >= stats.outlier_state.until]
        for stats in due:
            stats.outlier_state.readmit(now)
            stats.latency.forget()
        self._update_summary()
        for stats in due:
            if stats.outlier_state.healthy:
                self._notify(stats, "")

    # -- learning ----------------------------------------------------------------------------------------------------

    def observe(self, stats: EndpointStats, now: float, elapsed: float) -> None:
        """Learn from a latency.

        The others are examined only once in as many replies as there are endpoints, and when this latency is large
        enough that it may eject. So the cost per reply does not grow with the pool.
        """
        stats.latency.observe(now, elapsed, self.typical)
        self._unseen += 1
        if self._unseen > len(self.endpoints):
            self._unseen = 0
            self.typical = _lower_median(self.endpoints) or self.typical
        ratio = self._settings.eject_slow
        if ratio is not None and elapsed > ratio * self.typical:
            self._judge_latency(stats, now, ratio)

    def penalize(self, stats: EndpointStats, now: float, elapsed: float) -> None:
        """Make the endpoint less attractive for a while."""
        stats.latency.penalize(now, max(elapsed, FAILURE_COST * self.typical), self.typical)

    def maybe_eject(self, stats: EndpointStats, now: float) -> None:
        """Eject the endpoint if it has failed too often in a row."""
        limit, failures = self._settings.eject_failures, stats.outlier_state.failures
        if limit is not None and failures >= limit:
            self._eject(stats, now, f"{failures} failures in a row")

    def checked(self, stats: EndpointStats, now: float, fault: str) -> None:
        """Record a health check. ``fault`` is what it found, ``""`` for a good answer."""
        was_healthy = stats.outlier_state.healthy
        stats.outlier_state.checked(not fault, now)
        self._update_summary()
        if stats.outlier_state.healthy and not was_healthy:
            stats.latency.forget()
        if stats.outlier_state.healthy is not was_healthy and stats in self.endpoints:
            self._notify(stats, f"health check: {fault}" if fault else "")

    def recovered(self, endpoint: Endpoint, now: float) -> None:
        """Begin a slow start, because the endpoint's circuit has closed."""
        for stats in self.endpoints:
            if stats.endpoint == endpoint:
                stats.outlier_state.failures = 0
                stats.outlier_state.start_slowly(now)
                stats.latency.forget()  # the failures raised the estimate, which would keep attempts away much longer

    # -- ejecting ----------------------------------------------------------------------------------------------------

    def _judge_latency(self, stats: EndpointStats, now: float, ratio: float) -> None:
        """Eject the endpoint if its median latency exceeds ``ratio`` times that of the other healthy ones."""
        own = stats.latency.median
        # One slow reply of an endpoint that is not slow is the usual case, and needs no look at the others. ``typical``
        # is not of this moment, hence the margin.
        if own is None or own <= ratio / _MARGIN * self.typical:
            return
        usual = _lower_median(other for other in self.endpoints if other is not stats and other.outlier_state.healthy)
        if usual is not None and own > ratio * usual:
            self._eject(stats, now, f"{own:.3g} s a reply, the others {usual:.3g} s")

    def _eject(self, stats: EndpointStats, now: float, reason: str) -> None:
        """Eject the endpoint unless too many are ejected or no other healthy one would remain."""
        outlier_state, endpoints = stats.outlier_state, self.endpoints
        if outlier_state.ejected or stats not in endpoints:
            return
        ejected = sum(other.outlier_state.ejected for other in endpoints)
        spared = any(other.outlier_state.healthy for other in endpoints if other is not stats)
        if spared and ejected < max(1, int(self._settings.max_ejected_ratio * len(endpoints))):
            was_healthy = outlier_state.healthy  # if not, its health checks have reported it already
            outlier_state.eject(now, self._rng)
            self._update_summary()
            if was_healthy:
                self._notify(stats, reason)

    def _update_summary(self) -> None:
        """Compute what every attempt needs, so that no attempt has to visit all endpoints."""
        self.all_healthy = all(stats.outlier_state.healthy for stats in self.endpoints)
        ends = (stats.outlier_state.until for stats in self.endpoints if stats.outlier_state.ejected)
        self.next_back = min(ends, default=math.inf)

    def _notify(self, stats: EndpointStats, reason: str) -> None:
        if self._on_change is not None:
            self._on_change(stats.endpoint, reason)


def _lower_median(endpoints: Iterable[EndpointStats]) -> float | None:
    """The lower median of the endpoints' medians: of two, the slow one must not count as typical."""
    medians = sorted(median for stats in endpoints if (median := stats.latency.median) is not None)
    return medians[(len(medians) - 1) // 2] if medians else None
