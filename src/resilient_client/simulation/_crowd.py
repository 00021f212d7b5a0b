"""The callers, living: they begin calls when their arrivals say so, whatever becomes of the earlier ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from random import Random

from resilient_client._core.call import Call, CallOptions
from resilient_client.simulation._account import Account
from resilient_client.simulation._arrivals import ClosedLoop, Moment
from resilient_client.simulation._distributions import Draw, drawing
from resilient_client.simulation._scenario import Callers


class Crowd:
    """One group of callers. Each call is a task, as in life: it has its own deadline and can be cancelled.

    Attributes:
        done: Done when the last call has ended.
    """

    __slots__ = (
        "_accounts", "_call", "_due", "_duration", "_loop", "_moments", "_on_bug", "_running", "_timer", "done",
    )  # fmt: skip  # one name a line says no more

    def __init__(
        self,
        group: Callers,
        accounts: Sequence[Account],
        duration: float,
        rng: Random,
        on_bug: Callable[[BaseException], None],
    ) -> None:
        """Begin, on the running loop.

        Args:
            group: The description.
            accounts: Of the clients, in order.
            duration: Seconds in which calls begin.
            rng: When they begin.
            on_bug: Is told of exceptions that nobody foresaw.
        """
        self._loop = asyncio.get_running_loop()
        self._accounts = accounts
        self._duration = duration
        self._on_bug = on_bug
        options: CallOptions = {} if group.idempotent is None else {"idempotent": group.idempotent}
        self._call: Call[object] = Call(group.method, group.path, **options)
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._running: dict[asyncio.Task[None], None] = {}
        self._moments: Iterator[Moment] = iter(())
        if isinstance(group.arrivals, ClosedLoop):
            pause = drawing(group.arrivals.pause)
            for account in accounts:
                for _ in range(group.arrivals.workers):
                    self._start(self._work(account, pause, rng))
        elif callable(group.arrivals):
            self._moments = group.arrivals(rng, group.clients)
        else:
            self._moments = group.arrivals.moments(rng, group.clients)
        self._due: Moment | None = next(self._moments, None)
        self._arrive()

    @property
    def running(self) -> int:
        """Calls, or workers, under way."""
        return len(self._running)

    def _arrive(self) -> None:
        """Begin the calls that are due, and come back for the next one."""
        self._timer = None
        now = self._loop.time()
        while (due := self._due) is not None and due[0] <= now and due[0] < self._duration:
            self._start(self._make(self._accounts[due[1]]))
            self._due = next(self._moments, None)
        if due is not None and due[0] < self._duration:
            self._timer = self._loop.call_at(due[0], self._arrive)
        elif not self._running:
            self.done.set_result(None)

    def _start(self, work: Coroutine[object, None, None]) -> None:
        task = self._loop.create_task(work)
        self._running[task] = None
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled() and (bug := task.exception()) is not None:
            self._on_bug(bug)
        if not self._running and self._timer is None and not self.done.done():
            self.done.set_result(None)

    async def _make(self, account: Account) -> None:
        account.begun = (account.begun or 0) + 1
        await account.api.run(self._call)

    async def _work(self, account: Account, pause: Draw, rng: Random) -> None:
        while self._loop.time() + (seconds := pause(rng, 1)) < self._duration:
            await asyncio.sleep(seconds)
            await self._make(account)
