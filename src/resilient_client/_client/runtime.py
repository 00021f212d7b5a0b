"""The runtime: what lives as long as a client and is shared by all its views.

The chain, the transport, circuits, budgets and permits. Touches no event loop when it is built; it belongs to the loop
on which it is first used.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Sequence
from itertools import product
from typing import Self

from yarl import URL

from resilient_client._client.endpoint_set import EndpointSet
from resilient_client._core.context import ClientContext
from resilient_client._core.deadline import SharedTimer
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import ClientClosedError, WrongLoopError
from resilient_client._core.events import CircuitClosed, CircuitHalfOpened, CircuitOpened
from resilient_client._core.listeners import Events
from resilient_client._core.protocols import Auth, Handler, Middleware, Transport
from resilient_client._middleware.chain import Link, standard_chain
from resilient_client._middleware.coalesce import CoalesceMiddleware
from resilient_client._middleware.compose import compose
from resilient_client._middleware.hedging import HedgingMiddleware
from resilient_client._policies.circuit.circuit import Circuit, CircuitState
from resilient_client._policies.circuit.registry import Circuits
from resilient_client._policies.limits.bulkhead import Permits
from resilient_client._policies.registry import Registry
from resilient_client._policies.retry.budget import RetryBudgets
from resilient_client._settings.config import ClientConfig
from resilient_client._settings.timeout import TimeLimits
from resilient_client.telemetry._log import ClientLog


class Runtime(ClientContext):
    """Owns what the calls of a client share. Its base is the part of it that middlewares and transports see.

    Attributes:
        handler: The chain of a call that neither coalesces nor hedges.
        handlers: The chains by (coalesce, hedging).
        log: Writes the events to the loggers.
        loop: The event loop it belongs to; ``None`` before its first use and after ``close``.
    """

    __slots__ = (
        "_closed", "_links", "budgets", "bulkheads", "circuits", "endpoints", "handler", "handlers", "log", "loop",
        "transport",
    )  # fmt: skip  # one name per line says no more

    def __init__(
        self,
        name: str,
        config: ClientConfig,
        transport: Transport,
        limits: TimeLimits,
        base_urls: tuple[URL, ...] = (),
        *,
        auth: Auth | None,
        middleware: Sequence[Middleware],
        attempt_middleware: Sequence[Middleware],
        rng: random.Random,
    ) -> None:
        super().__init__(name, Events(), rng)
        self.log = ClientLog(name, self.events)
        self.transport = transport
        breaker = config.circuit_breaker
        self.circuits: Circuits[Endpoint] | None = None
        if breaker is not None and breaker.mode != "disabled":
            self.circuits = Circuits(breaker, rng, self._on_transition)
        self.endpoints: EndpointSet | None = None
        if base_urls:
            self.endpoints = EndpointSet(base_urls, config.load_balancing, self, self.circuits, transport, limits)
        bulkhead = config.bulkhead
        self.bulkheads: Registry[Endpoint, Permits] | None = None
        if bulkhead is not None:
            self.bulkheads = Registry(lambda _: Permits(bulkhead), evictable=lambda permits: permits.idle)
        budget = config.retry_budget
        self.budgets: RetryBudgets[Endpoint] | None = None if budget is None else RetryBudgets(budget)
        self._links: tuple[Link, ...] = standard_chain(
            middleware=middleware,
            budgets=self.budgets,
            rate_limit=config.rate_limit,
            bulkheads=self.bulkheads,
            circuits=self.circuits,
            balancer=None if self.endpoints is None else self.endpoints.balancer,
            auth=auth,
            attempt_middleware=attempt_middleware,
            follow_redirects=config.follow_redirects,
            max_redirects=config.max_redirects,
        )
        self.handlers: dict[tuple[bool, bool], Handler] = {}
        for coalesce, hedging in product((False, True), repeat=2):
            links = self.links(coalesce=coalesce, hedging=hedging)
            self.handlers[coalesce, hedging] = compose((link.middleware for link in links), transport.send)
        self.handler: Handler = self.handlers[False, False]
        self.loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def links(self, *, coalesce: bool, hedging: bool) -> tuple[Link, ...]:
        """The chain of a call, with or without the links for coalescing and hedging."""
        unused = (*([] if coalesce else [CoalesceMiddleware]), *([] if hedging else [HedgingMiddleware]))
        return tuple(link for link in self._links if not isinstance(link.middleware, unused))

    def bind(self) -> None:
        """Belong to the running loop from now on, unless bound already.

        A loop that was closed while nothing was in flight lets go of the client. Tests that run an application twice,
        each time on a loop of its own, share a client in this way. Circuits, budgets and limits are kept.

        Raises:
            ClientClosedError: The client is closed.
            WrongLoopError: It belongs to another loop that still exists, or was closed with calls in flight.
        """
        loop = asyncio.get_running_loop()
        if loop is self.loop:
            return
        if self._closed:
            raise ClientClosedError(f"the client {self.name!r} is closed; make a new one, or keep it open while in use")
        if self.loop is not None:
            self._leave(self.loop)
        self.loop = loop
        self.use_loop(loop)
        if self.endpoints is not None:
            self.endpoints.start(loop)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop belonging to a loop, which must be closed and idle."""
        used = f"the client {self.name!r} was first used on another event loop"
        if not loop.is_closed():
            raise WrongLoopError(
                f"{used}, to which its connections belong; "
                "use one client per event loop, for example one made in each asyncio.run()"
            )
        if self.timer.active or getattr(self.transport, "in_use", 0):
            raise WrongLoopError(
                f"{used}, which was closed while calls or streams were in flight; await or cancel them and leave their "
                "streams before the loop is closed, as asyncio.run() does, or make a new client"
            )
        if (leave_loop := getattr(self.transport, "leave_loop", None)) is not None:
            leave_loop()
        self.loop = None

    def unbound(self) -> Self:
        """A runtime that shares everything with this one but the event loop, and belongs to none yet.

        Only for a transport that belongs to no loop either, and without a base URL, whose health checks run on one.
        """
        other = copy.copy(self)
        other.loop = None
        return other

    async def close(self, grace: float = 0.0) -> None:
        """Refuse new calls, end those in flight, and give back all connections. May be called twice.

        Args:
            grace: Seconds that the calls in flight have to end by themselves.
        """
        self._closed = True
        self.loop = None
        timer: SharedTimer | None = getattr(self, "timer", None)  # there is none before the first use
        if timer is not None and timer.loop is not asyncio.get_running_loop():
            timer = None  # tasks can be cancelled on their own loop only
        try:
            if timer is not None and timer.active and grace > 0:
                await _idle_within(timer, grace)
        finally:
            if timer is not None:
                timer.abort()
            try:
                if self.endpoints is not None:
                    await self.endpoints.close()
            finally:
                self.log.close()
                await self.transport.close()

    def _on_transition(
        self, endpoint: Endpoint, circuit: Circuit, _old: CircuitState, state: CircuitState, now: float | None
    ) -> None:
        """Emit a circuit's transition as an event. An endpoint that recovered does not get full load at once."""
        if state is CircuitState.CLOSED and self.endpoints is not None:
            self.endpoints.pool.recovered(endpoint, self.loop_time())
        at = self.loop_time() if now is None else now
        if state is CircuitState.CLOSED:
            self.emit(CircuitClosed, at, endpoint)
        elif state is CircuitState.HALF_OPEN:
            self.emit(CircuitHalfOpened, at, endpoint)
        else:
            self.emit(CircuitOpened, at, endpoint, retry_after=circuit.retry_after(at))


async def _idle_within(timer: SharedTimer, seconds: float) -> None:
    """Wait until no call is in flight, but no longer than that."""
    try:
        async with asyncio.timeout(seconds):
            await timer.idle()
    except TimeoutError:
        pass
