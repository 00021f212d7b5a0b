"""One of several endpoints: what the balancer keeps of each, and what people see of it."""

from __future__ import annotations

import math
from typing import NamedTuple

from yarl import URL

from resilient_client._core.endpoint import Endpoint
from resilient_client._policies.balancing.outlier_ejection import OutlierState
from resilient_client._policies.balancing.peak_ewma import Latency
from resilient_client._settings.load_balancing import LoadBalancing


class EndpointState(NamedTuple):
    """How one of several endpoints fares; a snapshot.

    Attributes:
        in_flight: Attempts on their way; a stream counts until its body is closed.
        latency: Seconds that the next reply is expected to take; fears the worst after a slow one or a failure.
        healthy: What the health checks say; true without them.
        ejected_for: Seconds for which it is still passed over, for its failures or its slowness; 0: it is not.
        weight: Its share of a full one, 0.1 to 1: less in the slow start after it came back.
        admits: Whether its circuit would admit an attempt.
    """

    in_flight: int
    latency: float
    healthy: bool
    ejected_for: float
    weight: float
    admits: bool


class EndpointStats:
    """One endpoint of the set.

    Attributes:
        url: Its base URL.
        endpoint: Who it is.
        in_flight: Attempts on their way, open streams included.
        unanswered: Those of them that have no answer yet.
        silent_since: When it last answered one, or was asked the first of them; in seconds.
        served_at: When it last answered one well; minus infinity: never.
        latency: How long it takes.
        standing: Whether it is well.
    """

    __slots__ = ("endpoint", "in_flight", "latency", "outlier", "served_at", "silent_since", "unanswered", "url")

    def __init__(self, url: URL, settings: LoadBalancing, since: float = -math.inf) -> None:
        self.url = url
        self.endpoint = Endpoint.of(url)
        self.in_flight = 0
        self.unanswered = 0
        self.silent_since = 0.0
        self.served_at = -math.inf
        self.latency = Latency(settings.decay)
        self.outlier = OutlierState(settings, since)

    def expected(self, now: float, typical: float) -> float:
        """Seconds that the next reply is expected to take.

        While it is silent, at least as long as that: one that hangs is avoided long before an attempt times out.
        """
        seconds = self.latency.estimate(now, typical)
        return max(seconds, now - self.silent_since) if self.unanswered else seconds

    def load(self, now: float, typical: float) -> float:
        """Seconds until a reply, were the attempts served one after the other; more in a slow start."""
        return self.expected(now, typical) * (self.in_flight + 1) / self.outlier.weight(now)

    def state(self, now: float, typical: float, admits: bool) -> EndpointState:
        """How it fares at ``now``, for people."""
        outlier = self.outlier
        return EndpointState(
            in_flight=self.in_flight,
            latency=self.expected(now, typical),
            healthy=outlier.healthy,
            ejected_for=max(0.0, outlier.until - now) if outlier.ejected else 0.0,
            weight=outlier.weight(now),
            admits=admits,
        )
