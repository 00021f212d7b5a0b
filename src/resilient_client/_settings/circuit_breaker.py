"""When an endpoint that keeps failing is left alone, and how it is tried again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from resilient_client._settings.base import PositiveSeconds, Ratio, Settings


class CircuitBreaker(Settings):
    """One circuit per endpoint (scheme, host, port); every attempt counts.

    It opens when, within ``window`` and after ``minimum_calls``, the share of failures reaches
    ``failure_ratio``. After ``break_duration`` it lets ``half_open_probes`` probes through; that many
    successes in a row close it, one failure opens it again, for up to twice as long.

    By default it opens when nothing gets through any more (five attempts and ten seconds without an answer), asks
    again every second, and closes on the first answer. Whoever refuses at half the failures refuses the other half,
    which would have been answered; in simulations lower ratios and longer breaks made fewer calls succeed.
    """

    _ordered = (("break_duration", "max_break_duration"),)

    failure_ratio: Annotated[Ratio, Field(gt=0)] = 0.99
    """The share of failed attempts, above 0 to 1, that opens the circuit; the default means: next to all."""
    minimum_calls: Annotated[int, Field(ge=1)] = 5
    """Attempts in the window before the ratio means anything."""
    window: PositiveSeconds = 10.0
    """The stretch of the past that counts, in seconds."""
    slow_call: PositiveSeconds | None = None
    """An attempt slower than this many seconds counts as slow; ``None``: slowness does not count."""
    slow_ratio: Annotated[Ratio, Field(gt=0)] = 1.0
    """The share of slow attempts that opens the circuit."""
    break_duration: PositiveSeconds = 1.0
    """Seconds the circuit first stays open, before jitter; doubles with each failed recovery, up to the longest."""
    max_break_duration: PositiveSeconds = 1.0
    """The longest it stays open, in seconds, before jitter: how late a recovery may be noticed."""
    half_open_probes: Annotated[int, Field(ge=1)] = 1
    """Probes at once while half-open, and the successes in a row that close. While they hang, one more passes
    after each break."""
    mode: Literal["enforcing", "metrics_only", "disabled"] = "enforcing"
    """``metrics_only`` counts and reports but refuses nothing; ``disabled`` does neither."""
