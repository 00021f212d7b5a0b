"""Which of several endpoints gets the next attempt.

The balancer narrows the endpoints down: first to those whose circuit admits, then to those that the call has tried
least, then to the healthy ones. The strategy picks one of the rest. A step that would leave no endpoint is skipped,
except the first: an open circuit always refuses.

The balancer never sends, waits or reads a clock. The endpoint middleware asks it for an attempt in flight and settles
that. What is known of the endpoints is kept in the endpoint pool.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Final, Protocol

from resilient_client._core.endpoint import Endpoint
from resilient_client._policies.balancing.endpoint import EndpointState, EndpointStats
from resilient_client._policies.balancing.endpoint_pool import EndpointPool, InFlight
from resilient_client._settings.load_balancing import LoadBalancing, Strategy

LAST_RESORT_RATIO: Final = 5.0
"""Times the typical latency, above which an endpoint is picked only if there is no better one."""


class Admissions(Protocol):
    """The part of the circuits that the balancer uses."""

    def would_admit(self, key: Endpoint, now: float) -> bool:
        """Whether the circuit would admit an attempt at ``now``."""
        ...

    def rejects_for(self, key: Endpoint, now: float) -> float:
        """Seconds from ``now`` for which the circuit is sure to refuse."""
        ...


class Balancer:
    """Picks one endpoint of a pool for each attempt.

    Args:
        settings: The strategy.
        endpoint_pool: The endpoints.
        rng: The random generator.
        circuits: The circuits of the endpoints. ``None``: every endpoint admits.
    """

    __slots__ = ("_circuits", "_cursor", "_rng", "endpoint_pool", "strategy")

    def __init__(
        self,
        settings: LoadBalancing,
        endpoint_pool: EndpointPool,
        rng: random.Random,
        circuits: Admissions | None = None,
    ) -> None:
        self._rng = rng
        self._circuits = circuits
        self._cursor = 0  # the position at which round_robin begins to search
        self.endpoint_pool = endpoint_pool
        self.strategy: Strategy = settings.strategy

    def pick(self, now: float, tried: Sequence[Endpoint] = (), refused: Sequence[Endpoint] = ()) -> InFlight | None:
        """Choose an endpoint for an attempt.

        Args:
            now: The time, in seconds.
            tried: The endpoints of the call's earlier attempts, one entry per attempt.
            refused: The endpoints that have refused this attempt already. They are not picked again.

        Returns:
            The attempt in flight, which the caller releases in every case, or ``None`` if no endpoint admits.
        """
        endpoint_pool = self.endpoint_pool
        if now >= endpoint_pool.next_back:
            endpoint_pool.readmit(now)
        stats = None if tried or refused else self._quick_pick(now)
        if stats is None:
            admitting = [s for s in endpoint_pool.endpoints if s.endpoint not in refused and self._admits(s, now)]
            if not admitting:
                return None
            stats = self._choose(endpoint_pool.healthy_of(_least_tried(admitting, tried)), now)
        return InFlight(endpoint_pool, stats, now)

    def rejects_for(self, now: float) -> float:
        """Seconds from ``now`` for which every circuit is sure to refuse, may be infinite."""
        return min(self._rejection_times(now))

    def retry_after(self, now: float) -> float | None:
        """Seconds from ``now`` until the first open circuit admits again, or ``None`` if that is not known."""
        return min((wait for wait in self._rejection_times(now) if 0 < wait < math.inf), default=None)

    def failed_alone(self, endpoint: Endpoint, now: float, elapsed: float) -> bool:
        """Whether a failed attempt of this duration indicates a fault of this endpoint alone.

        It does if the attempt took far longer than is typical while another endpoint that admits answered well: then
        the upstream as a whole is not overloaded.
        """
        return elapsed > LAST_RESORT_RATIO * self.endpoint_pool.typical and any(
            stats.endpoint != endpoint and stats.served_at > now - elapsed and self._admits(stats, now)
            for stats in self.endpoint_pool.endpoints
        )

    def states(self, now: float) -> dict[Endpoint, EndpointState]:
        """The state of each endpoint at ``now`` (in seconds)."""
        self.endpoint_pool.readmit(now)
        typical = self.endpoint_pool.typical
        return {s.endpoint: s.state(now, typical, self._admits(s, now)) for s in self.endpoint_pool.endpoints}

    # -- the circuits ------------------------------------------------------------------------------------------------

    def _admits(self, stats: EndpointStats, now: float) -> bool:
        return self._circuits is None or self._circuits.would_admit(stats.endpoint, now)

    def _rejection_times(self, now: float) -> list[float]:
        circuits, endpoints = self._circuits, self.endpoint_pool.endpoints
        return [0.0 if circuits is None else circuits.rejects_for(stats.endpoint, now) for stats in endpoints]

    # -- the strategies ----------------------------------------------------------------------------------------------

    def _quick_pick(self, now: float) -> EndpointStats | None:
        """Pick in the usual case, at a cost that does not grow with the pool, or ``None`` if every endpoint counts."""
        endpoints = self.endpoint_pool.endpoints
        if self.strategy != "least_loaded" or not self.endpoint_pool.all_healthy or len(endpoints) == 1:
            return None
        better, other = self._draw_two(endpoints, now)
        # Both must admit. If one does not, picking the other would not be the better of two: the full choice draws two
        # among those that admit.
        circuits = self._circuits
        if circuits is not None and not (
            circuits.would_admit(better.endpoint, now) and circuits.would_admit(other.endpoint, now)
        ):
            return None
        return better if self._is_near_typical(better, now) else None

    def _choose(self, candidates: Sequence[EndpointStats], now: float) -> EndpointStats:
        if len(candidates) == 1:
            return candidates[0]
        match self.strategy:
            case "least_loaded":
                return self._less_loaded(candidates, now)
            case "round_robin":
                return self._next_in_ring(candidates, now)
            case "ordered":
                return self._first_by_weight(candidates, now)

    def _less_loaded(self, candidates: Sequence[EndpointStats], now: float) -> EndpointStats:
        """The better of two random ones, or the best of all if both are far from typical.

        In a small set, two random endpoints are often both slow although a fast one is there.
        """
        better, _ = self._draw_two(candidates, now)
        if self._is_near_typical(better, now):
            return better
        typical = self.endpoint_pool.typical
        return min(candidates, key=lambda stats: stats.load(now, typical))

    def _draw_two(self, candidates: Sequence[EndpointStats], now: float) -> tuple[EndpointStats, EndpointStats]:
        """Draw two different endpoints at random. The one with the lower load comes first.

        The best of all would draw the callers of a whole fleet to the same endpoint. The better of two is nearly as
        good and does not (Mitzenmacher, *The Power of Two Choices in Randomized Load Balancing*, 2001).

        An endpoint in its slow start is passed over as often as its weight requires, however few attempts are in
        flight. Its load bounds it in the same way when there are many.
        """
        count, draw, typical = len(candidates), self._rng.random, self.endpoint_pool.typical
        number = int(draw() * count)
        # The second is drawn among the other count - 1 places after the first, so the two always differ.
        first, second = candidates[number], candidates[(number + 1 + int(draw() * (count - 1))) % count]
        if first.load(now, typical) > second.load(now, typical):
            first, second = second, first
        weight = first.outlier_state.weight(now)
        if weight < 1.0 and draw() * second.outlier_state.weight(now) >= weight:
            return second, first
        return first, second

    def _is_near_typical(self, stats: EndpointStats, now: float) -> bool:
        typical = self.endpoint_pool.typical
        return stats.expected(now, typical) <= LAST_RESORT_RATIO * typical

    def _next_in_ring(self, candidates: Sequence[EndpointStats], now: float) -> EndpointStats:
        ring = self.endpoint_pool.endpoints
        start = self._cursor % len(ring)
        in_order = [stats for stats in (*ring[start:], *ring[:start]) if stats in candidates]
        stats = self._first_by_weight(in_order, now)
        self._cursor = ring.index(stats) + 1
        return stats

    def _first_by_weight(self, candidates: Sequence[EndpointStats], now: float) -> EndpointStats:
        """Pick the first endpoint. One in its slow start is passed over as often as its weight requires."""
        for stats in candidates:
            weight = stats.outlier_state.weight(now)
            if weight == 1.0 or self._rng.random() < weight:
                return stats
        return candidates[0]


def _least_tried(candidates: Sequence[EndpointStats], tried: Sequence[Endpoint]) -> Sequence[EndpointStats]:
    """The endpoints that a call has tried least often."""
    if not tried:
        return candidates
    counts = [tried.count(stats.endpoint) for stats in candidates]
    fewest = min(counts)
    return [stats for stats, count in zip(candidates, counts, strict=True) if count == fewest]
