"""The endpoints of one client, and which of them are well: who fails or is slow is taken out, as far as may be.

It learns from leases and health checks, and never sends, waits or reads a clock. Who of those that are left gets an
attempt is the balancer's choice.
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

GUESS: Final = 0.05
"""Seconds that a reply is thought to take while nobody has measured any."""
FAILURE_COST: Final = 10.0
"""What a failure adds to the load of an endpoint, in typical latencies: quick failures must not attract."""

OnChange: TypeAlias = Callable[[Endpoint, str], None]
"""Is told of an endpoint that was taken out, with the reason, or that is back, with ``""``."""


class InFlight:
    """One attempt at one endpoint: told at most once what came of it, and released in every case.

    ``now`` is the time and ``elapsed`` how long the attempt took, both in seconds.
    """

    __slots__ = ("_endpoint_pool", "_held", "_unanswered", "member")

    def __init__(self, endpoint_pool: EndpointPool, member: EndpointStats, now: float) -> None:
        self._endpoint_pool = endpoint_pool
        self._held = self._unanswered = True
        self.member = member
        if not member.unanswered:
            member.silent_since = now
        member.unanswered += 1
        member.in_flight += 1

    def success(self, now: float, elapsed: float | None) -> None:
        """It answered; ``None`` if how long that took is not known of this endpoint."""
        self._heard(now)
        self.member.outlier.failures = 0
        self.member.served_at = now
        if elapsed is not None:
            self._endpoint_pool.observe(self.member, now, elapsed)

    def failure(self, now: float, elapsed: float, *, silent: bool = False) -> None:
        """It failed; ``silent`` if it did not answer at all in this time."""
        self.member.outlier.failures += 1
        if silent:
            self._endpoint_pool.observe(self.member, now, elapsed)
        else:
            self._heard(now)
        self._endpoint_pool.penalize(self.member, now, elapsed)
        self._endpoint_pool.maybe_eject(self.member, now)

    def throttled(self, now: float, elapsed: float) -> None:
        """It asked for fewer requests: it is well, but others are the better choice."""
        self._heard(now)
        self.member.outlier.failures = 0
        self._endpoint_pool.penalize(self.member, now, elapsed)

    def release(self) -> None:
        """The attempt is over; may be called again."""
        if self._held:
            self._held = False
            self.member.in_flight -= 1
            self._wait_no_longer()

    def _heard(self, now: float) -> None:
        self.member.silent_since = now
        self._wait_no_longer()

    def _wait_no_longer(self) -> None:
        if self._unanswered:
            self._unanswered = False
            self.member.unanswered -= 1


class EndpointPool:
    """The endpoints, in order, and what is known of each.

    Attributes:
        members: All of them.
        all_well: Whether nothing speaks against any of them.
        typical: Seconds that a reply of theirs typically takes.

    Args:
        settings: When an endpoint is passed over.
        urls: The base URL of each endpoint.
        rng: The source of chance.
        on_change: Told when an endpoint is taken out or comes back; it must not raise.
    """

    __slots__ = ("_next_back", "_on_change", "_rng", "_settings", "_unseen", "all_healthy", "members", "typical")

    def __init__(
        self, settings: LoadBalancing, urls: Iterable[URL], rng: random.Random, on_change: OnChange | None = None
    ) -> None:
        self._settings = settings
        self._rng = rng
        self._on_change = on_change
        self._unseen = 0  # replies since the last look at what is typical
        self._next_back = math.inf  # when the next ejection ends
        self.members: tuple[EndpointStats, ...] = tuple(EndpointStats(url, settings) for url in urls)
        self.all_healthy = True
        self.typical = GUESS

    def replace(self, urls: Iterable[URL], now: float) -> None:
        """Have these endpoints from now on. What is known of those that stay is kept; new ones start slowly."""
        known = {member.endpoint: member for member in self.members}
        self.members = tuple(known.get(Endpoint.of(url)) or EndpointStats(url, self._settings, now) for url in urls)
        self._review()

    def healthy_of(self, members: Sequence[EndpointStats]) -> Sequence[EndpointStats]:
        """Those that are well; all, if none of these is, or so few of the whole roster that they would not bear it."""
        well = [member for member in members if member.outlier.well]
        if not well or len(well) == len(members):
            return members
        count = sum(member.outlier.well for member in self.members)
        return members if count < self._settings.panic_below * len(self.members) else well

    def readmit(self, now: float) -> None:
        """End the ejections whose time is over."""
        if now < self._next_back:
            return
        due = [member for member in self.members if member.outlier.ejected and now >= member.outlier.until]
        for member in due:
            member.outlier.readmit(now)
            member.latency.forget()
        self._review()
        for member in due:
            if member.outlier.well:
                self._tell(member, "")

    # -- what becomes known ----------------------------------------------------------------------------------------

    def observe(self, member: EndpointStats, now: float, elapsed: float) -> None:
        """Learn from a latency; look at the others only where it may matter, and once in so many replies."""
        member.latency.observe(now, elapsed, self.typical)
        self._unseen += 1
        if self._unseen > len(self.members):
            self._unseen = 0
            self.typical = _lower_median(self.members) or self.typical
        ratio = self._settings.eject_slow
        if ratio is not None and elapsed > ratio * self.typical:
            self._judge_latency(member, now, ratio)

    def penalize(self, member: EndpointStats, now: float, elapsed: float) -> None:
        """Let the others look better for a while."""
        member.latency.penalize(now, max(elapsed, FAILURE_COST * self.typical), self.typical)

    def maybe_eject(self, member: EndpointStats, now: float) -> None:
        """Take it out if it has failed too often in a row."""
        limit, failures = self._settings.eject_failures, member.outlier.failures
        if limit is not None and failures >= limit:
            self._eject(member, now, f"{failures} failures in a row")

    def checked(self, member: EndpointStats, now: float, trouble: str) -> None:
        """A health check was made; ``trouble`` is what it found, ``""`` if all is well."""
        was_well = member.outlier.well
        member.outlier.checked(not trouble, now)
        self._review()
        if member.outlier.well is not was_well and member in self.members:
            self._tell(member, f"health check: {trouble}" if trouble else "")

    def recovered(self, endpoint: Endpoint, now: float) -> None:
        """Its circuit has closed: it is not to get its full share at once."""
        for member in self.members:
            if member.endpoint == endpoint:
                member.outlier.failures = 0
                member.outlier.start_slowly(now)

    # -- who is taken out --------------------------------------------------------------------------------------------

    def _judge_latency(self, member: EndpointStats, now: float, ratio: float) -> None:
        """Take it out if its latest replies took so many times as long as those of the others that are well."""
        own = member.latency.median
        usual = _lower_median(other for other in self.members if other is not member and other.outlier.well)
        if own is not None and usual is not None and own > ratio * usual:
            self._eject(member, now, f"{own:.3g} s a reply, the others {usual:.3g} s")

    def _eject(self, member: EndpointStats, now: float, reason: str) -> None:
        """Take it out, if the others can spare it."""
        outlier, members = member.outlier, self.members
        if outlier.ejected or member not in members:
            return
        ejected = sum(other.outlier.ejected for other in members)
        spared = any(other.outlier.well for other in members if other is not member)
        if spared and ejected < max(1, int(self._settings.max_ejected * len(members))):
            news = outlier.well
            outlier.eject(now, self._rng)
            self._review()
            if news:
                self._tell(member, reason)

    def _review(self) -> None:
        """Note what most attempts need to know."""
        self.all_healthy = all(member.outlier.well for member in self.members)
        ends = (member.outlier.until for member in self.members if member.outlier.ejected)
        self._next_back = min(ends, default=math.inf)

    def _tell(self, member: EndpointStats, reason: str) -> None:
        if self._on_change is not None:
            self._on_change(member.endpoint, reason)


def _lower_median(members: Iterable[EndpointStats]) -> float | None:
    """The middle one of their medians; of two the smaller, so that the sick half of a few does not pass for usual."""
    medians = sorted(median for member in members if (median := member.latency.median) is not None)
    return medians[(len(medians) - 1) // 2] if medians else None
