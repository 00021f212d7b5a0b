"""The source of a fan-out's calls: any iterable or async iterable, drawn one call at a time.

A call is drawn only when a worker is free to run it. It is checked and numbered here.

A generator may hold context managers across its yields: context variables, timeouts, task groups. These must be entered
and left in the same context, and timeouts and task groups in the same task. So all draws of an iterable run in one
context, and all draws of an async iterable in one task, whichever worker needs the call.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Sized
from contextvars import copy_context
from functools import partial
from inspect import iscoroutine
from itertools import count
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from resilient_client._core.call import Call
from resilient_client._core.deadline import RESOLUTION
from resilient_client._core.errors import CallCancelledError, InvalidRequestError
from resilient_client._core.protocols import Runner
from resilient_client._core.validation import discard, has_methods, kind_of

T = TypeVar("T")

Calls: TypeAlias = "Iterable[Call[T]] | AsyncIterable[Call[T]]"
"""The calls of a fan-out, as a caller passes them."""


Drawn: TypeAlias = tuple[int, Call[T], Runner]
"""A drawn call: its index in the input, from 0, the call, and the runner that runs it."""


class Tasks(Protocol):
    """The tasks of a fan-out. If one of them fails, all of them end.

    Attributes:
        aborted: Whether they have to end now, because one failed or the caller was cancelled.
    """

    aborted: bool

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start one more task."""
        ...


class Source(Protocol[T]):
    """Gives calls to workers.

    Attributes:
        length: The number of calls, or ``None`` if it is not known.
        sized: Whether every call gets an outcome, even if it is never started. That needs an input that surely ends.
        cut_off: The index after the last call drawn, if the deadline ended the draws, else ``None``. The input may
            have had further calls.
    """

    length: int | None
    sized: bool
    cut_off: int | None

    def open(self, tasks: Tasks, ends_at: float) -> None:
        """Prepare to draw.

        Args:
            tasks: Where the source may start a task of its own. It ends with the last draw, or at ``ends_at``.
            ends_at: The deadline in loop time, or infinity.
        """
        ...

    def draw(self) -> Drawn[T] | asyncio.Future[Drawn[T] | None] | None:
        """The next call, or a future of it. ``None``, now or in the future: there are no more.

        Raises:
            InvalidRequestError: The item is not a call, or there is no client to run it.
            Exception: The iterable itself raised it.
        """
        ...

    def stop(self) -> None:
        """Draw no more from an input that may be endless."""
        ...


def source_of(calls: Calls[T], client: Runner | None) -> Source[T]:
    """The source for the calls of a fan-out. All items of a list or tuple are checked now, before any call is run.

    Args:
        calls: The input.
        client: Runs the calls that have no client of their own.

    Raises:
        InvalidRequestError: The input is not an iterable, or an item is not a call or has no client to run it.
    """
    if client is not None and not has_methods(client, "run"):
        raise InvalidRequestError(f"client is {kind_of(client)}; give an APIClient, or leave it out")
    check_item = partial(_check_item, client)
    if isinstance(calls, (list, tuple)):
        for index, call in enumerate(calls):
            check_item(index, call)
    if isinstance(calls, Iterable):
        return _IterableSource(calls, check_item)
    if isinstance(calls, AsyncIterable):
        return _AsyncIterableSource(calls, check_item)
    raise InvalidRequestError(f"calls is {kind_of(calls)}; give an iterable of calls, such as [Call.get(...)]")


def _check_item(client: Runner | None, index: int, call: Call[T]) -> Drawn[T]:
    given: object = call
    if not isinstance(given, Call):
        discard(given)
        what = "a coroutine, a call that is about to be sent" if iscoroutine(given) else kind_of(given)
        raise InvalidRequestError(f"item {index} of the fan-out is {what}; give Call.get(...)")
    if call.client is None:
        if client is None:
            raise InvalidRequestError(
                f"item {index} of the fan-out, {call!r}, has no client; give Call.get(..., client=api), "
                "or use the methods of a client: api.gather(...), api.as_completed(...)"
            )
        return index, call, client
    if not has_methods(call.client, "run"):
        raise InvalidRequestError(
            f"item {index} of the fan-out, {call!r}, has client={type(call.client).__name__}; give an APIClient"
        )
    return index, call, call.client


