"""One copy of an upstream, living: servers and a queue that take requests, work, fall over and come back.

Runs on timers of the loop alone; only handlers, and calls to further upstreams, are tasks. It never knows a policy:
what it sees of clients are requests, and that some leave.
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
from resilient_client.simulation._distributions import drawing
from resilient_client.simulation._tally import UpstreamTally, count
from resilient_client.simulation._upstream import Reply, Upstream, Visit

_DIES = frozenset({"refuse", "reset", "hang", "unreachable"})
_ENDLESS = 1 << 62


class Answer:
    """What a client gets to see; ``None`` instead of one: its connection was reset."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = CIMultiDictProxy(CIMultiDict(headers))


class Job:
    """One request in the hands of a replica.

    Attributes:
        request: What the client sent.
        reply: Where the client waits.
        left: Whether it does so no longer.
        replica: Who has it.
        timer: What ends its service.
        rest: Seconds of service still to come, while frozen; ``None``: it has not begun.
        task: Its handler, while that runs.
        waiting: Whether it stands in the queue.
    """

    __slots__ = ("left", "replica", "reply", "request", "rest", "task", "timer", "waiting")

    def __init__(self, replica: Replica, request: Request, reply: asyncio.Future[Answer | None]) -> None:
        self.replica = replica
        self.request = request
        self.reply = reply
        self.left = False
        self.timer: asyncio.TimerHandle | None = None
        self.rest: float | None = None
        self.task: asyncio.Task[None] | None = None
        self.waiting = False

    def leave(self) -> None:
        """The client is gone."""
        self.left = True
        self.replica.on_leave(self)

    def give(self, answer: Answer | None) -> None:
        """Let the client have its answer, if it still waits."""
        if not self.reply.done():
            self.reply.set_result(answer)

    def stop(self) -> None:
        """End the work on it, whatever it is."""
        if self.timer is not None:
            self.timer.cancel()
        if self.task is not None:
            self.task.cancel()


