"""Picks the endpoint of an attempt among several, and learns from what came of it.

Per attempt, around the attempt itself: so a time limit that struck comes out as an error and not as a cancellation,
and the record names the right endpoint. An endpoint that refuses here, on our side, costs nothing: the same attempt
goes to the next one that admits. It never repeats anything that was sent. Who is chosen is decided by
``_policies.balancing.balancer``, what a failure means by ``_policies.classify``.
"""

from __future__ import annotations

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    CallRejectedError,
    CircuitOpenError,
)
from resilient_client._core.events import CallRejected
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.protocols import Handler
from resilient_client._core.request import OpenBody, Request
from resilient_client._core.response import Response
from resilient_client._policies.balancing.balancer import Balancer
from resilient_client._policies.balancing.endpoint_pool import Lease
from resilient_client._policies.classify import blames_upstream, silence_blames_upstream
from resilient_client._policies.http.urls import at_base


class EndpointMiddleware:
    """Takes a lease from the balancer, settles it, and releases it in every case."""

    __slots__ = ("_balancer",)

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Send to an endpoint that admits.

        Raises:
            CallRejectedError: None does; nothing was sent.
        """
        balancer, context = self._balancer, request.context
        now = context.client.loop_time
        tried = [record.endpoint for record in context.records]
        refused: list[Endpoint] = []
        untouched = request.headers.copy()
        lease = balancer.pick(now(), tried)
        if lease is None:
            raise self._nobody_admits(request)
        while True:
            try:
                return await _attempt(request, call_next, lease)
            except CallRejectedError:
                refused.append(lease.member.endpoint)
                lease = balancer.pick(now(), tried, refused)
                if lease is None:
                    raise
            request.headers = untouched.copy()

    def _nobody_admits(self, request: Request) -> CircuitOpenError:
        context, balancer = request.context, self._balancer
        context.emit(CallRejected, reason="circuit_open", endpoint=request.endpoint)
        wait = balancer.retry_after(context.client.loop_time())
        count = len(balancer.roster.members)
        when = "" if wait is None else f"; the first is tried again in {wait:.3g} s"
        return CircuitOpenError(
            f"{request.label}: the circuits of all {count} endpoints are open{when}; nothing was sent",
            retry_after=wait,
        )


async def _attempt(request: Request, call_next: Handler, lease: Lease) -> Response:
    """One attempt under a lease."""
    context, member = request.context, lease.member
    client = context.client
    request.place(at_base(request.url, member.url), member.endpoint)
    began = client.clock()
    try:
        response = await call_next(request)
    except BaseException as error:
        if isinstance(error, APIError):
            _learn_failure(lease, request, error, client.loop_time(), client.clock() - began)
        lease.release()
        raise
    _learn(lease, request, response, client.loop_time(), client.clock() - began)
    if context.open_stream is None:
        lease.release()
    else:
        context.open_stream = _LeasedBody(context.open_stream, lease)
    return response


def _learn(lease: Lease, request: Request, response: Response, now: float, elapsed: float) -> None:
    record = request.record
    if response.status == 429:
        lease.throttled(now, elapsed)
    elif record.led_to not in (None, lease.member.endpoint):
        lease.success(now, None)  # whoever sent the redirect is alive; most of the time was its target's
    elif response.status >= 500:
        lease.failure(now, elapsed)
    else:
        lease.success(now, None if record.reauthenticated else elapsed)  # it does not answer for a token's time


def _learn_failure(lease: Lease, request: Request, error: APIError, now: float, elapsed: float) -> None:
    if error.stage in (Stage.LOCAL, Stage.POOL):
        return  # of our making; there may not even be a record
    record = request.record
    if record.led_to not in (None, lease.member.endpoint):
        return
    silent = isinstance(error, APITimeoutError)
    if error.kind is ErrorKind.DEADLINE and not _long_enough(request, elapsed):
        return
    kind = ErrorKind.TIMEOUT if silent else error.kind
    stale = isinstance(error, APIConnectionError) and error.stale_connection
    if blames_upstream(kind, error.stage, stale=stale, blind=record.blind):
        lease.failure(now, elapsed, silent=silent)


def _long_enough(request: Request, elapsed: float) -> bool:
    limits = request.context.limits
    return silence_blames_upstream(elapsed, limits.total if limits.attempt is None else limits.attempt)


class _LeasedBody:
    """An open body whose end, or abandonment, is the end of the lease."""

    __slots__ = ("_body", "_lease")

    def __init__(self, body: OpenBody, lease: Lease) -> None:
        self._body = body
        self._lease = lease

    async def read(self) -> bytes:
        """The next piece."""
        return await self._body.read()

    def close(self) -> None:
        """Give it up."""
        self._lease.release()
        self._body.close()
