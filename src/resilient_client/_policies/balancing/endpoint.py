"""What the balancer keeps of one endpoint, and the snapshot of it that users see."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from yarl import URL

from resilient_client._core.cache import BoundedCache
from resilient_client._core.endpoint import Endpoint
from resilient_client._policies.balancing.outlier_ejection import OutlierState
from resilient_client._policies.balancing.peak_ewma import Latency
from resilient_client._settings.load_balancing import LoadBalancing

_MAX_URLS: Final = 256
_MAX_BYTES: Final = 1024 * 1024


class EndpointState(NamedTuple):
    """A snapshot of one endpoint's state, as ``api.endpoints`` reports it.

    Attributes:
        in_flight: Attempts in flight. A stream counts until its body is closed.
        latency: Seconds that the next reply is expected to take, pessimistic after a slow reply or a failure.
        healthy: The verdict of the health checks, true without them.
        ejected_for: Seconds for which it is still ejected, for its failures or its slowness, 0 if it is not.
        weight: Its share of a full load, 0.1 to 1: less than 1 in the slow start after it came back.
        admits: Whether its circuit would admit an attempt.
    """

    in_flight: int
    latency: float
    healthy: bool
    ejected_for: float
    weight: float
    admits: bool


class EndpointStats:
    """What is known of one endpoint of a pool.

    Attributes:
        url: Its base URL.
        urls: What the URLs of calls, below another base URL, are at this endpoint.
        endpoint: The endpoint.
        in_flight: Attempts in flight, open streams included.
        unanswered: Attempts in flight without an answer so far.
        silent_since: When it last answered one of these, or when the first of them was sent, in seconds.
        served_at: When it last gave a good answer, in seconds, minus infinity: never.
        latency: The estimate of its latency.
        outlier_state: Whether it is healthy or ejected.
    """

    __slots__ = (
        "endpoint",
        "in_flight",
        "latency",
        "outlier_state",
        "served_at",
        "silent_since",
        "unanswered",
        "url",
        "urls",
    )

    def __init__(self, url: URL, settings: LoadBalancing, since: float = -math.inf) -> None:
        self.url = url
        self.urls: BoundedCache[URL, URL] = BoundedCache(_MAX_URLS, _MAX_BYTES)
        self.endpoint = Endpoint.of(url)
        self.in_flight = 0
        self.unanswered = 0
        self.silent_since = 0.0
        self.served_at = -math.inf
        self.latency = Latency(settings.decay)
        self.outlier_state = OutlierState(settings, since)

    def expected(self, now: float, typical: float) -> float:
        """Seconds that the next reply is expected to take.

        While attempts are unanswered, this is at least as long as the silence lasts: an endpoint that hangs is
        avoided long before an attempt times out.
        """
        seconds = self.latency.estimate(now, typical)
        if self.unanswered and now - self.silent_since > seconds:
            return now - self.silent_since
        return seconds

    def load(self, now: float, typical: float) -> float:
        """Seconds until a reply if the attempts were served one after the other.

        In a slow start, each attempt in flight counts as more than one. An idle endpoint is not made to look slow by
        that: with few attempts at once, it would lose every comparison until the last seconds of its slow start.
        """
        in_flight: float = self.in_flight
        if in_flight:
            in_flight /= self.outlier_state.weight(now)
        return self.expected(now, typical) * (in_flight + 1)

    def state(self, now: float, typical: float, admits: bool) -> EndpointState:
        """The snapshot of its state at ``now``."""
        outlier_state = self.outlier_state
        return EndpointState(
            in_flight=self.in_flight,
            latency=self.expected(now, typical),
            healthy=outlier_state.passes_checks,
            ejected_for=max(0.0, outlier_state.until - now) if outlier_state.ejected else 0.0,
            weight=outlier_state.weight(now),
            admits=admits,
        )