class _IterableSource(Generic[T]):
    """Draws from an iterable, in the worker that needs a call."""

    __slots__ = ("_calls", "_check_item", "_next", "cut_off", "length", "sized")

    def __init__(self, calls: Iterable[Call[T]], check_item: Callable[[int, Call[T]], Drawn[T]]) -> None:
        self.length = len(calls) if isinstance(calls, Sized) else None
        self.sized = self.length is not None
        # Never set here. After the deadline one more call is drawn, and its failure reports that the input was cut off.
        self.cut_off: int | None = None
        self._calls = calls
        self._check_item = check_item

    def open(self, tasks: Tasks, ends_at: float) -> None:
        drawn = map(self._check_item, count(), self._calls)
        self._next: Callable[[], Drawn[T] | None] = partial(next, drawn, None)
        if not isinstance(self._calls, (list, tuple)):
            # One context for all draws: a generator may set a context variable and reset it after a later yield, which
            # fails in any other context. A list runs no code of the caller, so it needs none.
            self._next = partial(copy_context().run, self._next)

    def draw(self) -> Drawn[T] | None:
        try:
            return self._next()
        except asyncio.CancelledError as error:
            # Nothing is awaited here, so this is not a cancellation of the worker. The iterable used the result of
            # something cancelled, and must not end the worker as if the fan-out had been cancelled.
            raise _cancelled_from_within() from error

    def stop(self) -> None:
        pass


class _AsyncIterableSource(Generic[T]):
    """Draws from an async iterable, in a task of its own: the feeder.

    A worker that needs a call leaves a future in ``_waiters``. The feeder takes one step of the iterable per future, so
    it never draws ahead of the workers.
    """

    __slots__ = (
        "_calls",
        "_check_item",
        "_drawn_count",
        "_exhausted",
        "_feeder",
        "_has_waiters",
        "_stopped",
        "_tasks",
        "_timer",
        "_waiters",
        "cut_off",
        "length",
        "sized",
    )

    def __init__(self, calls: AsyncIterable[Call[T]], check_item: Callable[[int, Call[T]], Drawn[T]]) -> None:
        self.length = len(calls) if isinstance(calls, Sized) else None
        self.sized = False  # even with a length: a step of the iterable may hang
        self.cut_off: int | None = None
        self._calls = calls
        self._check_item = check_item
        self._drawn_count = 0
        self._waiters: deque[asyncio.Future[Drawn[T] | None]] = deque()
        self._has_waiters = asyncio.Event()
        self._stopped = False
        self._exhausted = False

    def open(self, tasks: Tasks, ends_at: float) -> None:
        self._tasks = tasks
        self._timer = asyncio.timeout_at(ends_at if ends_at < math.inf else None)
        self._feeder = tasks.start(self._feed(ends_at))

    def draw(self) -> asyncio.Future[Drawn[T] | None] | None:
        if self._exhausted:
            return None
        waiter: asyncio.Future[Drawn[T] | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._has_waiters.set()
        return waiter

    def stop(self) -> None:
        self._stopped = True
        self._feeder.cancel()

    async def _feed(self, ends_at: float) -> None:
        """Draw calls for the workers until the iterable, the fan-out or the time ends."""
        calls = aiter(self._calls)
        try:
            async with self._timer:
                await self._wait_for_waiter()
                async for call in calls:
                    self._hand_over(call)
                    await self._wait_for_waiter()
        except TimeoutError:
            # At the deadline it does not matter whether this came from the timer or from something that the iterable
            # awaited under the same deadline. A TimeoutError before it is an error of the iterable.
            if asyncio.get_running_loop().time() < ends_at - RESOLUTION:
                raise
            self.cut_off = self._drawn_count
        except asyncio.CancelledError as error:
            if self._stopped or self._tasks.aborted:
                raise
            raise _cancelled_from_within() from error
        finally:
            # The workers are released first: the cleanup of the generator may take time, and they need not wait for it.
            self._release_waiters()
            if (aclose := getattr(calls, "aclose", None)) is not None:
                await aclose()

    async def _wait_for_waiter(self) -> None:
        while not self._waiters:
            self._has_waiters.clear()
            await self._has_waiters.wait()

    def _hand_over(self, call: Call[T]) -> None:
        if self._stopped or self._tasks.aborted or self._timer.expired():
            raise asyncio.CancelledError  # the iterable suppressed it, but the feeder has to end
        # A cancellation that none of these explains came from the iterable itself: timeouts written before Python 3.11
        # cancel their own task and never call ``uncancel``. The count would make ``self._timer`` and later timeouts of
        # the iterable misread their own cancellation as one from outside.
        while self._feeder.cancelling():
            self._feeder.uncancel()
        self._drawn_count += 1
        # The waiter is not done: only ``aborted`` cancels a worker that has no call in flight.
        self._waiters.popleft().set_result(self._check_item(self._drawn_count - 1, call))

    def _release_waiters(self) -> None:
        self._exhausted = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


def _cancelled_from_within() -> CallCancelledError:
    return CallCancelledError("the iterable of calls was cancelled from within, the fan-out was not")
