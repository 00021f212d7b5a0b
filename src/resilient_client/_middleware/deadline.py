"""The end of the call, for what awaits outside the attempts: middlewares around the retries.

Per call, outermost, and only in chains that have such middlewares: the alarms of the attempts hold the deadline
otherwise. Rings a moment later than those, and than that of who waits for a shared flight, so that their own errors,
which know more, come first.
"""

from __future__ import annotations

import asyncio

from resilient_client._core.deadline import RESOLUTION, TaskTimeout
from resilient_client._core.errors import DeadlineExceededError
from resilient_client._core.kinds import Stage
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response


class DeadlineMiddleware:
    """Ends the call at ``request.context.deadline``, wherever it stands."""

    __slots__ = ()

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Run the rest of the chain under the deadline."""
        context = request.context
        given = context.deadline - context.started
        text = "the deadline had passed before the call began; nothing was sent"
        if given >= RESOLUTION:
            text = f"the call was not done after {given:.3g} s"
            timeout = TaskTimeout(context.client.timer, context.deadline + 3 * RESOLUTION)
            try:
                return await call_next(request)
            except asyncio.CancelledError:
                if not timeout.uncancel():
                    raise
            finally:
                timeout.close()
        raise DeadlineExceededError(text, stage=Stage.LOCAL, label=request.label)
