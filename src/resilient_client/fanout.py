"""Many calls at once, each with its own outcome. One failing never harms its siblings.

Works over anything that can ``run(call) -> Outcome``: knows nothing of HTTP. Workers share one iterator, so no more
calls are in flight, and no more of a lazy iterable is consumed, than ``concurrency``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Generic, TypeVar, overload

from resilient_client.core.call import Call
from resilient_client.core.deadline import deadline
from resilient_client.core.errors import InvalidRequestError
from resilient_client.core.kinds import ErrorKind
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
            with ``DEADLINE``. ``None``: each call has only its own limits.

    Returns:
        The outcomes, in the order of ``calls``. Never raises for a failed call.

    Raises:
        InvalidRequestError: ``concurrency`` or ``timeout`` is out of range, or an item is no ``Call``.
    """
    check_limits(concurrency, timeout)
    outcomes: dict[int, Outcome[T]] = {}
    numbered = enumerate(calls)

    async def worker() -> None:
        for index, call in numbered:
            if not isinstance(call, Call):
                raise InvalidRequestError(f"item {index} of the fan-out is {type(call).__name__}; give Call.get(...)")
            outcomes[index] = await runner.run(call)

    with deadline(after=timeout) if timeout is not None else nullcontext():
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_workers(calls, concurrency)):
                    group.create_task(worker())
        except ExceptionGroup as broken:  # the iterable of calls failed; no call ever raises
            failure = broken.exceptions[0]
        else:
            return GatherResult(outcomes[index] for index in range(len(outcomes)))
    raise failure


def check_limits(concurrency: int, timeout: float | None) -> None:
    """Complain about limits that make no sense.

    Raises:
        InvalidRequestError: Naming the value and what is allowed.
    """
    if not isinstance(concurrency, int) or concurrency < 1:
        raise InvalidRequestError(f"concurrency is {concurrency!r}; give a whole number of calls at once, 1 or more")
    if timeout is not None and not timeout > 0:
        raise InvalidRequestError(f"timeout is {timeout!r}; give seconds above 0, or None for no shared limit")


def _workers(calls: Iterable[object], concurrency: int) -> int:
    return min(concurrency, len(calls)) if isinstance(calls, Sequence) else concurrency
