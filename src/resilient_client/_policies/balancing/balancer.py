"""Which of several endpoints gets the next attempt.

It asks, in this order: whose circuit admits; which of these has the call tried least; which of these is well; and
of those that are left, who is next by the strategy. Each answer is only a wish where it would leave nobody, but for
the first: an open circuit always refuses.

It never sends, waits or reads a clock. The endpoint middleware asks it for a lease and settles that; what becomes
known of the endpoints stands in the roster.
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

FAR: Final = 5.0
"""Times the typical latency, above which an endpoint is only picked if none is better."""


class Admissions(Protocol):
    """What the balancer needs of the circuits."""

    def would_admit(self, key: Endpoint, now: float) -> bool:
        """Whether the circuit would admit an attempt at ``now``."""
        ...

    def rejects_for(self, key: Endpoint, now: float) -> float:
        """Seconds from ``now`` in which it is sure to refuse."""
        ...


class Balancer:
    """Picks one of the endpoints of a roster for each attempt.

    Args:
        settings: The strategy.
        roster: The endpoints.
        rng: The source of chance.
        circuits: Who has a say in who is asked; ``None``: nobody.
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
        self._cursor = 0  # of the turn: who is next
        self.endpoint_pool = endpoint_pool
        self.strategy: Strategy = settings.strategy

    def pick(self, now: float, tried: Sequence[Endpoint] = (), refused: Sequence[Endpoint] = ()) -> InFlight | None:
        """Choose an endpoint for an attempt.

        Args:
            now: The time, in seconds.
            tried: Whom the call has asked before, once for each attempt.
            refused: Who has just refused this very attempt, and is not asked again.

        Returns:
            The lease, which the caller releases in every case; ``None`` if nobody admits.
        """
        endpoint_pool = self.endpoint_pool
        endpoint_pool.readmit(now)
        member = None if tried or refused else self._at_a_glance(now)
        if member is None:
            members = [m for m in endpoint_pool.members if m.endpoint not in refused and self._admits(m, now)]
            if not members:
                return None
            member = self._choose(endpoint_pool.healthy_of(_least_tried(members, tried)), now)
        return InFlight(endpoint_pool, member, now)

    def rejects_for(self, now: float) -> float:
        """Seconds from ``now`` in which every circuit is sure to refuse; may be infinite."""
        return min(self._barred(now))

    def retry_after(self, now: float) -> float | None:
        """Seconds from ``now`` until the first of the open circuits is tried again; ``None`` if nobody knows."""
        return min((wait for wait in self._barred(now) if 0 < wait < math.inf), default=None)

    def failed_alone(self, endpoint: Endpoint, now: float, elapsed: float) -> bool:
        """Whether an attempt that took so long, and failed, says something of this endpoint alone.

        It took far longer than is typical, and another one that admits served meanwhile: so it is not the upstream
        as a whole that is overloaded.
        """
        return elapsed > FAR * self.endpoint_pool.typical and any(
            member.endpoint != endpoint and member.served_at > now - elapsed and self._admits(member, now)
            for member in self.endpoint_pool.members
        )

    def states(self, now: float) -> dict[Endpoint, EndpointState]:
        """How each endpoint fares at ``now`` (in seconds)."""
        self.endpoint_pool.readmit(now)
        typical = self.endpoint_pool.typical
        return {m.endpoint: m.state(now, typical, self._admits(m, now)) for m in self.endpoint_pool.members}

    # -- the circuits ------------------------------------------------------------------------------------------------

    def _admits(self, member: EndpointStats, now: float) -> bool:
        return self._circuits is None or self._circuits.would_admit(member.endpoint, now)

    def _barred(self, now: float) -> list[float]:
        circuits = self._circuits
        return [0.0 if circuits is None else circuits.rejects_for(m.endpoint, now) for m in self.endpoint_pool.members]

    # -- the strategies ----------------------------------------------------------------------------------------------

    def _at_a_glance(self, now: float) -> EndpointStats | None:
        """The usual choice, at a cost that does not grow with the roster; ``None``: it takes a look at everybody."""
        members = self.endpoint_pool.members
        if self.strategy != "least_loaded" or not self.endpoint_pool.all_healthy or len(members) == 1:
            return None
        member, other = self._two(members, now)
        return member if self._admits(member, now) and self._admits(other, now) and self._near(member, now) else None

    def _choose(self, members: Sequence[EndpointStats], now: float) -> EndpointStats:
        if len(members) == 1:
            return members[0]
        match self.strategy:
            case "least_loaded":
                return self._less_loaded(members, now)
            case "round_robin":
                return self._next_in_turn(members, now)
            case "ordered":
                return self._first_by_weight(members, now)

    def _less_loaded(self, members: Sequence[EndpointStats], now: float) -> EndpointStats:
        """The better of two; of all, if both are far from typical: in a small set, chance often draws two sick ones."""
        member, _ = self._two(members, now)
        if self._near(member, now):
            return member
        typical = self.endpoint_pool.typical
        return min(members, key=lambda each: each.load(now, typical))

    def _two(self, members: Sequence[EndpointStats], now: float) -> tuple[EndpointStats, EndpointStats]:
        """Two different ones, drawn by chance; the one with less to do first.

        The best of all would draw the callers of a whole fleet to one and the same endpoint; the better of two is
        nearly as good, and does not (Mitzenmacher, *The Power of Two Choices in Randomized Load Balancing*, 2001).
        """
        count, draw, typical = len(members), self._rng.random, self.endpoint_pool.typical
        number = int(draw() * count)
        first, second = members[number], members[(number + 1 + int(draw() * (count - 1))) % count]
        return (first, second) if first.load(now, typical) <= second.load(now, typical) else (second, first)

    def _near(self, member: EndpointStats, now: float) -> bool:
        return member.expected(now, self.endpoint_pool.typical) <= FAR * self.endpoint_pool.typical

    def _next_in_turn(self, members: Sequence[EndpointStats], now: float) -> EndpointStats:
        ring = self.endpoint_pool.members
        start = self._cursor % len(ring)
        turn = [member for member in (*ring[start:], *ring[:start]) if member in members]
        member = self._first_by_weight(turn, now)
        self._cursor = ring.index(member) + 1
        return member

    def _first_by_weight(self, members: Sequence[EndpointStats], now: float) -> EndpointStats:
        """The first; one in its slow start is passed over as often as its weight says."""
        for member in members:
            weight = member.outlier.weight(now)
            if weight == 1.0 or self._rng.random() < weight:
                return member
        return members[0]


def _least_tried(members: Sequence[EndpointStats], tried: Sequence[Endpoint]) -> Sequence[EndpointStats]:
    """Those that a call has asked least often."""
    if not tried:
        return members
    counts = [tried.count(member.endpoint) for member in members]
    fewest = min(counts)
    return [member for member, count in zip(members, counts, strict=True) if count == fewest]
