"""When a failing endpoint gets no more attempts, and how it is tried again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from resilient_client._settings.base import PositiveSeconds, Ratio, Settings


class CircuitBreaker(Settings):
    """One circuit per endpoint (scheme, host, port). Every attempt counts.

    A circuit opens when, within ``window`` and after ``minimum_calls``, the share of failures reaches
    ``failure_ratio``. After ``break_duration`` it admits ``half_open_probes`` probes. That many successes in a row
    close it. One failure opens it again, for up to twice as long.

    By default a circuit opens when no attempt succeeds any more (five attempts and ten seconds without an answer). It
    admits a probe every second, and closes on the first answer. A circuit that opens when half of the attempts fail
    refuses the other half, too: in simulations, lower ratios and longer breaks made fewer calls succeed.
    """

    _ordered = (("break_duration", "max_break_duration"),)

    failure_ratio: Annotated[Ratio, Field(gt=0)] = 0.99
    """The share of failed attempts, above 0 up to 1, that opens the circuit. The default means nearly all."""
    minimum_calls: Annotated[int, Field(ge=1)] = 5
    """Attempts in the window below which the ratios are not considered. Failed or slow attempts in a row count however
    long they took, if the pauses between them fit into the window together: a caller that waits for each answer of a
    hung endpoint gets one result per attempt timeout."""
    window: PositiveSeconds = 10.0
    """The length of the window in which attempts are counted, in seconds."""
    slow_call: PositiveSeconds | None = None
    """An attempt that takes longer than this many seconds counts as slow. ``None``: no attempt does."""
    slow_ratio: Annotated[Ratio, Field(gt=0)] = 1.0
    """The share of slow attempts that opens the circuit."""
    break_duration: PositiveSeconds = 1.0
    """Seconds of the first break, before jitter. It doubles with each failed recovery, up to ``max_break_duration``."""
    max_break_duration: PositiveSeconds = 1.0
    """The longest break in seconds, before jitter: it bounds how late a recovery is noticed."""
    half_open_probes: Annotated[int, Field(ge=1)] = 1
    """Probes at once while half-open, and the successes in a row that close the circuit. While probes hang, one more
    passes after each break."""
    mode: Literal["enforcing", "metrics_only", "disabled"] = "enforcing"
    """``metrics_only`` counts and reports but refuses nothing. ``disabled`` does neither."""
