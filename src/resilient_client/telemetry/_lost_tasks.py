"""Tasks that are lost: garbage-collected while pending, because nothing kept a reference to them.

asyncio reports them to the exception handler of the loop ("Task was destroyed but it is pending!"). ``LostTaskHandler``
is a link in front of the handler that was set before. It passes everything on to that one, also after it was removed
while another handler still refers to it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from resilient_client.telemetry._lateness import MAX_PLACES
from resilient_client.telemetry._loop_health import LostTasks, TaskLost
from resilient_client.telemetry._stack import CodePlace

_MESSAGE: Final = "Task was destroyed but it is pending!"  # of asyncio, the only mark of such a report
_MAX_DEPTH: Final = 100  # coroutines that await each other
_MAX_FRESH: Final = 1_000  # reports between two beats

_Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class LostTaskHandler:
    """An exception handler that notes lost tasks. The garbage collector may call it in any thread, at any time.

    So it takes no lock, and neither logs nor calls a listener: it only fills ``fresh``, which the loop empties.

    Attributes:
        fresh: The lost tasks that were not counted yet.
    """

    __slots__ = ("_previous", "_removed", "fresh")

    def __init__(self) -> None:
        self.fresh: deque[TaskLost] = deque(maxlen=_MAX_FRESH)
        self._previous: _Handler | None = None
        self._removed = False

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Become the exception handler of ``loop``, in front of its present one."""
        self._previous = loop.get_exception_handler()
        loop.set_exception_handler(self)

    def remove(self, loop: asyncio.AbstractEventLoop) -> None:
        """Restore the handler that was set before. If another one was put in front meanwhile, only pass on to it."""
        self._removed = True
        if loop.get_exception_handler() is not self:
            return
        previous = self._previous
        while isinstance(previous, LostTaskHandler) and previous._removed:
            previous = previous._previous
        loop.set_exception_handler(previous)

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle a report of the loop."""
        try:
            if context.get("message") == _MESSAGE and not self._removed:
                self.fresh.append(_describe(context["task"]))
        finally:
            if self._previous is None:
                loop.default_exception_handler(context)
            else:
                self._previous(loop, context)


class LostTaskCounts:
    """Counts lost tasks by coroutine function."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self.count = 0
        self._counts: dict[str, LostTasks] = {}

    def add(self, lost: TaskLost) -> None:
        """Count a lost task."""
        self.count += 1
        known = self._counts.get(lost.coroutine)
        if known is not None or len(self._counts) < MAX_PLACES:
            times = 1 if known is None else known.times + 1
            self._counts[lost.coroutine] = LostTasks(lost.coroutine, lost.place, times)

    def snapshot(self) -> tuple[LostTasks, ...]:
        """The counts, the largest first."""
        return tuple(sorted(self._counts.copy().values(), key=lambda lost: -lost.times))


def _describe(task: asyncio.Task[Any]) -> TaskLost:
    """Describe a task without keeping it, or anything of its frames."""
    coroutine: Any = task.get_coro()
    name = getattr(coroutine, "__qualname__", type(coroutine).__name__)
    return TaskLost(task.get_name(), name, _waiting_place(coroutine))


def _waiting_place(coroutine: Any) -> CodePlace | None:
    """The innermost place at which a chain of coroutines is suspended, or its beginning if its frames are gone."""
    code = getattr(coroutine, "cr_code", None)
    place = None if code is None else CodePlace(code.co_filename, code.co_firstlineno, code.co_qualname)
    for _ in range(_MAX_DEPTH):
        frame = getattr(coroutine, "cr_frame", None)
        if frame is None:
            break
        place = CodePlace(frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_qualname)
        coroutine = coroutine.cr_await
    return place
