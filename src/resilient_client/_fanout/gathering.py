"""All outcomes at once: makes every call, keeps every outcome, in the order of the calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from typing import Generic, TypeVar

from resilient_client._core.clock import clock_of
from resilient_client._core.errors import InvalidRequestError
from resilient_client._core.outcome import Outcome
from resilient_client._core.protocols import Runner
from resilient_client._core.types import Duration
from resilient_client._core.validation import check_flag
from resilient_client._fanout.observing import Observers, check_callback
from resilient_client._fanout.progress import Progress, check_progress
from resilient_client._fanout.result import GatherResult
from resilient_client._fanout.source import Calls, source_of
from resilient_client._fanout.workers import Workers, check_limits

T = TypeVar("T")


async def gather(
    calls: Calls[T],
    *,
    client: Runner | None = None,
    concurrency: int = 20,
    timeout: Duration | None = None,
    successes: int | None = None,
    stop_on_failure: bool = False,
    on_outcome: Callable[[Outcome[T]], object] | None = None,
    progress: bool | str = False,
) -> GatherResult[T]:
    """Make many calls at once, and give every one its outcome.

    Cancelled, it cancels its calls and awaits their end.

    Args:
        calls: An iterable or async iterable, consumed as places become free. An async generator is closed at the end.
        client: Makes the calls that carry no client of their own (``Call.get(..., client=api)``).
        concurrency: Calls in flight at once, 1 or more.
        timeout: Seconds for all of them together; at its end the finished ones are kept and the others fail
            with ``DEADLINE``. ``None``: each call has only its own limits, and those of a ``deadline()`` around.
        successes: Return as soon as so many calls have succeeded: 1 for the first success, more for a quorum. The
            others are dropped: cancelled, awaited, and failures of kind ``CANCELLED``. Where it cannot be reached, all
            calls are made. ``None``: all calls are made.
        stop_on_failure: Whether the first failure drops the others likewise.
        on_outcome: Called with each outcome as it comes, the dropped ones included. It must not block or await; if
            it raises, that is logged once and the fan-out goes on.
        progress: Whether to show a progress bar of tqdm on standard error, or in a notebook; a text stands before it.

    Returns:
        The outcomes, in the order of ``calls``. Never raises for a failed call. What has a length, such as a list, has
        one outcome for each item. Of any other iterable, which may be endless, no more is drawn once the fan-out has
        stopped or its deadline is over; at least one failure of kind ``DEADLINE`` then tells of the latter. A call
        that never had its turn knows no ``request``, and tells no event.

    Raises:
        InvalidRequestError: A limit is out of range, or an item is no ``Call`` or has no client to make it.
        MissingExtraError: ``progress`` needs tqdm.
        Exception: What ``calls`` itself raised, once all calls in flight are cancelled and awaited.
    """
    seconds = check_limits(concurrency, timeout)
    check_callback(on_outcome)
    check_progress(progress)
    check_flag("stop_on_failure", stop_on_failure)
    source = source_of(calls, client)
    _check_successes(successes, source.length)
    clock = clock_of(asyncio.get_running_loop())
    began = clock()
    with nullcontext() if progress is False else Progress(progress, source.length) as bar:
        results = _Results[T](successes, stop_on_failure, Observers(on_outcome, bar))
        await Workers(source, concurrency, results).run(seconds)
    outcomes = results.outcomes
    return GatherResult((outcomes[index] for index in sorted(outcomes)), successes=successes, elapsed=clock() - began)


class _Results(Generic[T]):
    """Takes all outcomes, and knows when there are enough."""

    __slots__ = ("_missing", "_observers", "_stop_on_failure", "_wanted", "outcomes")

    full = False

    def __init__(self, wanted: int | None, stop_on_failure: bool, observers: Observers) -> None:
        self.outcomes: dict[int, Outcome[T]] = {}
        self._wanted = wanted
        self._missing = wanted or 0
        self._stop_on_failure = stop_on_failure
        self._observers = observers

    async def room(self) -> None:
        """There always is."""

    def put(self, index: int, outcome: Outcome[T]) -> str:
        self.outcomes[index] = outcome
        self._observers.tell(outcome)
        if not outcome.ok:
            return "another call of the fan-out failed (stop_on_failure)" if self._stop_on_failure else ""
        self._missing -= 1
        return f"the fan-out has its successes={self._wanted}" if self._missing == 0 else ""


def _check_successes(successes: int | None, length: int | None) -> None:
    if successes is None:
        return
    if not isinstance(successes, int) or isinstance(successes, bool) or successes < 1:
        raise InvalidRequestError(f"successes is {successes!r}; give a whole number, 1 or more, or None for all calls")
    if length is not None and successes > length:
        raise InvalidRequestError(f"successes is {successes}, above the number of calls, {length}; give that or fewer")
