"""A running upstream: its replicas, and the schedule of its changes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from random import Random

from resilient_client.simulation._changes import Change, Outage
from resilient_client.simulation._replica import Replica
from resilient_client.simulation._stats import UpstreamStats
from resilient_client.simulation._upstream import Upstream


class Server:
    """The upstream that clients reach at ``http://name``.

    Attributes:
        upstream: The description of the upstream.
        stats: The statistics of all its replicas.
        quiet_from: When the last request that is on the wire will arrive, in seconds of the run.
        outages: How many outages have begun. Connections from before the latest one are closed.
    """

    __slots__ = ("_replicas", "_rng", "_timers", "outages", "quiet_from", "stats", "upstream")

    def __init__(self, upstream: Upstream, stats: UpstreamStats, replicas: Sequence[Replica], rng: Random) -> None:
        """Schedule the changes of ``upstream`` on the running loop.

        Args:
            upstream: The description of the upstream.
            stats: The statistics that the replicas count in.
            replicas: All replicas.
            rng: The random generator that chooses a replica for each request.
        """
        self.upstream = upstream
        self.stats = stats
        self.quiet_from = 0.0
        self.outages = 0
        self._replicas = tuple(replicas)
        self._rng = rng
        loop = asyncio.get_running_loop()
        changes = upstream.changes
        ends = [change.at + change.lasting for change in changes if change.lasting is not None]
        times = sorted({*(change.at for change in changes), *ends})
        self._timers = [loop.call_at(at, partial(self._apply_changes, at)) for at in times]

    def pick(self) -> Replica:
        """Choose the replica for the next request, at random."""
        replicas = self._replicas
        return replicas[0] if len(replicas) == 1 else self._rng.choice(replicas)

    async def close(self) -> None:
        """Cancel the schedule, and drop all requests in progress."""
        for timer in self._timers:
            timer.cancel()
        for replica in self._replicas:
            await replica.close()

    def _apply_changes(self, at: float) -> None:
        """Give all replicas the changes that are active at this time.

        The whole set is computed anew each time. That is simpler than to undo single changes, which may overlap.
        """
        active = [change for change in self.upstream.changes if change.at <= at < change.ends]
        self.outages += any(isinstance(change, Outage) and change.at == at for change in active)
        for number, replica in enumerate(self._replicas):
            replica.apply_changes([change for change in active if _affects(change, number)])


def _affects(change: Change, replica: int) -> bool:
    return change.replica in (None, replica)
