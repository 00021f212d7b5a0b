"""Distributions of service times, pauses and round trips.

A distribution draws from the random generator that is passed to it, and may depend on the load, which is passed too.
Wherever a distribution is expected, a number stands for a ``Constant``, and a function ``(rng, in_flight) -> seconds``
for a custom distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from resilient_client._settings.base import PositiveSeconds, Seconds, Settings

Draw: TypeAlias = Callable[[Random, int], float]
"""A custom distribution: from the random generator and the number of requests in progress (this one included) to
seconds."""


class Constant(Settings):
    """Always the same value."""

    kind: Literal["constant"] = "constant"
    seconds: Seconds
    """The value."""

    def draw(self, rng: Random, in_flight: int) -> float:
        """Return ``seconds``."""
        del rng, in_flight
        return self.seconds


class Exponential(Settings):
    """The memoryless distribution: many short values and few long ones, like telephone calls."""

    kind: Literal["exponential"] = "exponential"
    mean: PositiveSeconds
    """The mean."""

    def draw(self, rng: Random, in_flight: int) -> float:
        """Draw one value."""
        del in_flight
        return rng.expovariate(1.0 / self.mean)


class Lognormal(Settings):
    """A hump with a long tail, as the latencies of many services have."""

    kind: Literal["lognormal"] = "lognormal"
    median: PositiveSeconds
    """The median: half of all values are below it."""
    sigma: Annotated[float, Field(ge=0, le=5)] = 0.5
    """The width. At 0.5 the 99th percentile is 3.2 medians, at 1.0 it is 10."""

    def draw(self, rng: Random, in_flight: int) -> float:
        """Draw one value."""
        del in_flight
        return rng.lognormvariate(math.log(self.median), self.sigma)


class LoadDependent(Settings):
    """A time that grows with the load, as where all requests share a CPU or a lock."""

    kind: Literal["load_dependent"] = "load_dependent"
    base: Seconds
    """Seconds without load."""
    per_request: Seconds
    """Additional seconds for each request in progress, this one included."""

    def draw(self, rng: Random, in_flight: int) -> float:
        """Return the value at this load."""
        del rng
        return self.base + self.per_request * in_flight


class Share(Settings):
    """One part of a ``Mixture``."""

    share: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Its weight. Weights need not add up to one."""
    of: Distribution
    """The distribution of this part."""


class Mixture(Settings):
    """A weighted choice among distributions, for example 98 cache hits and 2 misses."""

    kind: Literal["mixture"] = "mixture"
    parts: Annotated[tuple[Share, ...], Field(min_length=1)]
    """The distributions with their weights."""

    def draw(self, rng: Random, in_flight: int) -> float:
        """Choose a part and draw one value from it."""
        (part,) = rng.choices(self.parts, [part.share for part in self.parts])
        return draw_of(part.of)(rng, in_flight)


def _plain_number(value: object) -> object:
    """Read a number, or text such as ``"50ms"``, as a ``Constant``."""
    return {"kind": "constant", "seconds": value} if isinstance(value, int | float | str) else value


_KINDS = (Constant, Exponential, Lognormal, LoadDependent, Mixture)
_Known: TypeAlias = Annotated[Constant | Exponential | Lognormal | LoadDependent | Mixture, Field(discriminator="kind")]
Distribution: TypeAlias = Annotated[_Known | Draw, BeforeValidator(_plain_number)]
"""One of these models, a number of seconds, or a custom function."""


def draw_of(distribution: Distribution) -> Draw:
    """Return the function that draws from a distribution."""
    return distribution.draw if isinstance(distribution, _KINDS) else distribution
