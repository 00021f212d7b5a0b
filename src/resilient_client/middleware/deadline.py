"""The end of the call: one absolute deadline over everything inside, enforced by one timer.

Per call, outermost. The deadline itself is fixed at the edge, where the call begins; here it gets its alarm,
which the attempts inside move to their own ends and back.
"""

from __future__ import annotations

import asyncio
import math

from resilient_client.core.deadline import Alarm
from resilient_client.core.errors import DeadlineExceededError
from resilient_client.core.kinds import Stage
from resilient_client.core.protocols import Handler
from resilient_client.core.request import Request
from resilient_client.core.response import Response


class DeadlineMiddleware:
    """Ends the call at ``request.context.deadline``, wherever it stands, and says so with a stage."""

    __slots__ = ()

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Run the rest of the chain under the deadline."""
        context = request.context
        if context.started >= context.deadline:
            raise deadline_exceeded(request, Stage.LOCAL)
        attempt = context.limits.attempt
        first_ring = math.inf if attempt is None else context.started + attempt
        alarm = Alarm(context.client.timers, context.deadline, first_ring)
        context.alarm = alarm
        try:
            return await call_next(request)
        except asyncio.CancelledError:
            if not alarm.rang():
                raise
        finally:
            alarm.close()
        raise deadline_exceeded(request, Stage.LOCAL)


def deadline_exceeded(request: Request, stage: Stage) -> DeadlineExceededError:
    """The error for a call that ran out of time outside an attempt."""
    context = request.context
    given = context.deadline - context.started
    if given <= 0:
        text = "the deadline had passed before the call began; nothing was sent"
    else:
        text = f"the call was not done after {given:.3g} s"
    return DeadlineExceededError(f"{request.label}: {text}", stage=stage)
