"""How many attempts to one endpoint may be under way at once: a fixed number, or one that is learnt."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from resilient_client._settings.base import PositiveSeconds, Settings

_QUEUE_HINT = "a whole number, 0 or more; a queue without a bound only makes calls late that had better be refused"


class Bulkhead(Settings):
    """At most ``max_concurrent`` attempts at once to one endpoint; of the others, some wait and the rest is refused.

    Who waits is served first come, first served, but user before batch before probe: see ``priority`` of a call.
    """

    _hints: ClassVar[dict[str, str]] = {"max_concurrent": "a whole number, 1 or more", "max_queue": _QUEUE_HINT}

    max_concurrent: Annotated[int, Field(ge=1)]
    """Attempts under way at once; a streamed reply counts until it is closed."""
    max_queue: Annotated[int, Field(ge=0)] = 0
    """Attempts that may wait for a permit; any more are refused at once."""
    max_wait: PositiveSeconds | None = None
    """Seconds an attempt may wait for one, and never more than half of the time it has; ``None``: half of that."""

    @model_validator(mode="after")
    def _somebody_waits(self) -> Self:
        _check_wait(self.max_wait, self.max_queue)
        return self


class AdaptiveConcurrency(Settings):
    """A bulkhead that learns its size from the times the endpoint takes, and from timeouts.

    The law is that of Netflix's concurrency-limits, ``Gradient2Limit``: while answers take hardly longer than they
    usually do, the limit grows slowly; when they take more than ``tolerance`` times as long, they must be queueing
    over there, and it shrinks.
    """

    _hints: ClassVar[dict[str, str]] = {"max_queue": _QUEUE_HINT}
    _ordered = (("minimum", "initial"), ("initial", "maximum"), ("minimum", "maximum"))

    initial: Annotated[int, Field(ge=1)] = 20
    """Attempts at once to begin with; clipped to ``minimum`` and ``maximum``."""
    minimum: Annotated[int, Field(ge=1)] = 1
    """The limit never falls below."""
    maximum: Annotated[int, Field(ge=1)] = 200
    """The limit never rises above."""
    tolerance: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.5
    """How many times its usual time an answer may take before the limit shrinks."""
    max_queue: Annotated[int, Field(ge=0)] = 100
    """Attempts that may wait for a permit; any more are refused at once."""
    max_wait: PositiveSeconds | None = None
    """Seconds an attempt may wait for one, and never more than half of the time it has; ``None``: half of that."""

    @model_validator(mode="after")
    def _somebody_waits(self) -> Self:
        _check_wait(self.max_wait, self.max_queue)
        return self


def _check_wait(max_wait: float | None, max_queue: int) -> None:
    if max_wait is not None and max_queue == 0:
        raise ValueError(
            f"max_wait={max_wait:g} could never take effect, because max_queue is 0 and nobody waits; "
            "give max_queue too, or leave max_wait out"
        )
