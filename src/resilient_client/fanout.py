"""Many calls at once, each with its own outcome. One failing never harms its siblings.

Works over anything that can ``run(call) -> Outcome``: knows nothing of HTTP. Workers share one iterator, so no more
calls are in flight, and no more of a lazy iterable is consumed, than ``concurrency``. They never hold the loop from one
call to the next, and past the deadline they make no call, so that a fan-out ends when it should whatever its length.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Generic, TypeVar, overload

from resilient_client.core.call import Call, route_of
from resilient_client.core.deadline import ambient_deadline, deadline
from resilient_client.core.errors import CallCancelledError, DeadlineExceededError, InvalidRequestError
from resilient_client.core.kinds import ErrorKind, Stage
from resilient_client.core.outcome import Failure, Outcome, Success
from resilient_client.core.protocols import Runner

T = TypeVar("T")


class GatherResult(Sequence[Outcome[T]], Generic[T]):
    """The outcomes of a fan-out, in the order of its calls."""

    __slots__ = ("_outcomes",)

    def __init__(self, outcomes: Iterable[Outcome[T]]) -> None:
        self._outcomes = tuple(outcomes)

    @property
    def values(self) -> list[T]:
        """The values of the successes, in order."""
        return [outcome.value for outcome in self._outcomes if isinstance(outcome, Success)]

    @property
    def failures(self) -> list[Failure]:
        """The failures, in order."""
        return [outcome for outcome in self._outcomes if isinstance(outcome, Failure)]

    def by_kind(self) -> dict[ErrorKind, list[Failure]]:
        """The failures, grouped by what happened."""
        groups: dict[ErrorKind, list[Failure]] = {}
        for failure in self.failures:
            groups.setdefault(failure.kind, []).append(failure)
        return groups

    def raise_for_failures(self) -> None:
        """Raise all failures together.

        Raises:
            ExceptionGroup: Of the errors, where there is any.
        """
        if errors := [failure.error for failure in self.failures]:
            raise ExceptionGroup(str(self), errors)

    @overload
    def __getitem__(self, index: int) -> Outcome[T]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Outcome[T], ...]: ...
    def __getitem__(self, index: int | slice) -> Outcome[T] | tuple[Outcome[T], ...]:
        return self._outcomes[index]

    def __len__(self) -> int:
        return len(self._outcomes)

    def __iter__(self) -> Iterator[Outcome[T]]:
        return iter(self._outcomes)

    def __str__(self) -> str:
        kinds = Counter(failure.kind for failure in self.failures)
        failed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        summary = f"{len(self.values)} of {len(self)} calls succeeded"
        return f"{summary}; failed: {failed}" if failed else summary

    def __repr__(self) -> str:
        return f"<GatherResult {self}>"


async def gather(
    runner: Runner, calls: Iterable[Call[T]], *, concurrency: int = 20, timeout: float | None = None
) -> GatherResult[T]:
    """Make all calls, at most ``concurrency`` at once, and give every one its outcome.

    Args:
        runner: Who makes the calls.
        calls: Consumed lazily, as places become free.
        concurrency: Calls in flight at once, 1 or more.
        timeout: Seconds for all of them together; at its end the finished ones are kept and the others fail
            with ``DEADLINE``. ``None``: each call has only its own limits, and those of a ``deadline()`` around.

    Returns:
        The outcomes, in the order of ``calls``. Never raises for a failed call. A sequence has one for each item. Of
        any other iterable, which may be endless, no more is drawn once the deadline is over; at least one failure
        of kind ``DEADLINE`` then tells that there may have been more. A call that never had its turn knows no
        ``request``, and tells no event.

    Raises:
        InvalidRequestError: ``concurrency`` or ``timeout`` is out of range, or an item is no ``Call``.
    """
    check_limits(concurrency, timeout)
    if not isinstance(calls, Iterable):
        raise InvalidRequestError(
            f"calls is {type(calls).__name__}; give an iterable of calls, such as [Call.get(...)]"
        )
    with deadline(after=timeout) if timeout is not None else nullcontext():
        fan = _FanOut(runner, calls, concurrency)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fan.work(group))
        except ExceptionGroup as broken:  # the iterable of calls failed; no call ever raises
            failure = broken.exceptions[0]
        else:
            return GatherResult(fan.outcomes[index] for index in range(len(fan.outcomes)))
    raise failure


class _FanOut(Generic[T]):
    """Workers over one iterator. Each that draws a call first starts the next, so there are never idle ones."""

    __slots__ = ("_calls", "_ends_at", "_loop", "_runner", "_sized", "_unborn", "outcomes")

    def __init__(self, runner: Runner, calls: Iterable[Call[T]], concurrency: int) -> None:
        self.outcomes: dict[int, Outcome[T]] = {}
        self._runner = runner
        self._calls = enumerate(calls)
        self._sized = isinstance(calls, Sequence)
        self._unborn = concurrency - 1
        self._ends_at = ambient_deadline()
        self._loop = asyncio.get_running_loop()

    async def work(self, group: asyncio.TaskGroup) -> None:
        """Draw calls and make them, one by one, until there are no more or the deadline is over."""
        for index, call in self._calls:
            if not isinstance(call, Call):
                raise InvalidRequestError(f"item {index} of the fan-out is {type(call).__name__}; give Call.get(...)")
            if self._loop.time() >= self._ends_at:
                self.outcomes[index] = Failure(_never_started(call), key=call.key)
                if not self._sized:
                    return  # it may be endless; this one failure tells that it was cut off
            else:
                if self._unborn:
                    self._unborn -= 1
                    group.create_task(self.work(group))
                await self._make(index, call)
            await asyncio.sleep(0)  # a call that was refused on our side did not wait: others want a turn, too

    async def _make(self, index: int, call: Call[T]) -> None:
        try:
            self.outcomes[index] = await self._runner.run(call)
        except asyncio.CancelledError as error:
            self.outcomes[index] = Failure(_cancelled(call, error), key=call.key)
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # somebody wants this worker to end: the caller, or the group after a broken iterable


def _never_started(call: Call[object]) -> DeadlineExceededError:
    text = "the deadline of the fan-out was over before this call had its turn"
    return DeadlineExceededError(f"{call.method} {route_of(call.path)}: {text}", stage=Stage.LOCAL)


def _cancelled(call: Call[object], cause: asyncio.CancelledError) -> CallCancelledError:
    text = "cancelled from within: something this call awaited was cancelled, the fan-out was not"
    # How far it had come is not known, so it may have been sent.
    error = CallCancelledError(f"{call.method} {route_of(call.path)}: {text}", maybe_processed=True)
    error.__cause__ = cause
    return error


def check_limits(concurrency: int, timeout: float | None) -> None:
    """Complain about limits that make no sense.

    Raises:
        InvalidRequestError: Naming the value and what is allowed.
    """
    if not isinstance(concurrency, int) or concurrency < 1:
        raise InvalidRequestError(f"concurrency is {concurrency!r}; give a whole number of calls at once, 1 or more")
    if timeout is not None and (not isinstance(timeout, (int, float)) or not timeout > 0):
        raise InvalidRequestError(f"timeout is {timeout!r}; give seconds above 0, or None for no shared limit")
