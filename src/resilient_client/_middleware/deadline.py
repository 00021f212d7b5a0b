"""The deadline of the call, for middlewares of the user's around the retries, which await outside the attempts.

Per call, outermost, and only in chains that have such middlewares; otherwise the timeouts of the attempts enforce the
deadline. It fires a moment later than those and than that of a shared flight, so that their errors, which say more,
come first.
"""

from __future__ import annotations

import asyncio

from resilient_client._core.cancellation import client_closed
from resilient_client._core.deadline import RESOLUTION, TaskTimeout
from resilient_client._core.errors import DeadlineExceededError
from resilient_client._core.kinds import Stage
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response


class DeadlineMiddleware:
    """Ends the call at ``request.context.deadline``, wherever it has got to."""

    __slots__ = ()

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Run the rest of the chain under the deadline."""
        context = request.context
        total = context.deadline - context.started
        text = "the deadline had passed before the call began; nothing was sent"
        if total >= RESOLUTION:
            text = f"the call was not done after {total:.3g} s"
            timeout = TaskTimeout(context.client.timer, context.deadline + 3 * RESOLUTION, context)
            try:
                return await call_next(request)
            except asyncio.CancelledError:
                if not timeout.uncancel():
                    raise
            finally:
                timeout.close()
            if timeout.aborted:
                raise client_closed(request.label)
        raise DeadlineExceededError(text, stage=Stage.LOCAL, label=request.label)
