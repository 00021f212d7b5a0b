"""When one attempt calls for another beside it. Whether there is a token is the budgets' business."""

from __future__ import annotations

from typing import Final

from resilient_client._core.kinds import ErrorKind
from resilient_client._core.response import Response
from resilient_client._policies.classify import Fault
from resilient_client._policies.retry.budget import RETRY_COST, TIMEOUT_COST

MIN_DELAY: Final = 0.001
"""Seconds that any attempt is waited for: below, the delays of our own event loop are all one sees (as in Finagle)."""
LOOP_ITERATIONS: Final = 3
"""Turns of the event loop between the end of the delay and the hedge.

What is late may be this process, with the reply in a socket it has not looked at yet. A turn looks, the next one
reads, a third wakes the attempt. Without them most hedges of a busy process are for its own sake."""


def calls_for_next(outcome: object, fault: Fault | None) -> bool:
    """Whether a failed attempt starts the next one at once, without the pause of a retry.

    Not where a pause was asked for (429, ``Retry-After``), where nothing was sent, and where a repeat heals nothing.
    """
    if fault is None or not fault.retryable or fault.rejected or fault.stale:
        return False
    if isinstance(outcome, Response):
        return fault.kind is not ErrorKind.THROTTLED and "Retry-After" not in outcome.headers
    return fault.kind is not ErrorKind.POOL


def cost_of_next(fault: Fault | None) -> float:
    """Tokens of the retry budget for the next attempt: dearer after a timeout, as for a retry."""
    return TIMEOUT_COST if fault is not None and fault.kind is ErrorKind.TIMEOUT else RETRY_COST
