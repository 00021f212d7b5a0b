"""Picks one of several endpoints for an attempt, and learns from the result.

Per attempt, around the attempt itself: a timeout that fired arrives here as an error and not as a cancellation, and the
record names the right endpoint. An endpoint that rejects on our side costs nothing: the same attempt goes to the next
one that admits. Nothing that was sent is ever repeated. Which endpoint is picked is decided by
``_policies.balancing.balancer``, what a failure means by ``_policies.classify``.
"""

from __future__ import annotations

from multidict import CIMultiDict
from yarl import URL

from resilient_client._core.causes import RejectionCause
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
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.balancing.balancer import Balancer
from resilient_client._policies.balancing.endpoint import EndpointStats
from resilient_client._policies.balancing.endpoint_pool import InFlight
from resilient_client._policies.classify import blames_upstream, silence_blames_upstream
from resilient_client._policies.http.urls import rebase

_SIZE_OF_URLS = 2048  # bytes of two URLs and their parts, besides the text
_COPIES = 6  # of that text


class EndpointMiddleware:
    """Takes an attempt in flight from the balancer, settles it, and releases it in every case."""

    __slots__ = ("_balancer",)

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Send to an endpoint that admits.

        Raises:
            CallRejectedError: No endpoint admits; nothing was sent.
        """
        balancer, client = self._balancer, request.context.client
        loop_time, clock = client.loop_time, client.clock
        history = request.context.history
        tried = [attempt.endpoint for attempt in history] if history else ()
        in_flight = balancer.pick(loop_time(), tried)
        if in_flight is None:
            raise self._none_admits(request)
        untouched = _untouched_headers(request)
        refused: tuple[Endpoint, ...] = ()
        while True:
            stats = in_flight.stats
            request.place(_url_at(stats, request), stats.endpoint)
            began = clock()
            try:
                response = await call_next(request)
            except BaseException as error:
                if isinstance(error, APIError):
                    _learn_failure(in_flight, request, error, loop_time(), clock() - began)
                in_flight.release()
                if not isinstance(error, CallRejectedError):
                    raise
                refused = (*refused, stats.endpoint)
                in_flight = balancer.pick(loop_time(), tried, refused)
                if in_flight is None:
                    raise
            else:
                _learn(in_flight, request, response, loop_time(), clock() - began)
                if response.open_body is None or not response.hold(in_flight.release):
                    in_flight.release()
                return response
            request.headers = untouched.copy()

    def _none_admits(self, request: Request) -> CircuitOpenError:
        context, balancer = request.context, self._balancer
        context.emit(CallRejected, cause=RejectionCause.CIRCUIT_OPEN, endpoint=request.endpoint)
        wait = balancer.retry_after(context.client.loop_time())
        count = len(balancer.endpoint_pool.endpoints)
        when = "" if wait is None else f"; the first is tried again in {wait:.3g} s"
        return CircuitOpenError(
            f"the circuits of all {count} endpoints are open{when}",
            retry_after=wait,
            label=request.label,
        )


def _url_at(stats: EndpointStats, request: Request) -> URL:
    """The URL of the request at an endpoint. That of a path is remembered; one with parameters rarely comes again."""
    url, options = request.url, request.context.call.given
    if options and ("path_params" in options or "params" in options):
        return rebase(url, stats.url)
    known = stats.urls.get(url)
    if known is None:
        known = rebase(url, stats.url)
        stats.urls.put(url, known, _SIZE_OF_URLS + _COPIES * len(str(url)))
    return known


def _untouched_headers(request: Request) -> CIMultiDict[str]:
    """The headers without what an attempt may add: the copy that the retry keeps, or another one."""
    kept: CIMultiDict[str] | None = getattr(request, "kept_headers", None)
    return request.headers.copy() if kept is None else kept


def _learn(in_flight: InFlight, request: Request, response: Response, now: float, elapsed: float) -> None:
    attempt = request.attempt
    if response.status == 429:
        in_flight.throttled(now, elapsed)
    elif attempt.redirected_to not in (None, in_flight.stats.endpoint):
        in_flight.success(now, None)  # the sender of the redirect is alive; most of the time was spent at its target
    elif response.status >= 500:
        in_flight.failure(now, elapsed)
    else:
        in_flight.success(
            now, None if attempt.reauthenticated else elapsed
        )  # the time of a token refresh is not the endpoint's


def _learn_failure(in_flight: InFlight, request: Request, error: APIError, now: float, elapsed: float) -> None:
    if error.stage in (Stage.LOCAL, Stage.POOL):
        return  # on our side; the attempt may not even have begun
    attempt = request.attempt
    if attempt.loop_was_late or attempt.redirected_to not in (None, in_flight.stats.endpoint):
        return
    silent = isinstance(error, APITimeoutError)
    if error.kind is ErrorKind.DEADLINE and not _long_enough(request, elapsed):
        return
    kind = ErrorKind.TIMEOUT if silent else error.kind
    stale = isinstance(error, APIConnectionError) and error.stale_connection
    if blames_upstream(kind, error.stage, stale=stale, pool_wait_unobservable=attempt.pool_wait_unobservable):
        in_flight.failure(now, elapsed, silent=silent)


def _long_enough(request: Request, elapsed: float) -> bool:
    limits = request.context.settings.limits
    return silence_blames_upstream(elapsed, limits.total if limits.attempt is None else limits.attempt)
