"""The network in memory: one client's transport, which leads to simulated upstreams.

It stands where aiohttp stands, below the unchanged chain, and marks each attempt as the real transport does: whether
it was sent, on a kept connection or a new one, in which stage it failed, whether the server may have acted. Places
for connections are counted by the real pool. It never sleeps on its own account: a request is two timers.
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
from resilient_client.simulation._account import Account
from resilient_client.simulation._distributions import Draw
from resilient_client.simulation._replica import Answer, Job, Replica
from resilient_client.simulation._server import Server
from resilient_client.simulation._tally import count

_CONTEXT = Context()  # of the network: nothing on the wire sees a caller's variables


class Wire:
    """A transport from one client to all upstreams."""

    def __init__(
        self,
        servers: Mapping[str, Server],
        account: Account,
        round_trip: Draw,
        settings: ConnectionSettings,
        rng: Random,
    ) -> None:
        """Lay the wire, on the running loop.

        Args:
            servers: Who is at its other end, by host.
            account: Of the client.
            round_trip: Draws the seconds there and back.
            settings: How many connections there may be, and how long idle ones are kept.
            rng: The source of chance.
        """
        self._loop = asyncio.get_running_loop()
        self._servers = servers
        self._account = account
        self._round_trip = round_trip
        self._keepalive = settings.keepalive
        self._pool = Pool(settings.pool_size, settings.pool_size_per_host)
        self._idle: dict[str, list[tuple[float, int]]] = {}
        self._rng = rng
        self._closed = False

    @property
    def in_use(self) -> int:
        """Connections in use, and callers that wait for one; 0 when all is quiet."""
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
            await self._wait_for_place(request, endpoint)
        try:
            response = await self._exchange(request, server)
        finally:
            pool.release(endpoint)
        if request.context.streaming and response.status < 400:
            response.open_body = _NoBody()
            request.context.open_response = response
        return response

    async def close(self) -> None:
        """Send nothing more."""
        self._closed = True

    async def _wait_for_place(self, request: Request, endpoint: Endpoint) -> None:
        request.attempt.queued = True
        try:
            await self._pool.acquire(endpoint)
        except asyncio.CancelledError:
            request.attempt.stage = Stage.POOL
            raise
        finally:
            request.attempt.queued = False

    async def _exchange(self, request: Request, server: Server) -> Response:
        loop, account, record = self._loop, self._account, request.attempt
        now = loop.time()
        count(account.tally.attempts, now)
        count(server.tally.load, now)
        replica = server.pick()
        reused = self._take_idle(server, now)
        delay = self._round_trip(self._rng, 1)
        if not reused:
            if replica.outage is not None:
                await self._connect(request, replica, delay)
            delay += self._round_trip(self._rng, 1)
        record.sent, record.reused = True, reused
        reply: asyncio.Future[Answer | None] = loop.create_future()
        job = Job(replica, request, reply)
        comes = loop.call_later(delay, replica.arrive, job, context=_CONTEXT).when()
        server.quiet_from = max(server.quiet_from, comes)
        answer = await self._answer(request, job, reply)
        if answer is None:
            record.stage = Stage.HEADERS
            account.stale += reused
            raise _reset(request, stale=reused)
        if self._keepalive:
            self._idle.setdefault(server.upstream.name, []).append((loop.time() + self._keepalive, server.outages))
        return Response(answer.status, answer.headers, b"", request.url)

    async def _answer(self, request: Request, job: Job, reply: asyncio.Future[Answer | None]) -> Answer | None:
        idle = request.context.settings.limits.idle
        silence = None if idle is None else self._loop.call_later(idle, _fall_silent, reply, context=_CONTEXT)
        try:
            return await reply
        except asyncio.CancelledError:
            request.attempt.stage = Stage.HEADERS
            job.leave()
            timeout = request.attempt.timeout
            if timeout is None or not timeout.has_fired:
                self._account.left += 1
            raise
        except TimeoutError:
            request.attempt.stage = Stage.HEADERS
            job.leave()
        finally:
            if silence is not None:
                silence.cancel()
        raise APITimeoutError(
            f"the server was silent for idle={idle:g} s in stage headers",
            stage=Stage.HEADERS,
            retryable=True,
            label=request.label,
        )

    def _take_idle(self, server: Server, now: float) -> bool:
        """Take a kept connection, if there is one that is still good: the youngest, as aiohttp does."""
        idle = self._idle.get(server.upstream.name)
        if not idle:
            return False
        until, outages = idle.pop()
        if now < until and outages == server.outages:
            return True
        idle.clear()  # the others are older
        return False

    async def _connect(self, request: Request, replica: Replica, delay: float) -> None:
        """Try to connect in an outage."""
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


class _NoBody:
    """The body of a streamed answer: simulated answers have none."""

    async def read(self) -> bytes:
        """The end."""
        return b""

    def close(self) -> None:
        """Nothing to give back."""


def _fall_silent(reply: asyncio.Future[Answer | None]) -> None:
    if not reply.done():
        reply.set_exception(TimeoutError())


def _unsent(request: Request, kind: ErrorKind, stage: Stage, what: str) -> APIError:
    request.attempt.stage = stage
    return APIConnectionError(
        f"{what}; nothing was sent", kind=kind, stage=stage, maybe_processed=False, retryable=True, label=request.label
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
