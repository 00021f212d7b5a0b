"""One outcome after the other: lazy in, lazy out, in memory that does not grow with the number of calls.

The workers run in a task of their own, so that neither the deadline of the fan-out nor its cancellations touch the
code that consumes it. They put outcomes into a channel, and are held back while as many wait there as may be in flight.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from resilient_client._core.errors import CallCancelledError
from resilient_client._core.outcome import Outcome
from resilient_client._core.protocols import Runner
from resilient_client._core.types import Duration
from resilient_client._core.validation import check_flag
from resilient_client._fanout.source import Calls, source_of
from resilient_client._fanout.workers import Workers, check_limits

T = TypeVar("T")

_running: set[asyncio.Task[None]] = set()
"""asyncio refers only weakly to tasks, and would let the workers of a forgotten stream vanish without cleaning up."""


def as_completed(
    calls: Calls[T],
    *,
    client: Runner | None = None,
    concurrency: int = 20,
    timeout: Duration | None = None,
    ordered: bool = False,
) -> OutcomeStream[T]:
    """Make many calls at once, and give their outcomes one by one, as they come.

    ::

        async with as_completed(calls, client=api) as outcomes:
            async for outcome in outcomes:
                ...

    Leaving the ``async with`` block early cancels the calls in flight and awaits their end. A bare
    ``async for outcome in as_completed(calls)`` does for loops that run to their end; one that is left early cancels
    the calls too, but does not wait for them, and as late as Python lets go of the stream.

    Args:
        calls: An iterable or async iterable, consumed as places become free. An async generator is closed at the end.
        client: Makes the calls that carry no client of their own (``Call.get(..., client=api)``).
        concurrency: Calls in flight at once, 1 or more. No call is begun while as many outcomes wait to be taken: a
            slow consumer holds the calls back.
        timeout: Seconds for all of them together, from the first step on; what is left then fails with ``DEADLINE``.
            The code that consumes the outcomes is not bound by it. ``None``: each call has only its own limits, and
            those of a ``deadline()`` around the first step.
        ordered: Whether outcomes come in the order of ``calls``. Then one slow call holds back all behind it: up to
            ``concurrency`` outcomes wait for it, and after that no further call is begun.

    Returns:
        The outcomes: an async iterator, and an async context manager around itself. Never raises for a failed call.
        Which of the calls get an outcome is the same as with ``gather``.

    Raises:
        InvalidRequestError: A limit is out of range, or an item is no ``Call`` or has no client to make it; for items
            of what is no list or tuple, in the step that comes to it.
        CallCancelledError: From a step: somebody cancelled the fan-out, such as one who cancels all tasks of the loop.
        Exception: From a step: what ``calls`` itself raised, once all calls in flight are cancelled and awaited.
    """
    seconds = check_limits(concurrency, timeout)
    check_flag("ordered", ordered)
    channel = _Channel[T](concurrency, ordered)
    return OutcomeStream(Workers(source_of(calls, client), concurrency, channel), channel, seconds)


class OutcomeStream(AsyncIterator[Outcome[T]]):
    """The outcomes of a fan-out, each once, as they come. Several tasks may take from it. See ``as_completed``."""

    __slots__ = ("_channel", "_driver", "_timeout", "_workers")

    def __init__(self, workers: Workers[T], channel: _Channel[T], timeout: float | None) -> None:
        """Describe a stream; nothing runs before the first step."""
        self._driver: asyncio.Task[None] | None = None
        self._workers: Workers[T] | None = workers
        self._channel = channel
        self._timeout = timeout

    async def __anext__(self) -> Outcome[T]:
        if self._workers is not None:
            self._begin(self._workers)
        channel = self._channel
        while (outcome := channel.take()) is None:
            if channel.ended:
                self._conclude()
                raise StopAsyncIteration
            await channel.arrival()
        return outcome

    async def __aenter__(self) -> Self:
        if self._workers is not None:
            self._begin(self._workers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel the calls in flight and await their end; outcomes that wait are lost. May be called twice.

        Raises:
            Exception: What ``calls`` raised, if no step has told yet.
        """
        self._workers = None
        self._channel.close()
        if self._driver is not None:
            await _end(self._driver)
            self._conclude()

    def __del__(self) -> None:
        driver = self._driver
        if driver is not None and not driver.done():
            try:
                driver.get_loop().call_soon_threadsafe(driver.cancel)  # whichever thread collects garbage
            except RuntimeError:
                pass  # the loop is closed: nothing runs any more

    def _begin(self, workers: Workers[T]) -> None:
        self._workers = None
        self._driver = driver = asyncio.get_running_loop().create_task(workers.run(self._timeout))
        _running.add(driver)
        driver.add_done_callback(_running.discard)
        driver.add_done_callback(self._channel.end)

    def _conclude(self) -> None:
        """Raise what kept outcomes from coming, such as an error of the iterable of calls; once."""
        driver = self._driver
        if driver is not None and driver.done():
            self._driver = None
            if not driver.cancelled() and (error := driver.exception()) is not None:
                raise error
            if driver.cancelled() and not self._channel.closed:
                raise CallCancelledError("the fan-out was cancelled from outside, so outcomes are missing")


class _Channel(Generic[T]):
    """Outcomes on their way from the workers to the consumer; knows neither of them, so that each can go by itself."""

    __slots__ = ("_arrived", "_held", "_limit", "_next", "_ordered", "_takers", "_waiting", "closed", "ended", "full")

    def __init__(self, limit: int, ordered: bool) -> None:
        self._limit = limit
        self._ordered = ordered
        self._waiting: dict[int, Outcome[T]] = {}  # by the place in which they are taken
        self._arrived = 0
        self._next = 0
        self._takers: list[asyncio.Future[None]] = []
        self._held: deque[asyncio.Future[None]] = deque()
        self.full = False
        self.ended = False
        self.closed = False

    async def room(self) -> None:
        while self.full:
            held = asyncio.get_running_loop().create_future()
            self._held.append(held)
            await held

    def put(self, index: int, outcome: Outcome[T]) -> str:
        if self.ended:
            return ""
        place = index if self._ordered else self._arrived
        self._arrived += 1
        self._waiting[place] = outcome
        self.full = len(self._waiting) >= self._limit
        if self._takers and place == self._next:
            self._wake()
        return ""

    def take(self) -> Outcome[T] | None:
        """The next outcome; ``None``: it is not there, and never will be if ``ended``."""
        outcome = self._waiting.pop(self._next, None)
        if outcome is not None:
            self._next += 1
            if self.full:
                self.full = len(self._waiting) >= self._limit
            if self._held and not self.full and not (held := self._held.popleft()).done():
                held.set_result(None)
        return outcome

    def arrival(self) -> asyncio.Future[None]:
        """Comes true with the next outcome, or the end. For one task only: it is cancelled with that."""
        taker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._takers = [other for other in self._takers if not other.done()]
        self._takers.append(taker)
        return taker

    def end(self, _driver: asyncio.Task[Any]) -> None:
        """Nothing more will arrive."""
        self.ended = True
        self._wake()

    def close(self) -> None:
        """Nobody takes any more."""
        self._waiting.clear()
        self.full = False
        self.closed = self.ended = True
        self._wake()

    def _wake(self) -> None:
        for taker in self._takers:
            if not taker.done():
                taker.set_result(None)
        self._takers.clear()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task and await its end. Cancelled meanwhile, do that all the same, and be cancelled then."""
    task.cancel()
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        raise cancellation
