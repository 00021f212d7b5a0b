"""The circuit breaker: leaves a failing endpoint alone.

Per attempt, just before sending, so that an attempt that queues above it cannot hold a probe permit. Every attempt
counts. What a result means is decided by ``_policies.classify``, what follows by ``_policies.circuit.circuit``.
"""

from __future__ import annotations

import asyncio

from resilient_client._core.causes import RejectionCause
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import APIConnectionError, APIError, CircuitOpenError
from resilient_client._core.events import CallRejected
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._policies.circuit.circuit import Circuit, Ticket
from resilient_client._policies.circuit.registry import Circuits
from resilient_client._policies.classify import blames_upstream, cut_off


class CircuitBreakerMiddleware:
    """Asks the endpoint's circuit for a ticket and settles it exactly once."""

    __slots__ = ("_circuits",)

    def __init__(self, circuits: Circuits[Endpoint]) -> None:
        self._circuits = circuits

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        """Send, if the circuit admits.

        Raises:
            CircuitOpenError: It does not admit; nothing was sent.
        """
        now = request.context.client.loop_time
        endpoint = request.endpoint
        began = now()
        circuit = self._circuits.use(endpoint, began)
        ticket = circuit.try_admit(began)
        if ticket is None:
            raise _refused(request, circuit, began)
        try:
            response = await call_next(request)
        except BaseException as error:
            ended = now()
            if not _led_away(request, endpoint) and _blames_upstream(error, request, ended - began):
                ticket.failure(ended, ended - began)
            else:
                ticket.cancel()
            raise
        ended = now()
        if request.attempt.redirected_to is not None and _led_away(request, endpoint):
            _settle_redirect(ticket, response, ended)
            return response
        settle = ticket.failure if response.status >= 500 else ticket.success
        settle(ended, ended - began)
        return response


def _led_away(request: Request, endpoint: Endpoint) -> bool:
    """Whether a redirect led to another endpoint, whose result this is."""
    return request.attempt.redirected_to not in (None, endpoint)


def _settle_redirect(ticket: Ticket, response: Response, now: float) -> None:
    """Learn from a redirect to another endpoint: the one that sent it is alive, and not at fault for the target."""
    if response.status >= 500:
        ticket.cancel()
    else:
        ticket.success(now, 0.0)  # most of the time was spent at the target, and how much is not known


def _blames_upstream(error: BaseException, request: Request, waited: float) -> bool:
    if isinstance(error, APIError):
        if request.attempt.loop_was_late:
            return False
        stale = isinstance(error, APIConnectionError) and error.stale_connection
        return blames_upstream(
            error.kind,
            request.attempt.stage,
            stale=stale,
            pool_wait_unobservable=request.attempt.pool_wait_unobservable,
        )
    return isinstance(error, asyncio.CancelledError) and cut_off(request, waited)


def _refused(request: Request, circuit: Circuit, now: float) -> CircuitOpenError:
    context = request.context
    context.emit(CallRejected, cause=RejectionCause.CIRCUIT_OPEN, endpoint=request.endpoint)
    wait = circuit.retry_after(now)
    when = "" if wait is None else f"; it is tried again in {wait:.3g} s"
    return CircuitOpenError(
        f"the circuit of {request.endpoint} is {circuit.state}{when}",
        retry_after=wait,
        label=request.label,
    )
