"""The bulkhead: so many attempts to one endpoint at once, and no more; the others wait a while or are refused.

Per attempt, inside the rate limit and outside the circuit, so that who waits here holds no probe of the circuit and
is not sent to a host that has gone dark meanwhile. The attempt's alarm covers the wait, which is our own affair: the
circuit never hears of it. Who gets a permit, and who is next, is decided by ``_policies.limits.bulkhead``.
"""

from __future__ import annotations

import asyncio
import math
from enum import Enum

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import APIError, BulkheadFullError
from resilient_client._core.events import CallRejected
from resilient_client._core.kinds import ErrorKind
from resilient_client._core.protocols import Handler
from resilient_client._core.request import OpenBody, Request
from resilient_client._core.response import Response
from resilient_client._policies.classify import blames_upstream, cut_off
from resilient_client._policies.limits.bulkhead import Permits
from resilient_client._policies.registry import Registry


class _End(Enum):
    """How a wait for a permit ended."""

    GRANTED = "granted"
    DISPLACED = "displaced"
    LATE = "late"


class BulkheadMiddleware:
    """Holds a permit of the endpoint while an attempt is under way; of a streamed reply, until it is closed."""

    __slots__ = ("_bulkheads",)

    def __init__(self, bulkheads: Registry[Endpoint, Permits]) -> None:
        self._bulkheads = bulkheads

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Send, once there is a permit.

        Raises:
            BulkheadFullError: There was none in time; nothing was sent.
        """
        context = request.context
        if (abandoned := context.open_stream) is not None:  # by an earlier attempt: it holds a permit
            context.open_stream = None
            abandoned.close()
        permits = self._bulkheads.use(request.endpoint)
        if not permits.try_acquire():
            await self._wait(request, permits)
        clock = context.client.clock
        began = clock()
        held = False
        try:
            response = await call_next(request)
            if response.status < 400:
                now = clock()
                permits.answered(now, now - began)
            if context.open_stream is not None:
                context.open_stream, held = _Held(context.open_stream, permits), True
            return response
        except BaseException as error:
            now = clock()
            if _too_slow(error, request, now - began):
                permits.timed_out(now)
            raise
        finally:
            if not held:
                permits.release()

    @staticmethod
    async def _wait(request: Request, permits: Permits) -> None:
        """Queue for a permit, and return with one."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[_End] = loop.create_future()

        def end(how: _End) -> bool:
            waiting = not turn.done()
            if waiting:
                turn.set_result(how)
            return waiting

        place = permits.enqueue(
            request.context.priority, lambda granted: end(_End.GRANTED if granted else _End.DISPLACED)
        )
        if place is None:
            raise _refused(request, permits, "the bulkhead is full")
        max_wait = _max_wait(request, permits)
        timer = None if math.isinf(max_wait) else loop.call_later(max_wait, end, _End.LATE)
        request.record.queued = True
        try:
            how = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result() is _End.GRANTED:
                permits.release()  # granted in the very tick in which the waiter was cancelled
            raise
        finally:
            request.record.queued = False
            place.leave()
            if timer is not None:
                timer.cancel()
        if how is _End.DISPLACED:
            raise _refused(request, permits, "a call of higher priority took the place in the queue")
        if how is _End.LATE:
            raise _refused(request, permits, f"no permit came free in {max_wait:.3g} s")


class _Held:
    """The body of a streamed reply that holds a permit until it is closed."""

    __slots__ = ("_body", "_permits")

    def __init__(self, body: OpenBody, permits: Permits) -> None:
        self._body = body
        self._permits: Permits | None = permits

    async def read(self) -> bytes:
        """The next piece; at the end of the body, whether good or bad, it gives the permit back."""
        try:
            piece = await self._body.read()
        except Exception:
            self.close()
            raise
        if not piece:
            self.close()
        return piece

    def close(self) -> None:
        """Give up the body and the permit. May be called twice."""
        self._body.close()
        permits, self._permits = self._permits, None
        if permits is not None:
            permits.release()


def _max_wait(request: Request, permits: Permits) -> float:
    """Seconds to wait for a permit: half of the attempt's time at most.

    Who gets a permit at the last moment is sent, and given up before the answer can come: all work for nothing. A
    queue of such attempts keeps an upstream busy with answers that nobody waits for, and never drains.
    """
    timeout = request.record.timeout
    half = math.inf if timeout is None else max(0.0, timeout.ends_at - request.context.client.loop_time()) / 2
    return half if permits.max_wait is None else min(permits.max_wait, half)


def _too_slow(error: BaseException, request: Request, waited: float) -> bool:
    """Whether the endpoint was given up because it took too long."""
    if isinstance(error, APIError):
        record = request.record
        return error.kind is ErrorKind.TIMEOUT and blames_upstream(
            error.kind, record.stage, pool_wait_unobservable=record.pool_wait_unobservable
        )
    return isinstance(error, asyncio.CancelledError) and cut_off(request, waited)


def _refused(request: Request, permits: Permits, why: str) -> BulkheadFullError:
    endpoint = request.endpoint
    request.context.emit(CallRejected, reason="bulkhead_full", endpoint=endpoint)
    return BulkheadFullError(
        f"{request.label}: {why}: {permits.in_use} of {permits.limit} permits of {endpoint} are in use and "
        f"{permits.waiting} wait; nothing was sent"
    )
