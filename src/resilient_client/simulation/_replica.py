"""One running copy of an upstream: servers and a queue.

The model is a queue with ``c`` servers and a bounded waiting line (G/G/c/K in Kendall's notation). A request goes
through these states::

    arrive ──► begin (a server is free) ──► served (its service time is over) ──► handler, if any ──► finish
       ├─────► wait in the queue ──► begin
       └─────► shed with 503 (the queue is full), or meet an outage

Service times are timers of the loop. Only handlers, and calls to further upstreams, are tasks. The model knows nothing
of the client's policies: it sees requests, and that the client of a request has left.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import Context
from random import Random

from multidict import CIMultiDict, CIMultiDictProxy

from resilient_client._client.client import APIClient
from resilient_client._core.call import Call
from resilient_client._core.outcome import Failure
from resilient_client._core.request import Request
from resilient_client.simulation._changes import Capacity, Change, Errors, Outage, Slowdown, Stall
from resilient_client.simulation._distributions import draw_of
from resilient_client.simulation._stats import UpstreamStats, count
from resilient_client.simulation._upstream import Reply, Upstream, Visit

_LOSES_REQUESTS = frozenset({"refuse", "reset", "hang", "unreachable"})
"""Kinds of outages that lose the requests in progress when they begin."""
_UNLIMITED = 1 << 62


class Answer:
    """An answer to a client. Where ``None`` stands in its place, the connection was reset."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = CIMultiDictProxy(CIMultiDict(headers))


class Job:
    """One request in a replica.

    Attributes:
        request: The request that the client sent.
        reply: The future that the client waits for.
        left: Whether the client has left, so that nothing waits for the answer any more.
        replica: The replica that received the request.
        timer: The timer that ends the service time, while it runs.
        remaining: Seconds of service that remain when a stall ends. ``None``: the service had not begun.
        task: The task of the handler, while it runs.
        waiting: Whether the request is waiting in the queue.
    """

    __slots__ = ("left", "remaining", "replica", "reply", "request", "task", "timer", "waiting")

    def __init__(self, replica: Replica, request: Request, reply: asyncio.Future[Answer | None]) -> None:
        self.replica = replica
        self.request = request
        self.reply = reply
        self.left = False
        self.timer: asyncio.TimerHandle | None = None
        self.remaining: float | None = None
        self.task: asyncio.Task[None] | None = None
        self.waiting = False

    def leave(self) -> None:
        """Note that the client has left."""
        self.left = True
        self.replica.on_client_left(self)

    def resolve(self, answer: Answer | None) -> None:
        """Give the client its answer, if it still waits."""
        if not self.reply.done():
            self.reply.set_result(answer)

    def stop(self) -> None:
        """Stop the work on the request: its service time or its handler."""
        if self.timer is not None:
            self.timer.cancel()
        if self.task is not None:
            self.task.cancel()


