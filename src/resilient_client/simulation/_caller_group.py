"""A running group of callers: starts calls at their arrival times, whether or not earlier calls have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from random import Random

from resilient_client._core.call import Call, CallOptions
from resilient_client.simulation._arrivals import ClosedLoop, Moment
from resilient_client.simulation._client_counters import ClientCounters
from resilient_client.simulation._distributions import Draw, draw_of
from resilient_client.simulation._scenario import Callers


class CallerGroup:
    """One running group of callers.

    Each call runs in a task of its own, as in a real service: it has its own deadline and can be cancelled.

    Attributes:
        done: Resolved when the last call has ended.
    """

    __slots__ = (
        "_call", "_clients", "_due", "_duration", "_loop", "_moments", "_on_bug", "_running", "_timer", "done",
    )  # fmt: skip  # one name per line is harder to read

    def __init__(
        self,
        group: Callers,
        clients: Sequence[ClientCounters],
        duration: float,
        rng: Random,
        on_bug: Callable[[BaseException], None],
    ) -> None:
        """Start the group on the running loop.

        Args:
            group: The description of the group.
            clients: The counters of its clients, in order.
            duration: Seconds during which calls start.
            rng: The random generator of the arrivals.
            on_bug: Called with every exception that a call is not expected to raise.
        """
        self._loop = asyncio.get_running_loop()
        self._clients = clients
        self._duration = duration
        self._on_bug = on_bug
        options: CallOptions = {} if group.idempotent is None else {"idempotent": group.idempotent}
        self._call: Call[object] = Call(group.method, group.path, **options)
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._running: dict[asyncio.Task[None], None] = {}
        self._moments: Iterator[Moment] = iter(())
        if isinstance(group.arrivals, ClosedLoop):
            pause = draw_of(group.arrivals.pause)
            for counters in clients:
                for _ in range(group.arrivals.workers):
                    self._start(self._work(counters, pause, rng))
        elif callable(group.arrivals):
            self._moments = group.arrivals(rng, group.clients)
        else:
            self._moments = group.arrivals.moments(rng, group.clients)
        self._due: Moment | None = next(self._moments, None)
        self._start_due_calls()

    @property
    def running(self) -> int:
        """Calls in progress; workers in a ``ClosedLoop``."""
        return len(self._running)

    def _start_due_calls(self) -> None:
        """Start the calls that are due, and set a timer for the next one.

        Only one arrival is looked up in advance: an arrival process may be endless.
        """
        self._timer = None
        now = self._loop.time()
        while (due := self._due) is not None and due[0] <= now and due[0] < self._duration:
            self._start(self._send(self._clients[due[1]]))
            self._due = next(self._moments, None)
        if due is not None and due[0] < self._duration:
            self._timer = self._loop.call_at(due[0], self._start_due_calls)
        elif not self._running:
            self.done.set_result(None)

    def _start(self, work: Coroutine[object, None, None]) -> None:
        task = self._loop.create_task(work)
        self._running[task] = None
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled() and (bug := task.exception()) is not None:
            self._on_bug(bug)
        if not self._running and self._timer is None and not self.done.done():
            self.done.set_result(None)

    async def _send(self, counters: ClientCounters) -> None:
        counters.started = (counters.started or 0) + 1
        await counters.api.run(self._call)

    async def _work(self, counters: ClientCounters, pause: Draw, rng: Random) -> None:
        while self._loop.time() + (seconds := pause(rng, 1)) < self._duration:
            await asyncio.sleep(seconds)
            await self._send(counters)
