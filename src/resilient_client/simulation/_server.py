"""An upstream at its address: replicas behind it, and the timetable of what befalls them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from random import Random

from resilient_client.simulation._changes import Change, Outage
from resilient_client.simulation._replica import Replica
from resilient_client.simulation._tally import UpstreamTally
from resilient_client.simulation._upstream import Upstream


class Server:
    """What clients find at ``http://name``.

    Attributes:
        upstream: Its description.
        tally: What it counts.
        quiet_from: When the last request now on the wire will have come, in seconds of the run.
        outages: How many outages have begun: connections from before one are gone.
    """

    __slots__ = ("_replicas", "_rng", "_timers", "outages", "quiet_from", "tally", "upstream")

    def __init__(self, upstream: Upstream, tally: UpstreamTally, replicas: Sequence[Replica], rng: Random) -> None:
        """Follow the timetable of ``upstream``, on the running loop.

        Args:
            upstream: The description.
            tally: What the replicas count in.
            replicas: All of them.
            rng: Chooses among them.
        """
        self.upstream = upstream
        self.tally = tally
        self.quiet_from = 0.0
        self.outages = 0
        self._replicas = tuple(replicas)
        self._rng = rng
        loop = asyncio.get_running_loop()
        changes = upstream.changes
        ends = [change.at + change.lasting for change in changes if change.lasting is not None]
        edges = sorted({*(change.at for change in changes), *ends})
        self._timers = [loop.call_at(at, partial(self._turn, at)) for at in edges]

    def pick(self) -> Replica:
        """The replica that gets the next request."""
        replicas = self._replicas
        return replicas[0] if len(replicas) == 1 else self._rng.choice(replicas)

    async def close(self) -> None:
        """Drop everything."""
        for timer in self._timers:
            timer.cancel()
        for replica in self._replicas:
            await replica.close()

    def _turn(self, at: float) -> None:
        """Put all replicas into the state of this time."""
        now = [change for change in self.upstream.changes if change.at <= at < change.ends]
        self.outages += any(isinstance(change, Outage) and change.at == at for change in now)
        for number, replica in enumerate(self._replicas):
            replica.become([change for change in now if _befalls(change, number)])


def _befalls(change: Change, replica: int) -> bool:
    return change.replica in (None, replica)