class Replica:
    """One copy of an upstream: its servers, its queue, and how it fares now."""

    def __init__(
        self,
        upstream: Upstream,
        number: int,
        tally: UpstreamTally,
        clients: Mapping[str, APIClient],
        rng: Random,
        on_bug: Callable[[BaseException], None],
    ) -> None:
        """Serve, on the running loop.

        Args:
            upstream: What it is a copy of.
            number: Counted from 0.
            tally: Where it counts.
            clients: For the upstreams that it calls.
            rng: Its source of chance.
            on_bug: Is told of what a handler raises.
        """
        self._loop = asyncio.get_running_loop()
        self._context = Context()  # a server does not inherit the caller's variables, such as its deadline
        self._upstream = upstream
        self._number = number
        self._tally = tally
        self._clients = clients
        self._rng = rng
        self._on_bug = on_bug
        self._draw = drawing(upstream.service)
        self._busy: dict[Job, None] = {}  # a dict, as a set has no order that repeats
        self._queue: deque[Job] = deque()
        self._waiting = 0
        self._held: list[tuple[Job, Answer]] = []
        advice = {} if upstream.retry_after is None else {"Retry-After": f"{upstream.retry_after:g}"}
        self._ok = Answer(200, {})
        self._full = Answer(503, advice)
        self._failed = Answer(upstream.error_status, advice if upstream.error_status == 503 else {})
        self.servers = _ENDLESS if upstream.servers is None else upstream.servers
        self.error_rate = upstream.error_rate
        self.slowdown = 1.0
        self.frozen = False
        self.outage: Outage | None = None

    # -- requests ------------------------------------------------------------------------------------------------

    def arrive(self, job: Job) -> None:
        """Take a request."""
        tally = self._tally
        count(tally.arrived, self._loop.time())
        if self.outage is not None:
            self._fall(job, self.outage)
        elif job.left and not self._upstream.keeps_working:
            tally.dropped += 1
        elif len(self._busy) < self.servers:
            self._begin(job)
        elif self._upstream.queue is None or self._waiting < self._upstream.queue:
            self._waiting += 1
            job.waiting = True
            self._queue.append(job)
        else:
            tally.shed += 1
            self._answer(job, self._full)
        in_hand = len(self._busy) + self._waiting
        tally.peak = max(tally.peak, in_hand)

    def on_leave(self, job: Job) -> None:
        """The client of a request is gone: most servers do not notice."""
        if self._upstream.keeps_working:
            return
        if job.waiting:
            job.waiting = False  # it is passed over when its turn comes
            self._waiting -= 1
            self._tally.dropped += 1
        elif job in self._busy:
            del self._busy[job]
            job.stop()
            self._tally.dropped += 1
            self._next()

    def _begin(self, job: Job) -> None:
        self._busy[job] = None
        if not self.frozen:
            self._serve(job, self._draw(self._rng, len(self._busy) + self._waiting) * self.slowdown)

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
        if self.frozen:
            self._held.append((job, answer))
            return
        del self._busy[job]
        self._answer(job, answer)
        self._next()

    def _next(self) -> None:
        while self._waiting and len(self._busy) < self.servers:
            job = self._queue.popleft()
            if job.waiting:
                job.waiting = False
                self._waiting -= 1
                self._begin(job)

    def _answer(self, job: Job, answer: Answer) -> None:
        tally = self._tally
        if job.left:
            count(tally.wasted, self._loop.time())
            return
        count(tally.answered, self._loop.time())
        if answer.status >= 400:
            tally.errors += 1
        job.give(answer)

    # -- what befalls it -----------------------------------------------------------------------------------------

    def become(self, changes: list[Change]) -> None:
        """Be in the state that these changes, and no others, make."""
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
        self.servers = _ENDLESS if servers is None else servers
        if outage is not None and outage is not self.outage and outage.how in _DIES:
            self._lose_all(outage)
        self.outage = outage
        if frozen != self.frozen:
            self.frozen = frozen
            if frozen:
                self._freeze()
            else:
                self._thaw()
        self._next()

    def _fall(self, job: Job, outage: Outage) -> None:
        """Meet a request in an outage."""
        if outage.how == "error":
            self._answer(job, Answer(outage.status, self._full.headers if outage.status == 503 else {}))
        elif outage.how in ("hang", "unreachable"):
            self._tally.lost += 1
        else:
            self._tally.cut += 1
            job.give(None)

    def _lose_all(self, outage: Outage) -> None:
        jobs = [*self._busy, *(job for job in self._queue if job.waiting)]
        self._clear()
        for job in jobs:
            job.stop()
            self._fall(job, outage)

    def _clear(self) -> None:
        self._busy.clear()
        self._queue.clear()
        self._held.clear()
        self._waiting = 0

    def _freeze(self) -> None:
        now = self._loop.time()
        for job in self._busy:
            if job.timer is not None:
                job.rest = job.timer.when() - now
                job.timer.cancel()
                job.timer = None

    def _thaw(self) -> None:
        held, self._held = self._held, []
        for job, answer in held:
            self._finish(job, answer)
        for job in [job for job in self._busy if job.task is None and job.timer is None]:
            rest, job.rest = job.rest, None
            if rest is None:
                rest = self._draw(self._rng, len(self._busy) + self._waiting) * self.slowdown
            self._serve(job, rest)

    async def close(self) -> None:
        """Drop everything."""
        jobs = [*self._busy, *(job for job in self._queue if job.waiting)]
        self._tally.unfinished += len(jobs)
        self._clear()
        for job in jobs:
            job.stop()
        await asyncio.gather(*(job.task for job in jobs if job.task is not None), return_exceptions=True)


async def _call_all(visit: Visit) -> int:
    """What a layer does: call everybody it depends on; 503 if one fails."""
    for client in visit.clients.values():
        if isinstance(await client.run(_CALL), Failure):
            return 503
    return 200


_CALL: Call[object] = Call("GET", "/")
