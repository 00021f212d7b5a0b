"""The rate limit: a bounded number of attempts per period to one endpoint, and a pause when a response asks for one.

Per attempt, outside the bulkhead, so that retries are paced too, and no attempt holds a permit while it waits for its
slot. When a slot is due is decided by ``_policies.limits.token_bucket``; what a response asks for is read by
``_policies.limits.quota_headers``; ``_waiting.slot`` waits. A wait that would end after ``max_wait``, or after the
attempt's own end, is not started: the attempt is rejected at once.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from resilient_client._core.causes import RejectionCause
from resilient_client._core.deadline import RESOLUTION
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import LocalRateLimitError
from resilient_client._core.events import CallRejected, EndpointPaused
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.limits.quota_headers import requested_pause
from resilient_client._policies.limits.token_bucket import TokenBucket
from resilient_client._policies.registry import Registry
from resilient_client._settings.rate_limit import RateLimit
from resilient_client._waiting.slot import RateGate


class RateLimitMiddleware:
    """Gives each attempt its slot, or rejects it. Pauses an endpoint when a response asks for it."""

    __slots__ = ("_gates", "_settings", "_wall_clock")

    def __init__(self, settings: RateLimit, wall_clock: Callable[[], float] = time.time) -> None:
        """Serve any number of calls.

        Args:
            settings: The rate, the burst and the waits.
            wall_clock: Gives the time of day in seconds, for dates in headers.
        """
        self._settings = settings
        self._wall_clock = wall_clock
        self._gates: Registry[Endpoint, RateGate] = Registry(
            lambda _: RateGate(TokenBucket(settings)),
            evictable=lambda gate: gate.bucket.idle(asyncio.get_running_loop().time()),
        )

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Send, once there is a slot for this attempt.

        Raises:
            LocalRateLimitError: The slot would be due too late; nothing was sent.
        """
        endpoint = request.endpoint
        gate = self._gates.use(endpoint)
        if not gate.bucket.try_take(request.context.client.loop_time()):
            await self._wait(request, gate)
        response = await call_next(request)
        if self._settings.max_pause and request.attempt.redirected_to in (None, endpoint):
            self._pause_if_requested(request, response, endpoint, gate)
        return response

    async def _wait(self, request: Request, gate: RateGate) -> None:
        attempt, now = request.attempt, request.context.client.loop_time()
        ends_at = math.inf if attempt.timeout is None else attempt.timeout.ends_at - RESOLUTION
        latest = min(now + self._settings.max_wait, ends_at)
        attempt.queued = True
        try:
            granted = await gate.wait(now, latest)
        finally:
            attempt.queued = False
        if not granted:
            raise _rejection(request, gate.bucket, latest)

    def _pause_if_requested(self, request: Request, response: Response, endpoint: Endpoint, gate: RateGate) -> None:
        requested = requested_pause(response.status, response.headers, wall_now=self._wall_clock())
        if requested is None:
            return
        client = request.context.client
        now, seconds = client.loop_time(), min(requested, self._settings.max_pause)
        if gate.bucket.pause(now, now + seconds):
            gate.advance(now)
            client.emit(EndpointPaused, now, endpoint, seconds)


def _rejection(request: Request, bucket: TokenBucket, latest: float) -> LocalRateLimitError:
    now = request.context.client.loop_time()
    due = bucket.due_in(now)
    request.context.emit(CallRejected, cause=RejectionCause.RATE_LIMITED, endpoint=request.endpoint)
    return LocalRateLimitError(
        f"the next slot of the rate limit of {request.endpoint} is due in {due:.3g} s, "
        f"and the attempt may wait {max(0.0, latest - now):.3g} s",
        retry_after=due,
        label=request.label,
    )
