"""How many attempts to one endpoint may be in flight at once: a fixed number, or one that is learnt."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from resilient_client._settings.base import PositiveSeconds, Settings

_QUEUE_HINT = "a whole number, 0 or more; an unbounded queue only delays calls that had better be refused"


class Bulkhead(Settings):
    """At most ``max_concurrent`` attempts at once to one endpoint. Up to ``max_queue`` others wait, more are refused.

    Waiting attempts are served first come, first served, but user before batch before probe: see ``priority`` of a
    call.
    """

    _hints: ClassVar[dict[str, str]] = {"max_concurrent": "a whole number, 1 or more", "max_queue": _QUEUE_HINT}

    max_concurrent: Annotated[int, Field(ge=1)]
    """Attempts in flight at once. A streamed reply counts until it is closed."""
    max_queue: Annotated[int, Field(ge=0)] = 0
    """Attempts that may wait for a permit. Further ones are refused at once."""
    max_wait: PositiveSeconds | None = None
    """Seconds an attempt may wait for a permit, at most half of the time it has left. ``None``: half of that time."""

    @model_validator(mode="after")
    def _check_max_wait(self) -> Self:
        _reject_wait_without_queue(self.max_wait, self.max_queue)
        return self


class AdaptiveConcurrency(Settings):
    """A bulkhead that learns its size from the endpoint's latencies and from timeouts.

    The algorithm is ``Gradient2Limit`` of Netflix's concurrency-limits. While answers take hardly longer than usual,
    the limit grows slowly. When they take more than ``tolerance`` times as long, requests are queueing at the endpoint,
    and the limit shrinks.
    """

    _hints: ClassVar[dict[str, str]] = {"max_queue": _QUEUE_HINT}
    _ordered = (("min_limit", "initial"), ("initial", "max_limit"), ("min_limit", "max_limit"))

    initial: Annotated[int, Field(ge=1)] = 20
    """The limit at the start, clipped to ``min_limit`` and ``max_limit``."""
    min_limit: Annotated[int, Field(ge=1)] = 1
    """The lowest limit."""
    max_limit: Annotated[int, Field(ge=1)] = 200
    """The highest limit."""
    tolerance: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.5
    """The latency above which the limit shrinks, as a multiple of the usual one."""
    max_queue: Annotated[int, Field(ge=0)] = 100
    """Attempts that may wait for a permit. Further ones are refused at once."""
    max_wait: PositiveSeconds | None = None
    """Seconds an attempt may wait for a permit, at most half of the time it has left. ``None``: half of that time."""

    @model_validator(mode="after")
    def _check_max_wait(self) -> Self:
        _reject_wait_without_queue(self.max_wait, self.max_queue)
        return self


def _reject_wait_without_queue(max_wait: float | None, max_queue: int) -> None:
    if max_wait is not None and max_queue == 0:
        raise ValueError(
            f"max_wait={max_wait:g} could never take effect, because max_queue is 0 and no attempt waits; "
            "give max_queue too, or leave max_wait out"
        )
