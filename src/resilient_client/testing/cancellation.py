"""Cancellation swept, not sampled: a scenario is cancelled at every single place where it waits.

A task can only be cancelled where it waits, so its suspensions are all the places there are. ``sweep_cancellation``
runs the scenario again and again, in a fresh world each time, and cancels it at the first suspension, the second, and
so on until it comes to its end unharmed: at each one while the awaited thing is pending, and once more in the very
tick in which it completes, before the task has seen it. The latter is where permits get lost: the semaphore has been
acquired, yet ``await`` raises.

Each run must end with ``CancelledError`` and nothing else, with every cancellation accounted for
(``task.cancelling()``), and leave no task, no timer, no changed context variable and no complaint of the event loop
behind. What else must hold, your world says itself::

    @asynccontextmanager
    async def world():
        limit = asyncio.Semaphore(1)
        async with FaultServer() as server, APIClient(server.url, attempt_middleware=[Yours(limit)]) as api:
            yield lambda: api.get("/")  # what is cancelled
            assert not limit.locked()  # what must hold afterwards, cancelled or not
            await api.get("/")  # and another call works as ever


    report = await sweep_cancellation(world)
    assert report.reached("Yours.__call__")  # the sweep did come by

The tasks a scenario starts count too: it is cancelled at each of *their* suspensions. On a virtual-time loop all is
repeatable; on real loops, with real sockets, the number of suspensions may vary a little from run to run. ``sweep``
does the same with any other blow than a cancellation, such as a timer that goes off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from resilient_client.testing._suspension import Moment, Suspension, Watch

World: TypeAlias = "Callable[[], AbstractAsyncContextManager[Callable[[], Awaitable[object]]]]"
"""Makes a fresh world. Entering it arranges things and gives the scenario; leaving it checks what must hold."""

Strike: TypeAlias = "Callable[[asyncio.Task[Any]], object]"
"""What happens to the scenario's task at a suspension."""

Verdict: TypeAlias = "Callable[[asyncio.Task[Any]], str]"
"""What is wrong with how a task ended that was struck; ``""`` if nothing is."""


class CancellationError(AssertionError):
    """A struck scenario ended otherwise than it must, or left something behind."""


class SweepReport:
    """Where a sweep came by. Its ``str`` lists the places.

    Attributes:
        suspensions: Those that were struck, in order.
    """

    __slots__ = ("suspensions",)

    def __init__(self, suspensions: Sequence[Suspension]) -> None:
        self.suspensions = tuple(suspensions)

    def reached(self, name: str) -> bool:
        """Whether a coroutine of that qualified name, such as ``"Pool.acquire"``, was struck while it waited."""
        return any(name in suspension.stack for suspension in self.suspensions)

    def __len__(self) -> int:
        return len(self.suspensions)

    def __str__(self) -> str:
        return "\n".join(map(str, self.suspensions))


async def sweep_cancellation(world: World, *, patience: float = 5.0, limit: int = 1_000) -> SweepReport:
    """Cancel a scenario at every one of its suspensions, in a fresh world each time.

    Args:
        world: Makes the world and checks it; see the module.
        patience: Seconds a cancelled scenario is given to end.
        limit: The most suspensions a scenario may have; more are taken for an endless loop.

    Returns:
        Where the scenario was cancelled; empty if it never waits.

    Raises:
        CancellationError: The first run that went wrong: where, and what.
        Exception: What the world's own checks raise, with a note saying where the scenario was cancelled; or what the
            scenario raises when it is left alone.
    """
    return await sweep(world, strike=asyncio.Task.cancel, verdict=was_cancelled, patience=patience, limit=limit)


async def sweep(
    world: World, *, strike: Strike, verdict: Verdict, patience: float = 5.0, limit: int = 1_000
) -> SweepReport:
    """Strike a scenario at every one of its suspensions, in a fresh world each time.

    Args:
        world: As for ``sweep_cancellation``, like all that is not explained here.
        strike: What happens there; it may do nothing, and the run must then end well.
        verdict: What is wrong with how the task ended.
        patience: Seconds.
        limit: Suspensions.

    Raises:
        CancellationError: As for ``sweep_cancellation``.
    """
    struck: list[Suspension] = []
    for number in range(1, limit + 1):
        watches = [Watch(number, moment, strike) for moment in Moment]
        for watch in watches:
            await _run(world, watch, verdict, patience)
        if all(watch.hit is None for watch in watches):
            return SweepReport(struck)
        struck += [watch.hit for watch in watches if watch.hit is not None and watch.struck]
    raise CancellationError(f"the scenario waits more than limit={limit} times; {struck[-1]}")


def was_cancelled(task: asyncio.Task[Any]) -> str:
    """The verdict on a task that somebody else cancelled once."""
    if not task.cancelled():
        error = task.exception()
        return f"the cancellation became {error!r}" if error else f"the cancellation was lost in {task.result()!r}"
    if (left := task.cancelling()) != 1:
        return f"task.cancelling() is {left} instead of 1: somebody takes back, or adds, cancellations not its own"
    return ""


async def _run(world: World, watch: Watch, verdict: Verdict, patience: float) -> None:
    """One run in one world."""
    try:
        async with world() as scenario:
            with watch:
                faults = await watch.run(scenario, verdict, patience)
            if faults:
                raise CancellationError("; ".join(faults))
    except Exception as error:
        error.add_note(f"struck at {watch.hit}" if watch.struck else "the scenario was left alone")
        raise
