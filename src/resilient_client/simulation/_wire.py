"""The network in memory: the transport from one client to all simulated upstreams.

It takes the place of aiohttp below the unchanged chain, and fills each attempt's record as the real transport does:
whether the request was sent, on a kept connection or a new one, in which stage it failed, and whether the server may
have processed it. The real ``Pool`` limits connections. A request takes no task of its own, only two timers: one until
it arrives, and one for its service time.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from contextvars import Context
from random import Random

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import APIConnectionError, APIError, APITimeoutError, ClientClosedError
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._settings.connection import ConnectionSettings
from resilient_client._transport.pool import Pool
from resilient_client.simulation._client_counters import ClientCounters
from resilient_client.simulation._distributions import Draw
from resilient_client.simulation._replica import Answer, Job, Replica
from resilient_client.simulation._server import Server
from resilient_client.simulation._stats import count

_CONTEXT = Context()  # timers of the network run in an empty context: nothing on the wire sees a caller's variables


class Wire:
    """A transport from one client to all upstreams."""

    def __init__(
        self,
        servers: Mapping[str, Server],
        counters: ClientCounters,
        round_trip: Draw,
        settings: ConnectionSettings,
        rng: Random,
    ) -> None:
        """Connect a client to the servers, on the running loop.

        Args:
            servers: The servers, by host.
            counters: The counters of the client.
            round_trip: Draws the seconds of a round trip.
            settings: How many connections there may be, and how long idle ones are kept.
            rng: The random generator of the wire.
        """
        self._loop = asyncio.get_running_loop()
        self._servers = servers
        self._counters = counters
        self._round_trip = round_trip
        self._keepalive = settings.keepalive
        self._pool = Pool(settings.pool_size, settings.pool_size_per_host)
        # Idle connections by host, the latest one last: when it expires, and how many outages the server had by then.
        self._idle: dict[str, list[tuple[float, int]]] = {}
        self._rng = rng
        self._closed = False

    @property
    def in_use(self) -> int:
        """Connections in use, and calls that wait for one; 0 when nothing is going on."""
        return self._pool.in_use + self._pool.waiting

    async def send(self, request: Request) -> Response:
        """Send one request and wait for its answer; see ``core.protocols.Transport``."""
        if self._closed:
            raise ClientClosedError("the client is closed; make a new one")
        server = self._servers.get(request.endpoint.host)
        if server is None:
            raise _unsent(request, ErrorKind.DNS, Stage.DNS, "the host name cannot be resolved")
        pool, endpoint = self._pool, request.endpoint
        if not pool.try_acquire(endpoint):
            await self._wait_for_slot(request, endpoint)
        try:
            response = await self._exchange(request, server)
        finally:
            pool.release(endpoint)
        if request.context.streaming and response.status < 400:
            response.open_body = _EmptyBody()
            request.context.open_response = response
        return response

    async def close(self) -> None:
        """Reject all further requests."""
        self._closed = True

    async def _wait_for_slot(self, request: Request, endpoint: Endpoint) -> None:
        request.attempt.queued = True
        try:
            await self._pool.acquire(endpoint)
        except asyncio.CancelledError:
            request.attempt.stage = Stage.POOL
            raise
        finally:
            request.attempt.queued = False

    async def _exchange(self, request: Request, server: Server) -> Response:
        loop, counters, attempt = self._loop, self._counters, request.attempt
        now = loop.time()
        count(counters.stats.attempts, now)
        count(server.stats.load, now)
        replica = server.pick()
        reused = self._take_idle(server, now)
        delay = self._round_trip(self._rng, 1)
        if not reused:
            if replica.outage is not None:
                await self._connect_in_outage(request, replica, delay)
            delay += self._round_trip(self._rng, 1)
        attempt.sent, attempt.reused = True, reused
        reply: asyncio.Future[Answer | None] = loop.create_future()
        job = Job(replica, request, reply)
        # From here on the request arrives, even if the client leaves before: what is on the wire cannot be taken back.
        arrives_at = loop.call_later(delay, replica.arrive, job, context=_CONTEXT).when()
        server.quiet_from = max(server.quiet_from, arrives_at)
        answer = await self._wait_for_answer(request, job, reply)
        if answer is None:
            attempt.stage = Stage.HEADERS
            counters.stale += reused
            raise _reset(request, stale=reused)
        if self._keepalive:
            self._idle.setdefault(server.upstream.name, []).append((loop.time() + self._keepalive, server.outages))
        return Response(answer.status, answer.headers, b"", request.url)

    async def _wait_for_answer(self, request: Request, job: Job, reply: asyncio.Future[Answer | None]) -> Answer | None:
        idle = request.context.settings.limits.idle
        idle_timer = None if idle is None else self._loop.call_later(idle, _time_out, reply, context=_CONTEXT)
        try:
            return await reply
        except asyncio.CancelledError:
            request.attempt.stage = Stage.HEADERS
            job.leave()
            # The event of an attempt that timed out counts its request. That of a cancelled one does not, so the
            # request is counted here.
            timeout = request.attempt.timeout
            if timeout is None or not timeout.has_fired:
                self._counters.cancelled += 1
            raise
        except TimeoutError:
            request.attempt.stage = Stage.HEADERS
            job.leave()
        finally:
            if idle_timer is not None:
                idle_timer.cancel()
        raise APITimeoutError(
            f"the server was silent for idle={idle:g} s in stage headers",
            stage=Stage.HEADERS,
            retryable=True,
            label=request.label,
        )

    def _take_idle(self, server: Server, now: float) -> bool:
        """Take the latest kept connection, as aiohttp does; return whether there was one that is still usable."""
        idle = self._idle.get(server.upstream.name)
        if not idle:
            return False
        until, outages = idle.pop()
        if now < until and outages == server.outages:
            return True
        idle.clear()  # the others are older, so they have expired or been closed too
        return False

    async def _connect_in_outage(self, request: Request, replica: Replica, delay: float) -> None:
        """Try to open a connection during an outage, and fail if the outage refuses connections or hides the host."""
        how = "error" if replica.outage is None else replica.outage.how
        if how not in ("refuse", "unreachable"):
            return
        limit = request.context.settings.limits.connect
        try:
            await asyncio.sleep(delay if how == "refuse" else math.inf if limit is None else limit)
        except asyncio.CancelledError:
            request.attempt.stage = Stage.CONNECT
            raise
        request.attempt.stage = Stage.CONNECT
        if how == "refuse":
            raise _unsent(request, ErrorKind.CONNECT, Stage.CONNECT, "cannot connect (Connection refused)")
        raise APITimeoutError(
            f"no connection within connect={limit:g} s, in stage connect",
            stage=Stage.CONNECT,
            retryable=True,
            label=request.label,
        )


class _EmptyBody:
    """The body of a streamed response. Simulated responses have no content."""

    async def read(self) -> bytes:
        """Return ``b""``, the end of the body."""
        return b""

    def close(self) -> None:
        """Do nothing: there is no connection to release."""


def _time_out(reply: asyncio.Future[Answer | None]) -> None:
    if not reply.done():
        reply.set_exception(TimeoutError())


def _unsent(request: Request, kind: ErrorKind, stage: Stage, problem: str) -> APIError:
    request.attempt.stage = stage
    return APIConnectionError(
        f"{problem}; nothing was sent",
        kind=kind,
        stage=stage,
        maybe_processed=False,
        retryable=True,
        label=request.label,
    )


def _reset(request: Request, *, stale: bool) -> APIError:
    failure = APIConnectionError(
        "the server reset the connection before the reply",
        kind=ErrorKind.DISCONNECTED,
        stage=Stage.HEADERS,
        retryable=True,
        label=request.label,
    )
    failure.stale_connection = stale
    return failure
