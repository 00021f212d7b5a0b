"""When a second attempt is started alongside a slow first one."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from resilient_client._settings.base import PositiveSeconds, Ratio, Settings

Percentile = Annotated[str, Field(pattern=r"^p\d{2}(\.\d{1,2})?$")]
"""For example ``"p95"``: the time within which 95 of 100 attempts are answered."""


class Hedging(Settings):
    """A hedge is one more attempt while an answer takes unusually long. The first good answer wins.

    Hedged are only calls that may be repeated and whose body two attempts can send at once, and never streams or calls
    with ``retry=None``. See *The Tail at Scale* (Dean and Barroso, 2013).
    """

    _hints: ClassVar[dict[str, str]] = {
        "delay": "a percentile from 'p50' to 'p99.99', or seconds such as 0.05 or '50ms'",
    }

    delay: Percentile | PositiveSeconds = "p95"
    """How long an attempt may take before the next is started alongside it: seconds, or a percentile of the latencies
    of its route, which is learnt from the calls (at least 1 ms). Before enough is learnt, nothing is hedged."""
    max_hedges: Annotated[int, Field(ge=1, le=10)] = 1
    """Hedges per step of the retry, each started one ``delay`` after the latest attempt, or at once if one fails."""
    max_extra_load: Annotated[Ratio, Field(gt=0)] = 0.05
    """The share of hedges in the long run: what each answered call adds to the hedging budget, which starts at 10."""

    @field_validator("delay")
    @classmethod
    def _check_percentile(cls, value: str | float) -> str | float:
        if isinstance(value, str) and not 50 <= float(value[1:]) < 100:
            raise ValueError(f"{value!r} is not a percentile to hedge at; give one from 'p50' to 'p99.99', or seconds")
        return value

    @cached_property
    def share(self) -> float | None:
        """The percentile as a share, 0.5 to below 1, or ``None`` when the delay is fixed."""
        return float(self.delay[1:]) / 100 if isinstance(self.delay, str) else None

    @cached_property
    def fixed(self) -> float | None:
        """The delay in seconds, or ``None`` when it is a percentile."""
        return None if isinstance(self.delay, str) else self.delay
