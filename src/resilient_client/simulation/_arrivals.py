"""When callers call: the load that is offered, whatever becomes of it.

In the open model (``Poisson``, ``Steady``, ``Herd``) calls come whether or not earlier ones have ended, as from a
large public; that is what makes overload dangerous. In a ``ClosedLoop`` each worker waits for its answer first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from resilient_client._settings.base import PositiveSeconds, Seconds, Settings
from resilient_client.simulation._distributions import Constant, Distribution

Moment: TypeAlias = tuple[float, int]
"""A call: when, in seconds of the run, and by which client, counted from 0."""
Moments: TypeAlias = Callable[[Random, int], Iterator[Moment]]
"""Arrivals of your own: the source of chance and the number of clients to moments in order of time, endless or not."""

Rate: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RateChange(Settings):
    """Another rate for a while: a burst, a spike, a lull."""

    at: Seconds
    """When it begins, in seconds of the run."""
    lasting: PositiveSeconds | None = None
    """For how many seconds; ``None``: for good."""
    rate: Rate
    """Calls per second by each client, meanwhile; the latest of several that overlap counts."""

    @property
    def ends(self) -> float:
        """When it is over; infinity if never."""
        return math.inf if self.lasting is None else self.at + self.lasting


class _Open(Settings):
    """The base of arrivals that have a rate."""

    rate: Rate
    """Calls per second by each client."""
    changes: tuple[RateChange, ...] = ()
    """Other rates for a while."""

    def _walk(self, clients: int, step: Callable[[], float]) -> Iterator[float]:
        """Times at which the expected number of calls has grown by another ``step()``; exact across rate changes."""
        edges = sorted({0.0, *(c.at for c in self.changes), *(c.ends for c in self.changes)} - {math.inf})
        due = step()
        for begins, ends in zip(edges, [*edges[1:], math.inf], strict=True):
            rate = self.rate_at(begins) * clients
            now = begins
            while rate and now + due / rate < ends:
                now += due / rate
                yield now
                due = step()
            due -= rate * (ends - now) if rate else 0.0

    def rate_at(self, time: float) -> float:
        """Calls per second by each client at this time."""
        return next((c.rate for c in reversed(self.changes) if c.at <= time < c.ends), self.rate)


class Poisson(_Open):
    """Calls by chance, independent of one another: many people, each on their own."""

    kind: Literal["poisson"] = "poisson"

    def moments(self, rng: Random, clients: int) -> Iterator[Moment]:
        """When calls come, and whose they are."""
        for time in self._walk(clients, lambda: rng.expovariate(1.0)):
            yield time, rng.randrange(clients)


class Steady(_Open):
    """Calls like clockwork, the clients taking turns: a load generator."""

    kind: Literal["steady"] = "steady"

    def moments(self, rng: Random, clients: int) -> Iterator[Moment]:
        """When calls come, and whose they are."""
        del rng
        for number, time in enumerate(self._walk(clients, lambda: 1.0)):
            yield time, number % clients


class Herd(Settings):
    """All clients at once: a restart, a cache that expires, a cron job on the hour."""

    kind: Literal["herd"] = "herd"
    at: Seconds = 0.0
    """When, in seconds of the run."""
    every: PositiveSeconds | None = None
    """Again after so many seconds, for good; ``None``: once."""

    def moments(self, rng: Random, clients: int) -> Iterator[Moment]:
        """When calls come, and whose they are."""
        del rng
        time = self.at
        while True:
            for client in range(clients):
                yield time, client
            if self.every is None:
                return
            time += self.every


class ClosedLoop(Settings):
    """Workers that call, wait for the answer, pause, and call again: they cannot overload what slows down."""

    kind: Literal["closed_loop"] = "closed_loop"
    workers: Annotated[int, Field(ge=1)] = 1
    """Workers of each client."""
    pause: Distribution = Constant(seconds=1.0)
    """Seconds between an answer and the next call, and before the first."""


def _plain_rate(value: object) -> object:
    """A number is a ``Poisson`` rate."""
    return {"kind": "poisson", "rate": value} if isinstance(value, int | float) else value


_Known: TypeAlias = Annotated[Poisson | Steady | Herd | ClosedLoop, Field(discriminator="kind")]
Arrivals: TypeAlias = Annotated[_Known | Moments, BeforeValidator(_plain_rate)]
"""Any of these, a plain number (the ``rate`` of a ``Poisson``), or a function of your own."""
