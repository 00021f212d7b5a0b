"""How long things take: the laws that service times, pauses and round trips are drawn from.

Descriptions that can draw. Chance comes from outside (``rng``), and so does the load. A plain number stands for a
``Constant`` wherever one of these is wanted, and a function ``(rng, in_flight) -> seconds`` for a law of your own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from resilient_client._settings.base import PositiveSeconds, Seconds, Settings

Draw: TypeAlias = Callable[[Random, int], float]
"""A law of your own: the source of chance and the number of requests in hand (this one included) to seconds."""


class Constant(Settings):
    """Always the same."""

    kind: Literal["constant"] = "constant"
    seconds: Seconds
    """How long."""

    def draw(self, rng: Random, in_flight: int) -> float:
        """``seconds``."""
        del rng, in_flight
        return self.seconds


class Exponential(Settings):
    """Many short ones, few long ones: memoryless, as calls at a switchboard are."""

    kind: Literal["exponential"] = "exponential"
    mean: PositiveSeconds
    """The average."""

    def draw(self, rng: Random, in_flight: int) -> float:
        """One value."""
        del in_flight
        return rng.expovariate(1.0 / self.mean)


class Lognormal(Settings):
    """What services look like from outside: a hump with a long tail."""

    kind: Literal["lognormal"] = "lognormal"
    median: PositiveSeconds
    """Half of all values lie below."""
    sigma: Annotated[float, Field(ge=0, le=5)] = 0.5
    """The width; at 0.5 the 99th percentile is 3.2 medians, at 1.0 it is 10."""

    def draw(self, rng: Random, in_flight: int) -> float:
        """One value."""
        del in_flight
        return rng.lognormvariate(math.log(self.median), self.sigma)


class LoadDependent(Settings):
    """Slower the more is in hand: ``base`` and ``per_request`` for each, as where all share a CPU or a lock."""

    kind: Literal["load_dependent"] = "load_dependent"
    base: Seconds
    """Seconds without load."""
    per_request: Seconds
    """Seconds more for each request in hand, this one included."""

    def draw(self, rng: Random, in_flight: int) -> float:
        """The value at this load."""
        del rng
        return self.base + self.per_request * in_flight


class Share(Settings):
    """A part of a ``Mixture``."""

    share: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Its weight; weights need not add up to one."""
    of: Distribution
    """The law of this part."""


class Mixture(Settings):
    """Now this law, now that: 98 cache hits and 2 misses, say."""

    kind: Literal["mixture"] = "mixture"
    parts: Annotated[tuple[Share, ...], Field(min_length=1)]
    """The laws with their weights."""

    def draw(self, rng: Random, in_flight: int) -> float:
        """One value of one part."""
        (part,) = rng.choices(self.parts, [part.share for part in self.parts])
        return drawing(part.of)(rng, in_flight)


def _plain_number(value: object) -> object:
    """A number, or text such as ``"50ms"``, is a ``Constant``."""
    return {"kind": "constant", "seconds": value} if isinstance(value, int | float | str) else value


_KINDS = (Constant, Exponential, Lognormal, LoadDependent, Mixture)
_Known: TypeAlias = Annotated[Constant | Exponential | Lognormal | LoadDependent | Mixture, Field(discriminator="kind")]
Distribution: TypeAlias = Annotated[_Known | Draw, BeforeValidator(_plain_number)]
"""Any of these laws, a plain number of seconds, or a function of your own."""


def drawing(law: Distribution) -> Draw:
    """What draws from a law."""
    return law.draw if isinstance(law, _KINDS) else law
