"""Many calls with one client: the fan-outs as methods, over what makes any one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from resilient_client import _fanout
from resilient_client._core.call import Call
from resilient_client._core.outcome import Outcome
from resilient_client._core.types import Duration
from resilient_client._fanout.source import Calls

T = TypeVar("T")


class FanOut:
    """``gather`` and ``as_completed`` of a client."""

    __slots__ = ()

    async def run(self, call: Call[T]) -> Outcome[T]:
        """Make a described call and give its outcome."""
        raise TypeError("Many is only the base of a client")

    def _bind(self) -> None:
        """Make sure that calls can be made now."""
        raise TypeError("Many is only the base of a client")

    async def gather(
        self,
        calls: Calls[T],
        *,
        concurrency: int = 20,
        timeout: Duration | None = None,
        successes: int | None = None,
        stop_on_failure: bool = False,
        on_outcome: Callable[[Outcome[T]], object] | None = None,
        progress: bool | str = False,
    ) -> _fanout.GatherResult[T]:
        """Make many calls at once and give every one its outcome, in input order; a failed call never raises.

        Args:
            calls: Any iterable or async iterable, consumed lazily. A call that carries a client is made by that one.
            concurrency: Calls in flight at once, 1 or more.
            timeout: Seconds for all together; at its end the finished ones are kept, the others are failures of
                kind ``DEADLINE``. ``None``: each call has only its own limits.
            successes: Return as soon as so many have succeeded, and drop the others. ``None``: make all calls.
            stop_on_failure: Whether the first failure drops the others.
            on_outcome: Called with each outcome as it comes.
            progress: Whether to show a progress bar (extra ``progress``); a text stands before it.

        Returns:
            The outcomes; see the function ``gather`` for which calls have one.

        Raises:
            InvalidRequestError: An argument is out of range, or an item is no ``Call``.
            ConfigurationError: The client is closed or belongs to another event loop, or tqdm is not installed.
            Exception: What ``calls`` itself raised, once all calls in flight are cancelled and awaited.
        """
        self._bind()
        return await _fanout.gather(
            calls,
            client=self,
            concurrency=concurrency,
            timeout=timeout,
            successes=successes,
            stop_on_failure=stop_on_failure,
            on_outcome=on_outcome,
            progress=progress,
        )

    def as_completed(
        self, calls: Calls[T], *, concurrency: int = 20, timeout: Duration | None = None, ordered: bool = False
    ) -> _fanout.OutcomeStream[T]:
        """Make many calls at once and give their outcomes one by one, lazily: memory stays flat at any length.

        Use it as ``async with api.as_completed(calls) as outcomes``: leaving that block early cancels the calls in
        flight and awaits their end.

        Args:
            calls: Any iterable or async iterable, consumed lazily. A call that carries a client is made by that one.
            concurrency: Calls in flight at once, 1 or more; no call is begun while as many outcomes wait to be taken.
            timeout: Seconds for all together, from the first step on. ``None``: each call has only its own limits.
            ordered: Whether they come in the order of ``calls``; then a slow call holds back those behind it.

        Returns:
            An async iterator that is its own async context manager; see the function ``as_completed``.

        Raises:
            InvalidRequestError: An argument is out of range, or an item is no ``Call``; the latter maybe from a step.
            ConfigurationError: The client is closed or belongs to another event loop.
            Exception: From a step: what ``calls`` itself raised, once all calls in flight are cancelled and awaited.
        """
        self._bind()
        return _fanout.as_completed(calls, client=self, concurrency=concurrency, timeout=timeout, ordered=ordered)
