"""When a second attempt is started beside a slow first one."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from resilient_client._settings.base import PositiveSeconds, Ratio, Settings

Percentile = Annotated[str, Field(pattern=r"^p\d{2}(\.\d{1,2})?$")]
"""``"p95"``: the time within which 95 of 100 attempts have their answer."""


class Hedging(Settings):
    """A hedge: one more attempt when the answer takes unusually long; the first good answer wins.

    Only for calls that may be repeated and whose body two attempts can send at once; never for streams, nor with
    ``retry=None``. See *The Tail at Scale* (Dean and Barroso, 2013).
    """

    _hints: ClassVar[dict[str, str]] = {
        "delay": "a percentile from 'p50' to 'p99.99', or seconds such as 0.05 or '50ms'",
    }

    delay: Percentile | PositiveSeconds = "p95"
    """How long an attempt is waited for before the next is started beside it: seconds, or a percentile of what
    attempts on this route take, learnt on the way (1 ms at the least). Before enough is learnt nothing is hedged."""
    max_hedges: Annotated[int, Field(ge=1, le=10)] = 1
    """Hedges for each attempt of the retry, one ``delay`` after the other."""
    max_extra: Annotated[Ratio, Field(gt=0)] = 0.05
    """The share of hedges in the long run: what each answered call adds to the budget of hedges, which starts at 10."""

    @field_validator("delay")
    @classmethod
    def _percentile_in_range(cls, value: str | float) -> str | float:
        if isinstance(value, str) and not 50 <= float(value[1:]) < 100:
            raise ValueError(f"{value!r} is no percentile to hedge at; give one from 'p50' to 'p99.99', or seconds")
        return value

    @cached_property
    def share(self) -> float | None:
        """The percentile as a share, 0.5 to below 1; ``None`` when the delay is fixed."""
        return float(self.delay[1:]) / 100 if isinstance(self.delay, str) else None

    @cached_property
    def fixed(self) -> float | None:
        """The delay in seconds; ``None`` when it is a percentile."""
        return None if isinstance(self.delay, str) else self.delay
