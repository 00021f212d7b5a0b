"""Cancellation sweeps: a test is cancelled at every point where it waits, instead of at a random one.

A task can only be cancelled where it is suspended, so its suspension points are the complete set of cases. A
cancellation sweep cancels a scenario at each of its suspension points in turn. ``sweep_cancellation`` runs the
scenario again and again, each time in a fresh world, and cancels it at the first suspension, then at the second, and
so on, until it reaches the end without being cancelled. At each suspension there are two runs: one cancels while the
awaited operation is pending, the other in the tick in which it completes, before the task has resumed. In the second
run permits get lost: the semaphore has been acquired, but ``await`` raises.

Each cancelled run must end with ``CancelledError``, with every cancellation accounted for (``task.cancelling()``), and
must not leave a task, a timer, a changed context variable or an error reported by the event loop. Your world checks
everything else::

    @asynccontextmanager
    async def world():
        limit = asyncio.Semaphore(1)
        async with FaultServer() as server, APIClient(server.url, attempt_middleware=[Yours(limit)]) as api:
            yield lambda: api.get("/")  # the scenario that is cancelled
            assert not limit.locked()  # must hold afterwards, cancelled or not
            await api.get("/")  # the client still works


    report = await sweep_cancellation(world)
    assert report.reached("Yours.__call__")  # the middleware was cancelled at least once

The tasks that a scenario starts are watched too: the scenario is also cancelled at each of *their* suspensions. On a
virtual-time loop a sweep is repeatable. On a real loop with real sockets the number and order of suspensions can vary
slightly between runs, so a sweep ends with the places that it saw and has not interrupted yet. ``sweep`` injects any
other interruption instead of a cancellation, for example a timeout that fires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeAlias

from resilient_client.testing._suspension import Moment, Suspension, WatchedRun

__all__ = [
    "CancellationError",
    "Injection",
    "Moment",
    "Suspension",
    "SweepReport",
    "Verdict",
    "World",
    "sweep",
    "sweep_cancellation",
    "was_cancelled",
]

World: TypeAlias = "Callable[[], AbstractAsyncContextManager[Callable[[], Awaitable[object]]]]"
"""Creates a fresh world. Entering it sets everything up and returns the scenario. Leaving it checks the result."""

Injection: TypeAlias = "Callable[[asyncio.Task[Any]], object]"
"""Interrupts the scenario's task at a suspension."""

Verdict: TypeAlias = "Callable[[asyncio.Task[Any]], str]"
"""Returns what is wrong with how an interrupted task ended, or ``""`` if it ended correctly."""


class CancellationError(AssertionError):
    """An interrupted scenario did not end as required, or left something behind."""


class SweepReport:
    """The suspensions at which a sweep interrupted the scenario. ``str()`` lists them.

    Attributes:
        suspensions: In the order in which they were interrupted.
    """

    __slots__ = ("suspensions",)

    def __init__(self, suspensions: Sequence[Suspension]) -> None:
        self.suspensions = tuple(suspensions)

    def reached(self, name: str) -> bool:
        """Whether a coroutine with that qualified name, such as ``"Pool.acquire"``, was interrupted while waiting."""
        return any(name in suspension.stack for suspension in self.suspensions)

    def __len__(self) -> int:
        return len(self.suspensions)

    def __str__(self) -> str:
        return "\n".join(map(str, self.suspensions))


async def sweep_cancellation(world: World, *, grace: float = 5.0, limit: int = 1_000) -> SweepReport:
    """Cancel a scenario at each of its suspensions, in a fresh world each time.

    Args:
        world: Creates the world and checks it, as the module's docstring shows.
        grace: Seconds that a cancelled scenario may take to end.
        limit: The highest allowed number of suspensions. A scenario with more is treated as an endless loop.

    Returns:
        The suspensions at which the scenario was cancelled. Empty if it never waits.

    Raises:
        CancellationError: The first run that failed. The message says where and why.
        Exception: Raised by the world's own checks, with a note that says where the scenario was cancelled, or raised
            by the scenario in a run without a cancellation.
    """
    return await sweep(world, inject=asyncio.Task.cancel, verdict=was_cancelled, grace=grace, limit=limit)


async def sweep(
    world: World, *, inject: Injection, verdict: Verdict, grace: float = 5.0, limit: int = 1_000
) -> SweepReport:
    """Interrupt a scenario at each of its suspensions, in a fresh world each time.

    Args:
        world: As for ``sweep_cancellation``, like every argument that is not explained here.
        inject: Called with the scenario's task at a suspension. It may do nothing, and the scenario then goes on.
        verdict: Returns what is wrong with how the task ended.
        grace: Seconds.
        limit: Suspensions.

    Raises:
        CancellationError: As for ``sweep_cancellation``.
    """
    interrupted: list[Suspension] = []

    async def run_at(selects: Callable[[Suspension], bool]) -> list[WatchedRun]:
        runs = [WatchedRun(selects, moment, inject) for moment in Moment]
        for run in runs:
            await _run_once(world, run, verdict, grace)
        interrupted.extend(run.suspension for run in runs if run.suspension is not None and run.interrupted)
        return runs

    for number in range(1, limit + 1):
        runs = await run_at(partial(_has_number, number))
        if all(run.suspension is None for run in runs):
            break
    else:
        raise CancellationError(f"the scenario waits more than limit={limit} times; {interrupted[-1]}")
    # On real sockets the order of suspensions varies, so the runs above may have missed one.
    for place in dict.fromkeys(suspension.place for run in runs for suspension in run.seen):
        if not any(suspension.place == place for suspension in interrupted):
            await run_at(partial(_is_at, place))
    return SweepReport(interrupted)


def _has_number(number: int, suspension: Suspension) -> bool:
    return suspension.number == number


def _is_at(place: object, suspension: Suspension) -> bool:
    return suspension.place == place


def was_cancelled(task: asyncio.Task[Any]) -> str:
    """Return the verdict on a task that was cancelled once from outside."""
    if not task.cancelled():
        error = task.exception()
        return f"the cancellation became {error!r}" if error else f"the cancellation was lost in {task.result()!r}"
    # Code that calls uncancel() for a cancellation that it did not request breaks every asyncio.timeout() around it.
    if (count := task.cancelling()) != 1:
        return f"task.cancelling() is {count} instead of 1: some code calls cancel() or uncancel() once too often"
    return ""


async def _run_once(world: World, run: WatchedRun, verdict: Verdict, grace: float) -> None:
    """Run the scenario once, in a world of its own."""
    try:
        async with world() as scenario:
            with run:
                faults = await run.run(scenario, verdict, grace)
            if faults:
                raise CancellationError("; ".join(faults))
    except Exception as error:
        error.add_note(f"interrupted at {run.suspension}" if run.interrupted else "the scenario was not interrupted")
        raise
