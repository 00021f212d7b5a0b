"""The bulkhead: a bounded number of attempts to one endpoint at once. Further ones queue for a while or are rejected.

Per attempt, inside the rate limit and outside the circuit: an attempt that waits here holds no probe of the circuit,
and is not sent to a host that has failed meanwhile. The attempt's timeout covers the wait, which is on our side, so the
circuit does not count it. Which attempt gets a permit is decided by ``_policies.limits.bulkhead``; ``_waiting.permit``
waits for it.
"""

from __future__ import annotations

import asyncio
import math

from resilient_client._core.causes import RejectionCause
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import APIError, BulkheadFullError
from resilient_client._core.events import CallRejected
from resilient_client._core.kinds import ErrorKind
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.classify import blames_upstream, cut_off
from resilient_client._policies.limits.bulkhead import Permits
from resilient_client._policies.registry import Registry
from resilient_client._waiting.permit import PermitWait, wait_for_permit


class BulkheadMiddleware:
    """Holds a permit of the endpoint while an attempt is under way; of a streamed response, until it is closed."""

    __slots__ = ("_bulkheads",)

    def __init__(self, bulkheads: Registry[Endpoint, Permits]) -> None:
        self._bulkheads = bulkheads

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Send, once there is a permit.

        Raises:
            BulkheadFullError: None came free in time; nothing was sent.
        """
        permits = self._bulkheads.use(request.endpoint)
        if not permits.try_acquire():
            await _wait(request, permits)
        clock = request.context.client.clock
        began = clock()
        held = False
        try:
            response = await call_next(request)
            if response.status < 400:
                now = clock()
                permits.answered(now, now - began)
            held = response.hold(permits.release)
            return response
        except BaseException as error:
            now = clock()
            if _was_too_slow(error, request, now - began):
                permits.timed_out(now)
            raise
        finally:
            if not held:
                permits.release()


async def _wait(request: Request, permits: Permits) -> None:
    """Queue for a permit, and return with one.

    Raises:
        BulkheadFullError: There was none in time.
    """
    max_wait = _max_wait(request, permits)
    request.attempt.queued = True
    try:
        ended = await wait_for_permit(permits, request.context.settings.priority, max_wait)
    finally:
        request.attempt.queued = False
    if ended is PermitWait.GRANTED:
        return
    if ended is PermitWait.QUEUE_FULL:
        reason = "the bulkhead is full"
    elif ended is PermitWait.DISPLACED:
        reason = "a call of higher priority took its place in the queue"
    else:
        reason = f"no permit came free in {max_wait:.3g} s"
    endpoint = request.endpoint
    request.context.emit(CallRejected, cause=RejectionCause.BULKHEAD_FULL, endpoint=endpoint)
    raise BulkheadFullError(
        f"{reason}: {permits.in_use} of {permits.limit} permits of {endpoint} are in use and {permits.waiting} wait",
        label=request.label,
    )


def _max_wait(request: Request, permits: Permits) -> float:
    """Seconds to wait for a permit: half of the attempt's time at most.

    An attempt that gets its permit at the last moment is sent, and given up before the response can come. A queue of
    such attempts keeps the upstream busy with responses that are never read, and never drains.
    """
    timeout = request.attempt.timeout
    half = math.inf if timeout is None else max(0.0, timeout.ends_at - request.context.client.loop_time()) / 2
    return half if permits.max_wait is None else min(permits.max_wait, half)


def _was_too_slow(error: BaseException, request: Request, waited: float) -> bool:
    """Whether the attempt was given up because the endpoint took too long."""
    if isinstance(error, APIError):
        attempt = request.attempt
        return (
            not attempt.loop_was_late
            and error.kind is ErrorKind.TIMEOUT
            and blames_upstream(error.kind, attempt.stage, pool_wait_unobservable=attempt.pool_wait_unobservable)
        )
    return isinstance(error, asyncio.CancelledError) and cut_off(request, waited)
