"""The endpoints of a client: the set itself, and the tasks that keep it current.

Health checks and re-resolution are tasks of the client. They start when it is first used and end when it is closed.
They use the transport itself, below the chain, so they meet no circuit, no retry and no budget, and carry no
credentials. A failure here is emitted as an event and never harms a call.
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

from resilient_client._core.attempt import Attempt
from resilient_client._core.call import Call
from resilient_client._core.context import CallContext, ClientContext
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import APIError, ConfigurationError
from resilient_client._core.events import EndpointEjected, EndpointRestored, EndpointsResolved
from resilient_client._core.protocols import Transport
from resilient_client._core.request import Request
from resilient_client._policies.balancing.balancer import Admissions, Balancer
from resilient_client._policies.balancing.endpoint import EndpointState, EndpointStats
from resilient_client._policies.balancing.endpoint_pool import EndpointPool
from resilient_client._policies.http.quoting import quote_path, quote_query
from resilient_client._policies.http.urls import parse_base, parse_endpoints
from resilient_client._settings.call_settings import CallSettings
from resilient_client._settings.load_balancing import HealthCheck, LoadBalancing, Resolve
from resilient_client._settings.timeout import TimeLimits

_JITTER: Final = 0.1  # a random share of each interval is added, so that a fleet does not act in step


def resolve_dns(base_url: str) -> Resolve:
    """Make each address of a host name an endpoint of its own, for ``LoadBalancing(resolve=...)``.

    Meant for names that stand for several servers, such as headless services. Only for http: over https each server
    would have to prove that it owns an address instead of the name. Servers also see the address in ``Host``.

    Args:
        base_url: With the name as its host. Scheme, port and path apply to all endpoints.

    Raises:
        ConfigurationError: It is not a base URL, or not http.
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
        addresses = sorted({str(address[0]) for *_, address in found})  # each once, in a repeatable order
        return [str(base.with_host(address)) for address in addresses]

    return resolve


class EndpointSet:
    """The endpoints of one client, shared by its views.

    Attributes:
        pool: What is known of each endpoint.
        balancer: Picks one of them for each attempt.
    """

    __slots__ = ("_base", "_client", "_limits", "_settings", "_tasks", "_transport", "balancer", "pool")

    def __init__(
        self,
        base_urls: tuple[URL, ...],
        settings: LoadBalancing,
        client: ClientContext,
        circuits: Admissions | None,
        transport: Transport,
        limits: TimeLimits,
    ) -> None:
        """Describe the set; touches no event loop.

        Args:
            base_urls: One per endpoint, checked.
            settings: How an endpoint is picked.
            client: The client it belongs to.
            circuits: The circuits, which say what is admitted; ``None`` without circuit breakers.
            transport: Sends the health checks.
            limits: The time limits of the client, for health checks.
        """
        self._base = base_urls[0]
        self._settings = settings
        self._client = client
        self._transport = transport
        self._limits = limits
        self._tasks: list[asyncio.Task[None]] = []
        self.pool = EndpointPool(settings, base_urls, client.rng, self._on_change)
        self.balancer = Balancer(settings, self.pool, client.rng, circuits)

    def states(self) -> Mapping[Endpoint, EndpointState]:
        """A snapshot of each endpoint's state."""
        return self.balancer.states(self._client.loop_time())

    def replace(self, urls: Iterable[str]) -> None:
        """Use these endpoints from now on; see ``APIClient.set_endpoints``."""
        self.pool.replace(parse_endpoints(urls, self._base), self._client.loop_time())

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the health checks and the re-resolution, where they are on."""
        settings = self._settings
        jobs: list[Coroutine[Any, Any, None]] = []
        if settings.health_check is not None:
            jobs.append(self._every(settings.health_check.interval, partial(self._check_all, settings.health_check)))
        if settings.resolve is not None:
            jobs.append(self._every(settings.resolve_interval, partial(self._resolve, settings.resolve)))
        # An empty context: the tasks belong to the client and inherit neither deadline nor span of its first caller.
        self._tasks = [loop.create_task(job, context=Context()) for job in jobs]

    async def close(self) -> None:
        """Stop the tasks. May be called twice."""
        tasks, self._tasks = self._tasks, []
        loop = asyncio.get_running_loop()
        running = [task for task in tasks if not task.done() and task.get_loop() is loop]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _every(self, seconds: float, job: Callable[[], Awaitable[None]]) -> None:
        while True:
            await job()
            await asyncio.sleep(seconds * self._client.rng.uniform(1, 1 + _JITTER))

    async def _check_all(self, check: HealthCheck) -> None:
        async with asyncio.TaskGroup() as group:
            for stats in self.pool.endpoints:
                group.create_task(self._check(stats, check))

    async def _check(self, stats: EndpointStats, check: HealthCheck) -> None:
        try:
            async with asyncio.timeout(check.timeout):
                response = await self._transport.send(self._request(stats, check))
            fault = "" if 200 <= response.status < 300 else f"status {response.status}"
        except TimeoutError:
            fault = f"no answer within {check.timeout:g} s"
        except APIError as error:
            fault = str(error.kind)
        except Exception as error:  # a bug, whose text may contain anything
            fault = type(error).__name__
        self.pool.checked(stats, self._client.loop_time(), fault)

    def _request(self, stats: EndpointStats, check: HealthCheck) -> Request:
        endpoint = stats.endpoint
        call: Call[object] = Call("GET", check.path)
        context = CallContext(call, self._client, CallSettings(self._limits), self._client.loop_time())
        context.upstream = endpoint
        path, _, query = check.path.partition("?")
        url = stats.url.join(URL.build(path=quote_path(path), query_string=quote_query(query), encoded=True))
        return Request("GET", url, CIMultiDict(), None, context, Attempt(1, endpoint, 0.0), endpoint)

    async def _resolve(self, resolve: Resolve) -> None:
        try:
            async with asyncio.timeout(self._settings.resolve_interval):
                self.replace(await resolve())
            fault = ""
        except ConfigurationError as error:  # our own texts hold no secret
            fault = str(error)
        except Exception as error:
            fault = type(error).__name__
        endpoints = tuple(stats.endpoint for stats in self.pool.endpoints)
        client = self._client
        client.emit(EndpointsResolved, client.loop_time(), ok=not fault, endpoints=endpoints, detail=fault)

    def _on_change(self, endpoint: Endpoint, reason: str) -> None:
        """Emit an ejection, or without a reason a return, as an event."""
        at = self._client.loop_time()
        if reason:
            self._client.emit(EndpointEjected, at, endpoint, reason)
        else:
            self._client.emit(EndpointRestored, at, endpoint)
