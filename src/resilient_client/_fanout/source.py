"""Where the calls of a fan-out come from: any iterable or async iterable, drawn one at a time.

A generator may hold context managers across its yields: context variables, time-outs, task groups. So all draws of a
fan-out take place in one context, and those of an async iterable in one task, whichever worker asks. What is drawn is
checked and numbered here; nothing is drawn before a worker is free to make it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Sized
from contextvars import copy_context
from functools import partial
from itertools import count
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from resilient_client._core.call import Call
from resilient_client._core.deadline import RESOLUTION
from resilient_client._core.errors import CallCancelledError, InvalidRequestError
from resilient_client._core.protocols import Runner

T = TypeVar("T")

Calls: TypeAlias = "Iterable[Call[T]] | AsyncIterable[Call[T]]"
"""What a fan-out takes."""


Drawn: TypeAlias = tuple[int, Call[T], Runner]
"""The place in the input of a call that was drawn, the call, and who makes it."""


class Crew(Protocol):
    """The tasks of a fan-out: one fails, all end.

    Attributes:
        aborted: Whether they have to end now, because one failed or the caller was cancelled.
    """

    aborted: bool

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have one more."""
        ...


class Source(Protocol[T]):
    """Gives calls to workers.

    Attributes:
        length: How many calls there are, if that is known.
        sized: Whether all of them get an outcome, even those that are never made: there is an end to them.
        cut_off: The place of the first call that was not drawn, if the deadline ended the draws: there may be none.
    """

    length: int | None
    sized: bool
    cut_off: int | None

    def open(self, crew: Crew, ends_at: float) -> None:
        """Begin; a task it needs is one of the ``crew``, and ends with the last draw, or at ``ends_at`` (loop time)."""
        ...

    def draw(self) -> Drawn[T] | asyncio.Future[Drawn[T] | None] | None:
        """The next call, or the promise of it; ``None``: there are no more.

        Raises:
            InvalidRequestError: It is no call, or there is nobody to make it.
            Exception: What the iterable itself raises.
        """
        ...

    def stop(self) -> None:
        """Draw no more from an input that may be endless."""
        ...


def source_of(calls: Calls[T], client: Runner | None) -> Source[T]:
    """The source for what a caller gave; a list or tuple is checked whole, before anything is made.

    Args:
        calls: What to draw from.
        client: Makes the calls that carry no client of their own.

    Raises:
        InvalidRequestError: That is no iterable, or an item of it is no call, or has nobody to make it.
    """
    number = partial(_numbered, client)
    if isinstance(calls, (list, tuple)):
        for index, call in enumerate(calls):
            number(index, call)
    if isinstance(calls, Iterable):
        return _Draws(calls, number)
    if isinstance(calls, AsyncIterable):
        return _AsyncDraws(calls, number)
    raise InvalidRequestError(f"calls is {type(calls).__name__}; give an iterable of calls, such as [Call.get(...)]")


def _numbered(client: Runner | None, index: int, call: Call[T]) -> Drawn[T]:
    if not isinstance(call, Call):
        raise InvalidRequestError(f"item {index} of the fan-out is {type(call).__name__}; give Call.get(...)")
    if call.client is None:
        if client is None:
            raise InvalidRequestError(
                f"item {index} of the fan-out, {call!r}, carries no client; give Call.get(..., client=api), "
                "or ask a client for the fan-out: api.gather(...), api.as_completed(...)"
            )
        return index, call, client
    if not hasattr(call.client, "run"):
        raise InvalidRequestError(
            f"item {index} of the fan-out, {call!r}, carries client={type(call.client).__name__}; give an APIClient"
        )
    return index, call, call.client


class _Draws(Generic[T]):
    """Draws from an iterable, whenever a worker asks."""

    __slots__ = ("_calls", "_next", "_number", "cut_off", "length", "sized")

    def __init__(self, calls: Iterable[Call[T]], number: Callable[[int, Call[T]], Drawn[T]]) -> None:
        self.length = len(calls) if isinstance(calls, Sized) else None
        self.sized = self.length is not None
        self.cut_off: int | None = None  # of an iterable, a call that comes too late is drawn, and its failure tells
        self._calls = calls
        self._number = number

    def open(self, crew: Crew, ends_at: float) -> None:
        drawn = map(self._number, count(), self._calls)
        self._next: Callable[[], Drawn[T] | None] = partial(next, drawn, None)
        if not isinstance(self._calls, (list, tuple)):
            self._next = partial(copy_context().run, self._next)

    def draw(self) -> Drawn[T] | None:
        try:
            return self._next()
        except asyncio.CancelledError as error:  # of something the iterable asked for a result
            raise _cancelled_from_within() from error

    def stop(self) -> None:
        pass


class _AsyncDraws(Generic[T]):
    """Draws from an async iterable, in a task of its own that waits until a worker asks."""

    __slots__ = (
        "_calls",
        "_crew",
        "_drawn",
        "_feeder",
        "_limit",
        "_number",
        "_over",
        "_stopped",
        "_wanted",
        "_wishes",
        "cut_off",
        "length",
        "sized",
    )

    def __init__(self, calls: AsyncIterable[Call[T]], number: Callable[[int, Call[T]], Drawn[T]]) -> None:
        self.length = len(calls) if isinstance(calls, Sized) else None
        self.sized = False  # what is awaited may never come
        self.cut_off: int | None = None
        self._drawn = 0
        self._calls = calls
        self._number = number
        self._wishes: deque[asyncio.Future[Drawn[T] | None]] = deque()
        self._wanted = asyncio.Event()
        self._stopped = False
        self._over = False

    def open(self, crew: Crew, ends_at: float) -> None:
        self._crew = crew
        self._limit = asyncio.timeout_at(ends_at if ends_at < math.inf else None)
        self._feeder = crew.start(self._feed(ends_at))

    def draw(self) -> asyncio.Future[Drawn[T] | None] | None:
        if self._over:
            return None
        wish: asyncio.Future[Drawn[T] | None] = asyncio.get_running_loop().create_future()
        self._wishes.append(wish)
        self._wanted.set()
        return wish

    def stop(self) -> None:
        self._stopped = True
        self._feeder.cancel()

    async def _feed(self, ends_at: float) -> None:
        calls = aiter(self._calls)
        try:
            async with self._limit:
                await self._asked()
                async for call in calls:
                    self._grant(call)
                    await self._asked()
        except TimeoutError:  # ours, or that of something the iterable awaited under the same deadline
            if asyncio.get_running_loop().time() < ends_at - RESOLUTION:
                raise
            self.cut_off = self._drawn
        except asyncio.CancelledError as error:
            if self._stopped or self._crew.aborted:
                raise
            raise _cancelled_from_within() from error
        finally:
            self._end()
            if (aclose := getattr(calls, "aclose", None)) is not None:
                await aclose()

    async def _asked(self) -> None:
        while not self._wishes:
            self._wanted.clear()
            await self._wanted.wait()

    def _grant(self, call: Call[T]) -> None:
        if self._stopped or self._crew.aborted or self._limit.expired():
            raise asyncio.CancelledError  # the iterable kept it to itself
        while self._feeder.cancelling():  # by the iterable itself, as timeouts of old style do
            self._feeder.uncancel()
        self._drawn += 1
        self._wishes.popleft().set_result(self._number(self._drawn - 1, call))

    def _end(self) -> None:
        self._over = True
        for wish in self._wishes:
            if not wish.done():
                wish.set_result(None)


def _cancelled_from_within() -> CallCancelledError:
    return CallCancelledError("the iterable of calls was cancelled from within, the fan-out was not")
