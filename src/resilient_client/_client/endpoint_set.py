"""The endpoints of a client that has several: who they are now, and what goes on beside the calls to keep it true.

Health checks and re-resolution are tasks of the client: they begin when it is first used and end when it is closed.
They use the transport itself, below the chain, so they meet no circuit, no retry and no budget, and carry no
credentials. Whatever fails here is told, and never harms a call.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextvars import Context
from functools import partial
from typing import Any, Final

from multidict import CIMultiDict
from yarl import URL

from resilient_client._core.call import Call
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import APIError, ConfigurationError
from resilient_client._core.events import EndpointEjected, EndpointRestored, EndpointsResolved, Event
from resilient_client._core.protocols import Transport
from resilient_client._core.record import AttemptRecord
from resilient_client._core.request import CallContext, ClientContext, Request
from resilient_client._policies.balancing.balancer import Admissions, Balancer
from resilient_client._policies.balancing.endpoint import EndpointState, EndpointStats
from resilient_client._policies.balancing.endpoint_pool import EndpointPool
from resilient_client._policies.http.urls import parse_base, parse_endpoints
from resilient_client._settings.load_balancing import HealthCheck, LoadBalancing, Resolve
from resilient_client._settings.timeout import TimeLimits

_SPREAD: Final = 0.1  # the share of an interval that chance adds, so that a fleet does not act in step


def resolve_dns(base_url: str) -> Resolve:
    """Each address of a host name as an endpoint of its own, for ``LoadBalancing(resolve=...)``.

    Meant for names that stand for several servers, such as headless services. Only for http: over https the servers
    would have to prove that they own an address instead of the name. They also see the address in ``Host``.

    Args:
        base_url: With the name as its host; scheme, port and path hold for all.

    Raises:
        ConfigurationError: It is no base URL, or not http.
    """
    base = parse_base(base_url)
    if base.scheme != "http":
        raise ConfigurationError(
            f"{base.origin()} is https, whose certificate names the host and not its addresses; "
            "give endpoints by their names, or http"
        )

    async def resolve() -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(base.host, base.port, type=socket.SOCK_STREAM)
        addresses = sorted({str(address[0]) for *_, address in found})  # in an order that repeats, each once
        return [str(base.with_host(address)) for address in addresses]

    return resolve


class Endpoints:
    """The set of one client, shared by its views."""

    __slots__ = ("_context", "_limits", "_model", "_settings", "_tasks", "_transport", "balancer", "endpoint_pool")

    def __init__(
        self,
        bases: tuple[URL, ...],
        settings: LoadBalancing,
        context: ClientContext,
        circuits: Admissions | None,
        transport: Transport,
        limits: TimeLimits,
    ) -> None:
        """Describe the set; touches no event loop.

        Args:
            bases: The base URLs, checked.
            settings: How one of them is chosen.
            context: Of the client.
            circuits: Who has a say in who is asked, or ``None``.
            transport: What sends the health checks.
            limits: Those of most calls, for them.
        """
        self._model = bases[0]
        self._settings = settings
        self._context = context
        self._transport = transport
        self._limits = limits
        self._tasks: list[asyncio.Task[None]] = []
        self.endpoint_pool = EndpointPool(settings, bases, context.rng, self._tell)
        self.balancer = Balancer(settings, self.endpoint_pool, context.rng, circuits)

    def states(self) -> Mapping[Endpoint, EndpointState]:
        """How each of them fares now."""
        return self.balancer.states(self._context.loop_time())

    def replace(self, urls: Iterable[str]) -> None:
        """Have these from now on; see ``APIClient.set_endpoints``."""
        self.endpoint_pool.replace(parse_endpoints(urls, self._model), self._context.loop_time())

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin what goes on beside the calls."""
        settings = self._settings
        works: list[Coroutine[Any, Any, None]] = []
        if settings.health_check is not None:
            works.append(self._every(settings.health_check.interval, partial(self._check_all, settings.health_check)))
        if settings.resolve is not None:
            works.append(self._every(settings.resolve_interval, partial(self._resolve, settings.resolve)))
        # An empty context: they belong to the client, so they inherit no deadline and no span of its first caller.
        self._tasks = [loop.create_task(work, context=Context()) for work in works]

    async def close(self) -> None:
        """End it. May be called twice."""
        tasks, self._tasks = self._tasks, []
        loop = asyncio.get_running_loop()
        running = [task for task in tasks if not task.done() and task.get_loop() is loop]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    # -- beside the calls ------------------------------------------------------------------------------------------

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await work()
            await asyncio.sleep(seconds * self._context.rng.uniform(1, 1 + _SPREAD))

    async def _check_all(self, check: HealthCheck) -> None:
        async with asyncio.TaskGroup() as group:
            for stats in self.endpoint_pool.endpoints:
                group.create_task(self._check(stats, check))

    async def _check(self, stats: EndpointStats, check: HealthCheck) -> None:
        try:
            async with asyncio.timeout(check.timeout):
                response = await self._transport.send(self._request(stats, check))
            trouble = "" if 200 <= response.status < 300 else f"status {response.status}"
        except TimeoutError:
            trouble = f"no answer within {check.timeout:g} s"
        except APIError as error:
            trouble = str(error.kind)
        except Exception as error:  # nobody's foreseen failure; its text may hold anything
            trouble = type(error).__name__
        self.endpoint_pool.checked(stats, self._context.loop_time(), trouble)

    def _request(self, stats: EndpointStats, check: HealthCheck) -> Request:
        client, endpoint = self._context, stats.endpoint
        call: Call[object] = Call("GET", check.path)
        context = CallContext(call, client, self._limits, None, endpoint, client.loop_time())
        path, _, query = check.path.partition("?")
        url = stats.url.with_path(path, encoded=True).with_query(query)
        return Request("GET", url, CIMultiDict(), None, context, AttemptRecord(1, endpoint, 0.0), endpoint)

    async def _resolve(self, resolve: Resolve) -> None:
        try:
            async with asyncio.timeout(self._settings.resolve_interval):
                self.replace(await resolve())
            trouble = ""
        except ConfigurationError as error:  # only our own texts are known to hold no secret
            trouble = str(error)
        except Exception as error:
            trouble = type(error).__name__
        if self._context.events.active:
            endpoints = tuple(stats.endpoint for stats in self.endpoint_pool.endpoints)
            self._emit(EndpointsResolved, ok=not trouble, endpoints=endpoints, detail=trouble)

    def _tell(self, endpoint: Endpoint, reason: str) -> None:
        """Turn a change into an event."""
        if not self._context.events.active:
            return
        if reason:
            self._emit(EndpointEjected, endpoint=endpoint, reason=reason)
        else:
            self._emit(EndpointRestored, endpoint=endpoint)

    def _emit(self, event: Callable[..., Event], **fields: object) -> None:
        context = self._context
        context.events.emit(event(client=context.name, at=context.loop_time(), **fields))
