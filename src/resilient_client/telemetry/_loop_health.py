"""What a loop monitor reports: frozen plain data, safe to keep, to compare and to send to another process."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from resilient_client._core.in_flight import CallInFlight
from resilient_client.telemetry._histogram import HistogramSnapshot
from resilient_client.telemetry._stack import CodePlace


class LoopWasLate(NamedTuple):
    """The event loop was late by ``late_after`` or more, and runs again.

    Attributes:
        seconds: How late it was. The block itself was longer by up to the interval of the monitor.
        place: The place that blocked it for most of the time. ``None`` if no callback was seen: the machine was busy or
            suspended, or the block had ended before it could be seen.
        stack: The frames of the callback when it was last seen there, innermost last.
    """

    seconds: float
    place: CodePlace | None
    stack: tuple[CodePlace, ...]


class TaskLost(NamedTuple):
    """A task was garbage-collected before it had ended, because nothing referred to it any more.

    Attributes:
        name: The name of the task.
        coroutine: The qualified name of its coroutine.
        place: Where it was waiting. The garbage collector may have closed the coroutine first, and then it is where the
            coroutine function begins. ``None`` for a coroutine that is not written in Python.
    """

    name: str
    coroutine: str
    place: CodePlace | None


LoopEvent: TypeAlias = LoopWasLate | TaskLost | CallInFlight
"""What the listener of a monitor receives. A ``CallInFlight`` is a call that has just exceeded ``long_call``."""


class BlockedPlace(NamedTuple):
    """A place in the code that blocked the event loop.

    Attributes:
        place: The line that was seen in the longest block.
        times: How many times this function blocked the loop.
        longest: Seconds by which the loop was late at worst.
        stack: The frames of the callback in the longest block, innermost last.
    """

    place: CodePlace
    times: int
    longest: float
    stack: tuple[CodePlace, ...]


class LostTasks(NamedTuple):
    """The lost tasks of one coroutine function.

    Attributes:
        coroutine: Its qualified name.
        place: That of the latest one, as in ``TaskLost``.
        times: How many were lost.
    """

    coroutine: str
    place: CodePlace | None
    times: int


class LoopHealth(NamedTuple):
    """The health of an event loop. All counts begin when the monitor is built, and never go down.

    Attributes:
        running: Whether the monitor is on.
        lag: How late the loop ran, in seconds, measured every ``interval``.
        late_count: How many times the loop was late by ``late_after`` or more, for whatever reason.
        blocked: What blocked it, the longest first, 100 functions at most.
        starved_count: How many times the loop was late because the process got no CPU. Such lateness is not blamed on
            a place at once.
        pending_tasks: Tasks of the loop that have not ended. 0 while the monitor is off.
        long_call_count: Calls in flight for longer than ``long_call``.
        long_calls: These calls, the oldest first, 100 at most.
        lost_count: How many tasks were lost.
        lost: The lost tasks by coroutine function, most frequent first, 100 functions at most.
    """

    running: bool
    lag: HistogramSnapshot
    late_count: int
    blocked: tuple[BlockedPlace, ...]
    starved_count: int
    pending_tasks: int
    long_call_count: int
    long_calls: tuple[CallInFlight, ...]
    lost_count: int
    lost: tuple[LostTasks, ...]
