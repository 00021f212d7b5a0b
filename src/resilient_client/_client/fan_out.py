"""The fan-outs as methods of a client: ``gather`` and ``as_completed`` over its ``run``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Never, TypeVar

from resilient_client import _fanout
from resilient_client._core.call import Call
from resilient_client._core.outcome import Outcome
from resilient_client._core.types import Duration
from resilient_client._fanout.source import Calls

T = TypeVar("T")


class FanOut:
    """The base class that gives a client ``gather`` and ``as_completed``."""

    __slots__ = ()

    async def run(self, call: Call[T]) -> Outcome[T]:
        """Send a call and return its outcome. The client overrides this."""
        raise TypeError("FanOut is only the base class of a client")

    def _bind(self) -> None:
        """Check that the client can send calls on the running loop. The client overrides this."""
        raise TypeError("FanOut is only the base class of a client")

    async def gather(
        self,
        calls: Calls[T],
        *more: Never,
        concurrency: int = 20,
        timeout: Duration | None = None,
        successes: int | None = None,
        stop_on_failure: bool = False,
        on_outcome: Callable[[Outcome[T]], object] | None = None,
        progress: bool | str = False,
    ) -> _fanout.GatherResult[T]:
        """Run many calls at once and return their outcomes in input order. A failed call never raises.

        Args:
            calls: Any iterable or async iterable, consumed lazily. A call with a client of its own is run by that one.
            more: Nothing: the calls are given as one list.
            concurrency: Calls in flight at once, 1 or more.
            timeout: How long all calls together may take. Then finished calls keep their outcomes, and the others are
                failures of kind ``DEADLINE``. With ``None`` each call has only its own limits.
            successes: Return as soon as this many calls have succeeded, and drop the others. ``None``: run all calls.
            stop_on_failure: Whether the first failure drops the others.
            on_outcome: Called with each outcome as it arrives.
            progress: Whether to show a progress bar (extra ``progress``). A text is its title.

        Returns:
            The outcomes. See the function ``gather`` for which calls have one.

        Raises:
            InvalidRequestError: An argument is out of range, or an item is not a ``Call``.
            ConfigurationError: The client is closed or belongs to another event loop, or tqdm is not installed.
            Exception: ``calls`` itself raised it. The calls in flight have been cancelled and awaited.
        """
        self._bind()
        return await _fanout.gather(
            calls,
            *more,
            client=self,
            concurrency=concurrency,
            timeout=timeout,
            successes=successes,
            stop_on_failure=stop_on_failure,
            on_outcome=on_outcome,
            progress=progress,
        )

    def as_completed(
        self,
        calls: Calls[T],
        *more: Never,
        concurrency: int = 20,
        timeout: Duration | None = None,
        ordered: bool = False,
    ) -> _fanout.OutcomeStream[T]:
        """Run many calls at once and give their outcomes one by one. Memory does not grow with the number of calls.

        Use it as ``async with api.as_completed(calls) as outcomes``. Leaving that block early cancels the calls in
        flight and awaits their end.

        Args:
            calls: Any iterable or async iterable, consumed lazily. A call with a client of its own is run by that one.
            more: Nothing: the calls are given as one list.
            concurrency: Calls in flight at once, 1 or more. No call is started while that many outcomes are buffered.
            timeout: How long all calls together may take, from the first step on. With ``None`` each call has only its
                own limits.
            ordered: Whether outcomes come in the order of ``calls``. Then a slow call holds back those behind it.

        Returns:
            An async iterator that is also an async context manager. See the function ``as_completed``.

        Raises:
            InvalidRequestError: An argument is out of range, or an item is not a ``Call``. The latter may come from a
                step.
            ConfigurationError: The client is closed or belongs to another event loop.
            Exception: From a step: ``calls`` itself raised it. The calls in flight have been cancelled and awaited.
        """
        self._bind()
        return _fanout.as_completed(
            calls, *more, client=self, concurrency=concurrency, timeout=timeout, ordered=ordered
        )
