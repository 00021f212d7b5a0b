"""Which of several endpoints gets the next attempt.

It asks, in this order: whose circuit admits; which of these has the call tried least; which of these is well; and
of those that are left, who is next by the strategy. Each answer is only a wish where it would leave nobody, but for
the first: an open circuit always refuses.

It never sends, waits or reads a clock. The endpoint middleware asks it for a lease and settles that, health checks
tell it what they found, people read it as ``api.endpoints``.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeAlias

from yarl import URL

from resilient_client.core.endpoint import Endpoint
from resilient_client.policies.member import EndpointState, Member
from resilient_client.settings.load_balancing import LoadBalancing

GUESS: Final = 0.05
"""Seconds that a reply is thought to take while nobody has measured any."""
FAILURE_COST: Final = 10.0
"""What a failure adds to the load of an endpoint, in typical latencies: quick failures must not attract."""


class Admissions(Protocol):
    """What the balancer needs of the circuits."""

    def would_admit(self, key: Endpoint, now: float) -> bool:
        """Whether the circuit would admit an attempt at ``now``."""
        ...

    def barred_for(self, key: Endpoint, now: float) -> float:
        """Seconds from ``now`` in which it is sure to refuse."""
        ...


class Lease:
    """One attempt at one endpoint: told at most once what came of it, and released in every case.

    ``now`` is the time and ``elapsed`` how long the attempt took, both in seconds.
    """

    __slots__ = ("_balancer", "_held", "_unanswered", "member")

    def __init__(self, balancer: Balancer, member: Member, now: float) -> None:
        self._balancer = balancer
        self._held = self._unanswered = True
        self.member = member
        if not member.unanswered:
            member.silent_since = now
        member.unanswered += 1
        member.in_flight += 1

    def success(self, now: float, elapsed: float | None) -> None:
        """It answered; ``None`` if how long that took is not known of this endpoint."""
        self._heard(now)
        self._balancer.learn(self.member, now, elapsed)

    def failure(self, now: float, elapsed: float, *, silent: bool = False) -> None:
        """It failed; ``silent`` if it did not answer at all in this time."""
        if not silent:
            self._heard(now)
        self._balancer.learn_failure(self.member, now, elapsed, silent=silent)

    def throttled(self, now: float, elapsed: float) -> None:
        """It asked for fewer requests: it is well, but others are the better choice."""
        self._heard(now)
        self._balancer.learn(self.member, now, None)
        self._balancer.penalize(self.member, now, elapsed)

    def release(self) -> None:
        """The attempt is over; may be called again."""
        if self._held:
            self._held = False
            self.member.in_flight -= 1
            self._no_longer_waits()

    def _heard(self, now: float) -> None:
        self.member.silent_since = now
        self._no_longer_waits()

    def _no_longer_waits(self) -> None:
        if self._unanswered:
            self._unanswered = False
            self.member.unanswered -= 1


OnChange: TypeAlias = Callable[[Endpoint, str], None]
"""Is told of an endpoint that was taken out, with the reason, or that is back, with ``""``."""


class Balancer:
    """The endpoints of one client, and what is known of each.

    Args:
        settings: The strategy, and when an endpoint is passed over.
        urls: The base URL of each endpoint, in order.
        rng: The source of chance.
        circuits: Who has a say in who is asked; ``None``: nobody.
        on_change: Told when an endpoint is taken out or comes back; it must not raise.
    """

    __slots__ = ("_circuits", "_cursor", "_on_change", "_rng", "_settings", "_typical", "members")

    def __init__(
        self,
        settings: LoadBalancing,
        urls: Iterable[URL],
        rng: random.Random,
        circuits: Admissions | None = None,
        on_change: OnChange | None = None,
    ) -> None:
        self._settings = settings
        self._rng = rng
        self._circuits = circuits
        self._on_change = on_change
        self._typical = GUESS
        self._cursor = 0
        self.members: tuple[Member, ...] = tuple(Member(url, settings) for url in urls)

    @property
    def strategy(self) -> str:
        """Its name."""
        return self._settings.strategy

    def pick(self, now: float, tried: Sequence[Endpoint] = (), refused: Sequence[Endpoint] = ()) -> Lease | None:
        """Choose an endpoint for an attempt.

        Args:
            now: The time, in seconds.
            tried: Whom the call has asked before, once for each attempt.
            refused: Who has just refused this very attempt, and is not asked again.

        Returns:
            The lease, which the caller releases in every case; ``None`` if nobody admits.
        """
        self._let_back(now)
        members = [m for m in self.members if m.endpoint not in refused and self._admits(m, now)]
        if not members:
            return None
        if tried:
            members = _least_tried(members, tried)
        members = self._well(members)
        return Lease(self, members[0] if len(members) == 1 else self._choose(members, now), now)

    def barred_for(self, now: float) -> float:
        """Seconds from ``now`` in which every circuit is sure to refuse; may be infinite."""
        circuits = self._circuits
        return 0.0 if circuits is None else min(circuits.barred_for(m.endpoint, now) for m in self.members)

    def retry_after(self, now: float) -> float | None:
        """Seconds from ``now`` until the first of the open circuits is tried again; ``None`` if nobody knows."""
        if self._circuits is None:
            return None
        barred = [self._circuits.barred_for(member.endpoint, now) for member in self.members]
        return min((wait for wait in barred if 0 < wait < math.inf), default=None)

    def states(self, now: float) -> dict[Endpoint, EndpointState]:
        """How each endpoint fares at ``now`` (in seconds)."""
        self._let_back(now)
        return {member.endpoint: self._state(member, now) for member in self.members}

    # -- what becomes known ----------------------------------------------------------------------------------------

    def learn(self, member: Member, now: float, elapsed: float | None) -> None:
        """An attempt was answered."""
        member.standing.failures = 0
        if elapsed is None:
            return
        member.latency.observe(now, elapsed, self._typical)
        self._judge_latency(member, now)

    def learn_failure(self, member: Member, now: float, elapsed: float, *, silent: bool) -> None:
        """An attempt failed."""
        standing = member.standing
        standing.failures += 1
        if silent:
            member.latency.observe(now, elapsed, self._typical)
            self._judge_latency(member, now)
        self.penalize(member, now, elapsed)
        limit = self._settings.eject_failures
        if limit is not None and standing.failures >= limit:
            self._eject(member, now, f"{standing.failures} failures in a row")

    def penalize(self, member: Member, now: float, elapsed: float) -> None:
        """Let the others look better for a while."""
        member.latency.penalize(now, max(elapsed, FAILURE_COST * self._typical), self._typical)

    def checked(self, member: Member, now: float, trouble: str) -> None:
        """A health check was made; ``trouble`` is what it found, ``""`` if all is well."""
        was_well = member.standing.well
        member.standing.checked(not trouble, now)
        if member.standing.well is not was_well and member in self.members:
            self._tell(member, f"health check: {trouble}" if trouble else "")

    def recovered(self, endpoint: Endpoint, now: float) -> None:
        """Its circuit has closed: it is not to get its full share at once."""
        for member in self.members:
            if member.endpoint == endpoint:
                member.standing.failures = 0
                member.standing.start_slowly(now)

    def replace(self, urls: Iterable[URL], now: float) -> None:
        """Have these endpoints from now on. What is known of those that stay is kept; new ones start slowly."""
        known = {member.endpoint: member for member in self.members}
        self.members = tuple(known.get(Endpoint.of(url)) or Member(url, self._settings, now) for url in urls)

    # -- who is left -------------------------------------------------------------------------------------------------

    def _admits(self, member: Member, now: float) -> bool:
        return self._circuits is None or self._circuits.would_admit(member.endpoint, now)

    def _well(self, members: list[Member]) -> list[Member]:
        """Those that are well, unless that is nobody, or so few of all that they would not bear the load."""
        well = [member for member in members if member.standing.well]
        if not well or len(well) == len(members):
            return members
        all_well = sum(member.standing.well for member in self.members)
        return members if all_well < self._settings.panic_below * len(self.members) else well

    def _choose(self, members: list[Member], now: float) -> Member:
        match self._settings.strategy:
            case "least_loaded":
                return self._less_loaded(members, now)
            case "round_robin":
                return self._next_in_turn(members, now)
            case "ordered":
                return self._first_by_weight(members, now)

    def _less_loaded(self, members: list[Member], now: float) -> Member:
        """The better of two drawn by chance.

        The best of all would draw the callers of a whole fleet to one and the same endpoint; two choices are nearly
        as good, and do not (Mitzenmacher, *The Power of Two Choices in Randomized Load Balancing*, 2001).
        """
        count, draw = len(members), self._rng.random
        first = int(draw() * count)
        second = (first + 1 + int(draw() * (count - 1))) % count
        a, b = members[first], members[second]
        return a if a.load(now, self._typical) <= b.load(now, self._typical) else b

    def _next_in_turn(self, members: list[Member], now: float) -> Member:
        ring = self.members
        start = self._cursor % len(ring)
        turn = [member for member in (*ring[start:], *ring[:start]) if member in members]
        member = self._first_by_weight(turn, now)
        self._cursor = ring.index(member) + 1
        return member

    def _first_by_weight(self, members: list[Member], now: float) -> Member:
        """The first; one in its slow start is passed over as often as its weight says."""
        for member in members:
            weight = member.standing.weight(now)
            if weight == 1.0 or self._rng.random() < weight:
                return member
        return members[0]

    # -- who is taken out --------------------------------------------------------------------------------------------

    def _judge_latency(self, member: Member, now: float) -> None:
        """See what is typical now, and whether this one is far from it."""
        medians = sorted(median for m in self.members if (median := m.latency.median) is not None)
        if medians:
            self._typical = _lower_median(medians)
        own, ratio = member.latency.median, self._settings.eject_slow
        if own is None or ratio is None or own <= ratio * medians[0]:
            return
        others = [m.latency.median for m in self.members if m is not member and m.standing.well]
        known = sorted(median for median in others if median is not None)
        if known and own > ratio * (usual := _lower_median(known)):
            self._eject(member, now, f"{own:.3g} s a reply, the others {usual:.3g} s")

    def _eject(self, member: Member, now: float, reason: str) -> None:
        """Take it out, if the others can spare it."""
        standing, members = member.standing, self.members
        if standing.ejected or member not in members:
            return
        ejected = sum(m.standing.ejected for m in members)
        if ejected >= max(1, int(self._settings.max_ejected * len(members))):
            return
        if any(m.standing.well for m in members if m is not member):
            news = standing.well
            standing.eject(now, self._rng)
            if news:
                self._tell(member, reason)

    def _let_back(self, now: float) -> None:
        """End the ejections whose time is over."""
        for member in self.members:
            standing = member.standing
            if standing.ejected and now >= standing.until:
                standing.let_back(now)
                member.latency.forget()
                if standing.healthy:
                    self._tell(member, "")

    def _tell(self, member: Member, reason: str) -> None:
        if self._on_change is not None:
            self._on_change(member.endpoint, reason)

    def _state(self, member: Member, now: float) -> EndpointState:
        standing = member.standing
        return EndpointState(
            in_flight=member.in_flight,
            latency=member.latency.estimate(now, self._typical),
            healthy=standing.healthy,
            ejected_for=max(0.0, standing.until - now) if standing.ejected else 0.0,
            weight=standing.weight(now),
            admits=self._admits(member, now),
        )


def _least_tried(members: list[Member], tried: Sequence[Endpoint]) -> list[Member]:
    """Those that a call has asked least often."""
    counts = [tried.count(member.endpoint) for member in members]
    fewest = min(counts)
    return [member for member, count in zip(members, counts, strict=True) if count == fewest]


def _lower_median(ordered: Sequence[float]) -> float:
    """The middle; of two middle ones the smaller, so that the sick half of a few does not pass for usual."""
    return ordered[(len(ordered) - 1) // 2]
