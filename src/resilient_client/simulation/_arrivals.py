"""Arrival processes: when callers start calls.

In the open model (``Poisson``, ``Steady``, ``Herd``) calls arrive whether or not earlier calls have ended, as they do
from many independent users. That is what makes overload dangerous. In a ``ClosedLoop`` each worker waits for its answer
before it calls again.
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
"""The start of a call: its time in seconds of the run, and the number of the client, counted from 0."""
Moments: TypeAlias = Callable[[Random, int], Iterator[Moment]]
"""A custom arrival process: from the random generator and the number of clients to moments in order of time. The
iterator may be endless."""

Rate: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RateChange(Settings):
    """Another rate for a while: a burst, a spike, a lull."""

    at: Seconds
    """When it begins, in seconds of the run."""
    lasting: PositiveSeconds | None = None
    """How many seconds it lasts. ``None``: until the end of the run."""
    rate: Rate
    """Calls per second of each client during the change. Where changes overlap, the latest in the list applies."""

    @property
    def ends(self) -> float:
        """When it ends, in seconds of the run; infinity if it does not end."""
        return math.inf if self.lasting is None else self.at + self.lasting


class _Open(Settings):
    """The base of arrival processes that have a rate."""

    rate: Rate
    """Calls per second of each client."""
    changes: tuple[RateChange, ...] = ()
    """Other rates for a while."""

    def _walk(self, clients: int, step: Callable[[], float]) -> Iterator[float]:
        """Yield each time at which the expected number of calls has grown by another ``step()``.

        This is time rescaling: arrivals of rate 1 are stretched by the integral of the actual rate. What is left of a
        step is carried over a change of the rate, so that arrivals are exact there. A new draw at each change would
        bias them.
        """
        changes_at = sorted({0.0, *(c.at for c in self.changes), *(c.ends for c in self.changes)} - {math.inf})
        due = step()
        for begins, ends in zip(changes_at, [*changes_at[1:], math.inf], strict=True):
            rate = self.rate_at(begins) * clients
            now = begins
            while rate and now + due / rate < ends:
                now += due / rate
                yield now
                due = step()
            due -= rate * (ends - now) if rate else 0.0

    def rate_at(self, time: float) -> float:
        """Calls per second of each client at this time."""
        return next((c.rate for c in reversed(self.changes) if c.at <= time < c.ends), self.rate)


class Poisson(_Open):
    """Calls at random times, independent of one another, as from many users."""

    kind: Literal["poisson"] = "poisson"

    def moments(self, rng: Random, clients: int) -> Iterator[Moment]:
        """Yield the time and the client of each call; the client is drawn at random."""
        for time in self._walk(clients, lambda: rng.expovariate(1.0)):
            yield time, rng.randrange(clients)


class Steady(_Open):
    """Calls at equal intervals, by each client in turn, as from a load generator."""

    kind: Literal["steady"] = "steady"

    def moments(self, rng: Random, clients: int) -> Iterator[Moment]:
        """Yield the time and the client of each call."""
        del rng
        for number, time in enumerate(self._walk(clients, lambda: 1.0)):
            yield time, number % clients


class Herd(Settings):
    """One call of every client at the same time, as after a restart, when a cache expires, or from a cron job."""

    kind: Literal["herd"] = "herd"
    at: Seconds = 0.0
    """The time of the calls, in seconds of the run."""
    every: PositiveSeconds | None = None
    """Seconds after which the calls are repeated, until the end of the run. ``None``: they are not repeated."""

    def moments(self, rng: Random, clients: int) -> Iterator[Moment]:
        """Yield the time and the client of each call."""
        del rng
        time = self.at
        while True:
            for client in range(clients):
                yield time, client
            if self.every is None:
                return
            time += self.every


class ClosedLoop(Settings):
    """Workers that call, wait for the answer, pause, and call again: a slow upstream is called less often."""

    kind: Literal["closed_loop"] = "closed_loop"
    workers: Annotated[int, Field(ge=1)] = 1
    """Workers of each client."""
    pause: Distribution = Constant(seconds=1.0)
    """Seconds between an answer and the next call, and before the first call."""


def _plain_rate(value: object) -> object:
    """Read a number as the rate of a ``Poisson``."""
    return {"kind": "poisson", "rate": value} if isinstance(value, int | float) else value


_Known: TypeAlias = Annotated[Poisson | Steady | Herd | ClosedLoop, Field(discriminator="kind")]
Arrivals: TypeAlias = Annotated[_Known | Moments, BeforeValidator(_plain_rate)]
"""One of these models, a number (the ``rate`` of a ``Poisson``), or a custom function."""