class Replica:
    """One copy of an upstream: its servers, its queue, and the changes that are active now."""

    def __init__(
        self,
        upstream: Upstream,
        number: int,
        stats: UpstreamStats,
        clients: Mapping[str, APIClient],
        rng: Random,
        on_bug: Callable[[BaseException], None],
    ) -> None:
        """Start serving on the running loop.

        Args:
            upstream: The description of the upstream.
            number: The number of the replica, counted from 0.
            stats: The statistics of the upstream, shared by its replicas.
            clients: The clients for the upstreams that it calls, by name.
            rng: The random generator of the replica.
            on_bug: Called with every exception that a handler raises.
        """
        self._loop = asyncio.get_running_loop()
        # Timers run in an empty context: over HTTP, a server does not inherit the caller's context variables either,
        # such as its deadline.
        self._context = Context()
        self._upstream = upstream
        self._number = number
        self._stats = stats
        self._clients = clients
        self._rng = rng
        self._on_bug = on_bug
        self._draw = draw_of(upstream.service)
        self._busy: dict[Job, None] = {}  # used as a set whose order is the same in every process
        # Jobs whose client has left stay in the queue and are skipped later: to remove one from the middle takes O(n).
        # So `_waiting`, not the length of the queue, is the number of waiting requests.
        self._queue: deque[Job] = deque()
        self._waiting = 0
        self._held: list[tuple[Job, Answer]] = []  # handlers that returned during a stall, with their answers
        retry_after = {} if upstream.retry_after is None else {"Retry-After": f"{upstream.retry_after:g}"}
        self._ok = Answer(200, {})
        self._full = Answer(503, retry_after)
        self._failed = Answer(upstream.error_status, retry_after if upstream.error_status == 503 else {})
        self.servers = _UNLIMITED if upstream.servers is None else upstream.servers
        self.error_rate = upstream.error_rate
        self.slowdown = 1.0
        self.frozen = False
        self.outage: Outage | None = None

    # -- requests ------------------------------------------------------------------------------------------------

    def arrive(self, job: Job) -> None:
        """Accept a request: begin it, put it into the queue, shed it, or let it meet an outage."""
        stats = self._stats
        count(stats.arrived, self._loop.time())
        if self.outage is not None:
            self._meet_outage(job, self.outage)
        elif job.left and not self._upstream.keeps_working:
            stats.dropped += 1
        elif len(self._busy) < self.servers:
            self._begin(job)
        elif self._upstream.queue is None or self._waiting < self._upstream.queue:
            self._waiting += 1
            job.waiting = True
            self._queue.append(job)
        else:
            stats.shed += 1
            self._answer(job, self._full)
        stats.peak = max(stats.peak, self._in_progress)

    def on_client_left(self, job: Job) -> None:
        """Drop the request of a client that has left, unless the upstream ``keeps_working``."""
        if self._upstream.keeps_working:
            return
        if job.waiting:
            job.waiting = False  # it stays in the queue, and is skipped there
            self._waiting -= 1
            self._stats.dropped += 1
        elif job in self._busy:
            del self._busy[job]
            job.stop()
            self._stats.dropped += 1
            self._begin_waiting()

    @property
    def _in_progress(self) -> int:
        return len(self._busy) + self._waiting

    def _begin(self, job: Job) -> None:
        self._busy[job] = None
        if not self.frozen:  # during a stall a request takes a server, and its service begins when the stall ends
            self._serve(job, self._draw_service())

    def _draw_service(self) -> float:
        """Draw a service time at the current load, the request that begins now included."""
        return self._draw(self._rng, self._in_progress) * self.slowdown

    def _serve(self, job: Job, seconds: float) -> None:
        job.timer = self._loop.call_later(seconds, self._served, job, context=self._context)

    def _served(self, job: Job) -> None:
        job.timer = None
        if self.error_rate and self._rng.random() < self.error_rate:
            self._finish(job, self._failed)
        elif self._upstream.handler is None and not self._upstream.calls:
            self._finish(job, self._ok)
        else:
            job.task = self._loop.create_task(self._handle(job))

    async def _handle(self, job: Job) -> None:
        handler = self._upstream.handler or _call_all
        try:
            answer = await handler(Visit(job.request, self._clients, self._rng, self._number))
        except Exception as bug:
            self._on_bug(bug)
            return
        job.task = None
        if isinstance(answer, Reply):
            self._finish(job, Answer(answer.status, answer.headers))
        elif answer is None or answer == self._ok.status:
            self._finish(job, self._ok)
        else:
            self._finish(job, self._failed if answer == self._failed.status else Answer(answer, {}))

    def _finish(self, job: Job, answer: Answer) -> None:
        if self.frozen:  # a handler runs on timers of its own, which a stall cannot stop, so its answer is held back
            self._held.append((job, answer))
            return
        del self._busy[job]
        self._answer(job, answer)
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        """Begin requests from the queue, in order, as long as servers are free."""
        while self._waiting and len(self._busy) < self.servers:
            job = self._queue.popleft()
            if job.waiting:
                job.waiting = False
                self._waiting -= 1
                self._begin(job)

    def _answer(self, job: Job, answer: Answer) -> None:
        stats = self._stats
        if job.left:
            count(stats.wasted, self._loop.time())
            return
        count(stats.answered, self._loop.time())
        if answer.status >= 400:
            stats.errors += 1
        job.resolve(answer)

    # -- changes -------------------------------------------------------------------------------------------------

    def apply_changes(self, changes: list[Change]) -> None:
        """Apply all changes that are active now; earlier ones that are not among them have ended."""
        upstream = self._upstream
        servers, self.error_rate, self.slowdown = upstream.servers, upstream.error_rate, 1.0
        outage, frozen = None, False
        for change in changes:
            match change:
                case Outage():
                    outage = change
                case Stall():
                    frozen = True
                case Capacity():
                    servers = change.servers
                case Slowdown():
                    self.slowdown *= change.factor
                case Errors():
                    self.error_rate = change.rate
        self.servers = _UNLIMITED if servers is None else servers
        # Requests are lost once, when the outage begins, and not again when another change begins during it.
        if outage is not None and outage is not self.outage and outage.how in _LOSES_REQUESTS:
            self._lose_all(outage)
        self.outage = outage
        if frozen != self.frozen:
            self.frozen = frozen
            if frozen:
                self._freeze()
            else:
                self._unfreeze()
        self._begin_waiting()  # the capacity may have grown; a smaller one takes effect as servers become free

    def _meet_outage(self, job: Job, outage: Outage) -> None:
        """Give a request the result that this kind of outage has for it."""
        if outage.how == "error":
            self._answer(job, Answer(outage.status, self._full.headers if outage.status == 503 else {}))
        elif outage.how in ("hang", "unreachable"):
            self._stats.lost += 1
        else:
            self._stats.cut += 1
            job.resolve(None)

    def _lose_all(self, outage: Outage) -> None:
        for job in self._clear():
            job.stop()
            self._meet_outage(job, outage)

    def _clear(self) -> list[Job]:
        """Remove all requests in progress, and return them."""
        jobs = [*self._busy, *(job for job in self._queue if job.waiting)]
        self._busy.clear()
        self._queue.clear()
        self._held.clear()
        self._waiting = 0
        return jobs

    def _freeze(self) -> None:
        """Stop all service times, and keep what remains of each."""
        now = self._loop.time()
        for job in self._busy:
            if job.timer is not None:
                job.remaining = job.timer.when() - now
                job.timer.cancel()
                job.timer = None

    def _unfreeze(self) -> None:
        """Finish the requests that were held back, and resume all service times."""
        held, self._held = self._held, []
        for job, answer in held:
            self._finish(job, answer)  # this may begin requests from the queue, which then have a timer
        for job in [job for job in self._busy if job.task is None and job.timer is None]:
            remaining, job.remaining = job.remaining, None
            self._serve(job, self._draw_service() if remaining is None else remaining)

    async def close(self) -> None:
        """Drop all requests in progress, and wait until their handlers have ended."""
        jobs = self._clear()
        self._stats.unfinished += len(jobs)
        for job in jobs:
            job.stop()
        await asyncio.gather(*(job.task for job in jobs if job.task is not None), return_exceptions=True)


async def _call_all(visit: Visit) -> int:
    """Call all upstreams that this one depends on, in order; return 503 if one of them fails."""
    for client in visit.clients.values():
        if isinstance(await client.run(_CALL), Failure):
            return 503
    return 200


_CALL: Call[object] = Call("GET", "/")
