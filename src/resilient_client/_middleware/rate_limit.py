"""The rate limit: so many attempts a second to one endpoint, and a pause for all of them when a reply asks for one.

Per attempt, outside the bulkhead, so that retries are paced, too, and nobody waits for a turn with a permit in hand.
Whose turn it is is decided by ``_policies.limits.token_bucket``, what a reply asks for is read by
``_policies.limits.quota_headers``. A wait that would end after ``max_wait`` or the attempt's own end is not begun: the
attempt is refused at once.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from resilient_client._core.deadline import RESOLUTION
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import LocalRateLimitError
from resilient_client._core.events import CallRejected, EndpointPaused
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.limits.quota_headers import requested_pause
from resilient_client._policies.limits.token_bucket import TokenBucket, Waiter
from resilient_client._policies.registry import Registry
from resilient_client._settings.rate_limit import RateLimit


class _Gate:
    """The bucket of one endpoint, and the timer that rings when the next turn is due."""

    __slots__ = ("_fires_at", "_timer", "bucket")

    def __init__(self, bucket: TokenBucket) -> None:
        self.bucket = bucket
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at: float | None = None

    def advance(self, now: float) -> None:
        """Give the turns that are due, and ring again for the next."""
        self._fire_at(self.bucket.advance(now))

    def leave(self, turn: Waiter) -> None:
        """Wait no longer for this turn; if nobody does, nothing rings."""
        turn.leave()
        if not self.bucket.waiting:
            self._fire_at(None)

    def _fire_at(self, due: float | None) -> None:
        if due == self._fires_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = due
        self._timer = None if due is None else asyncio.get_running_loop().call_at(due, self._fire, due)

    def _fire(self, due: float) -> None:
        self._timer = self._fires_at = None
        # Some loops keep time in milliseconds and ring a little early; that is no reason to ring twice.
        self.advance(max(due, asyncio.get_running_loop().time()))


class RateLimitMiddleware:
    """Gives each attempt its turn, or refuses it; learns from replies when to pause."""

    __slots__ = ("_gates", "_settings", "_wall_clock")

    def __init__(self, settings: RateLimit, wall_clock: Callable[[], float] = time.time) -> None:
        """Serve any number of calls.

        Args:
            settings: How many in which time.
            wall_clock: Gives the time of day in seconds, for dates in headers.
        """
        self._settings = settings
        self._wall_clock = wall_clock
        self._gates: Registry[Endpoint, _Gate] = Registry(
            lambda _: _Gate(TokenBucket(settings)),
            evictable=lambda gate: gate.bucket.idle(asyncio.get_running_loop().time()),
        )

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Send, once it is this attempt's turn.

        Raises:
            LocalRateLimitError: That would be too late; nothing was sent.
        """
        endpoint = request.endpoint
        gate = self._gates.use(endpoint)
        if not gate.bucket.try_take(request.context.client.loop_time()):
            await self._wait(request, gate)
        response = await call_next(request)
        if self._settings.max_pause and request.record.redirected_to in (None, endpoint):
            self._heed(request, response, endpoint, gate)
        return response

    async def _wait(self, request: Request, gate: _Gate) -> None:
        """Wait for this attempt's turn."""
        context = request.context
        now = context.client.loop_time()
        timeout = request.record.timeout
        end = math.inf if timeout is None else timeout.ends_at - RESOLUTION
        latest = min(now + self._settings.max_wait, end)
        turn_came: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def wake(came: bool) -> bool:
            waiting = not turn_came.done()
            if waiting:
                turn_came.set_result(came)
            return waiting

        turn = gate.bucket.enqueue(now, latest, wake)
        if turn is None:
            raise self._refused(request, gate.bucket, latest)
        gate.advance(now)
        request.record.queued = True
        try:
            came = await turn_came
        except asyncio.CancelledError:
            if turn_came.done() and not turn_came.cancelled() and turn_came.result():
                gate.bucket.refund()  # it came in the very tick in which the waiter was cancelled
                gate.advance(context.client.loop_time())
            raise
        finally:
            request.record.queued = False
            gate.leave(turn)
        if not came:
            raise self._refused(request, gate.bucket, latest)

    def _heed(self, request: Request, response: Response, endpoint: Endpoint, gate: _Gate) -> None:
        """Hold everybody back if the reply asks for it."""
        requested_delay = requested_pause(response.status, response.headers, wall_now=self._wall_clock())
        if requested_delay is None:
            return
        client = request.context.client
        now, seconds = client.loop_time(), min(requested_delay, self._settings.max_pause)
        if gate.bucket.pause(now, now + seconds):
            gate.advance(now)
            if client.events.active:
                client.events.emit(EndpointPaused(client=client.name, at=now, endpoint=endpoint, seconds=seconds))

    @staticmethod
    def _refused(request: Request, bucket: TokenBucket, latest: float) -> LocalRateLimitError:
        now = request.context.client.loop_time()
        due = bucket.due_in(now)
        request.context.emit(CallRejected, reason="rate_limited", endpoint=request.endpoint)
        return LocalRateLimitError(
            f"{request.label}: the rate limit of {request.endpoint} has its next turn in {due:.3g} s, "
            f"and {max(0.0, latest - now):.3g} s may be waited; nothing was sent",
            retry_after=due,
        )
