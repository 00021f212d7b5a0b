"""When one attempt calls for another alongside it. Whether there is a token is decided by the budgets."""

from __future__ import annotations

from typing import Final

from resilient_client._core.kinds import ErrorKind
from resilient_client._core.response import Response
from resilient_client._policies.classify import Fault
from resilient_client._policies.retry.budget import RETRY_COST, TIMEOUT_COST

MIN_DELAY: Final = 0.001
"""The shortest delay in seconds. Below it, a hedge measures only the delays of this event loop (as in Finagle)."""
LOOP_ITERATIONS: Final = 3
"""Iterations of the event loop between the end of the delay and the hedge.

It may be this process that is late, with the reply in a socket that it has not read yet. The first iteration polls the
socket, the second reads it, the third wakes the attempt. Without them, most hedges of a busy process would be started
for replies that are there already."""


def calls_for_next(outcome: object, fault: Fault | None) -> bool:
    """Whether a failed attempt starts the next one at once, without the pause of a retry.

    It does not if the server asked for a pause (429, ``Retry-After``), if nothing was sent, or if the fault is not
    retryable.
    """
    if fault is None or not fault.retryable or fault.rejected or fault.stale:
        return False
    if isinstance(outcome, Response):
        return fault.kind is not ErrorKind.THROTTLED and "Retry-After" not in outcome.headers
    return fault.kind is not ErrorKind.POOL


def cost_of_next(fault: Fault | None) -> float:
    """Tokens of the retry budget for the next attempt: more after a timeout, as for a retry."""
    return TIMEOUT_COST if fault is not None and fault.kind is ErrorKind.TIMEOUT else RETRY_COST
