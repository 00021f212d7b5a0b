"""``gather``: all outcomes of a fan-out at once, in the order of the calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from typing import Generic, Never, TypeVar

from resilient_client._core.clock import clock_of
from resilient_client._core.errors import InvalidRequestError
from resilient_client._core.outcome import Outcome
from resilient_client._core.protocols import Runner
from resilient_client._core.types import Duration
from resilient_client._core.validation import check_count, check_flag, shorten
from resilient_client._fanout.observing import Observers, check_callback
from resilient_client._fanout.progress import Progress, check_progress
from resilient_client._fanout.result import GatherResult
from resilient_client._fanout.source import Calls, source_of
from resilient_client._fanout.workers import Workers, check_limits, refuse_more

T = TypeVar("T")


async def gather(
    calls: Calls[T],
    *more: Never,
    client: Runner | None = None,
    concurrency: int = 20,
    timeout: Duration | None = None,
    successes: int | None = None,
    stop_on_failure: bool = False,
    on_outcome: Callable[[Outcome[T]], object] | None = None,
    progress: bool | str = False,
) -> GatherResult[T]:
    """Run many calls at once and return one outcome per call.

    If this is cancelled, it cancels its calls and awaits their end.

    Args:
        calls: An iterable or async iterable, consumed as workers become free. An async generator is closed at the end.
        more: Nothing: the calls are given as one list.
        client: Runs the calls that have no client of their own (``Call.get(..., client=api)``).
        concurrency: Calls in flight at once, 1 or more.
        timeout: How long all calls together may take. Then finished calls keep their outcomes, and the others fail with
            ``DEADLINE``. With ``None`` each call has only its own limits, and those of an ambient ``deadline()``.
        successes: Return as soon as this many calls have succeeded: 1 for the first success, more for a quorum. The
            other calls are dropped: cancelled, awaited, and failures of kind ``CANCELLED``. If too few calls succeed,
            all calls are run. With ``None`` all calls are run.
        stop_on_failure: Whether the first failure drops all other calls.
        on_outcome: Called with each outcome as it arrives, including those of dropped calls. It must not block, and is
            not awaited. If it raises, that is logged once and the fan-out goes on.
        progress: Whether to show a progress bar of tqdm, on standard error or in a notebook. A text is its title.

    Returns:
        The outcomes, in the order of ``calls``. Never raises for a failed call. An input with a length, such as a list,
        has one outcome per item. Any other iterable may be endless, so it is not drawn from after the fan-out has
        stopped or its deadline has passed. In the latter case at least one failure of kind ``DEADLINE`` reports that. A
        call that was never started has no ``request`` and emits no event.

    Raises:
        InvalidRequestError: A limit is out of range, or an item is not a ``Call`` or has no client to run it.
        MissingExtraError: ``progress`` needs tqdm.
        Exception: ``calls`` itself raised it. The calls in flight have been cancelled and awaited.
    """
    refuse_more("gather", calls, more)
    seconds = check_limits(concurrency, timeout)
    check_callback(on_outcome)
    check_progress(progress)
    check_flag("stop_on_failure", stop_on_failure)
    source = source_of(calls, client)
    _check_successes(successes, source.length)
    clock = clock_of(asyncio.get_running_loop())
    started = clock()
    with nullcontext() if progress is False else Progress(progress, source.length) as bar:
        results = _Results[T](successes, stop_on_failure, Observers(on_outcome, bar))
        await Workers(source, concurrency, results).run(seconds)
    outcomes = results.outcomes
    return GatherResult((outcomes[index] for index in sorted(outcomes)), successes=successes, elapsed=clock() - started)


class _Results(Generic[T]):
    """The sink of ``gather``: keeps all outcomes by index, and decides when the fan-out stops."""

    __slots__ = ("_missing", "_observers", "_stop_on_failure", "_successes", "outcomes")

    full = False

    def __init__(self, successes: int | None, stop_on_failure: bool, observers: Observers) -> None:
        self.outcomes: dict[int, Outcome[T]] = {}
        self._successes = successes
        self._missing = successes or 0  # counted down before it is compared with 0
        self._stop_on_failure = stop_on_failure
        self._observers = observers

    async def wait_for_space(self) -> None:
        """Return at once: there is always space."""

    def put(self, index: int, outcome: Outcome[T]) -> str:
        self.outcomes[index] = outcome
        self._observers.notify(outcome)
        if not outcome.ok:
            return "another call of the fan-out failed (stop_on_failure)" if self._stop_on_failure else ""
        self._missing -= 1
        return f"the fan-out has its successes={self._successes}" if self._missing == 0 else ""


def _check_successes(successes: int | None, length: int | None) -> None:
    if successes is None:
        return
    check_count("successes", successes, InvalidRequestError)
    if length is not None and successes > length:
        raise InvalidRequestError(
            f"successes is {shorten(successes)}, above the number of calls, {length}; give that or fewer"
        )
