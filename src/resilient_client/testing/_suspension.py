"""One watched run of a scenario: it counts suspensions, injects an interruption at one of them and finds leftovers.

An asyncio task shows what it waits for by what its coroutine yields: a future, or None for a bare yield such as
``sleep(0)``. ``WatchedRun`` wraps the coroutines of the scenario's task and of the tasks that it starts, and so sees
every suspension. For the duration of the run it also replaces the loop's task factory, exception handler and timer
methods, to find tasks and timers that the scenario leaves behind. ``cancellation`` decides what a run must end with.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar, copy_context
from enum import StrEnum
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Self

_current_run: ContextVar[WatchedRun | None] = ContextVar("resilient_client_watch", default=None)

# Loop iterations. A task that was cancelled, or a transport that was closed, may need this many to finish.
_SETTLING_ITERATIONS = 25
_ABSENT = object()
_IDLE_TIMERS = {"IdleConnections._close_expired", "_weakref_handle"}
_OPAQUE_TYPES = {"coroutine_wrapper", "async_generator_asend", "anext_awaitable"}
_TRANSPARENT_TYPES = {"coroutine", "generator", "async_generator"}


class Moment(StrEnum):
    """The moment within a suspension at which the scenario is interrupted."""

    PENDING = "while it waits"
    COMPLETING = "in the tick in which it stops waiting"


class Suspension(NamedTuple):
    """One point where a scenario was suspended.

    Attributes:
        number: Counted from 1, over the scenario's task and the tasks that it started.
        moment: The moment at which it was interrupted there.
        stack: Qualified names of the suspended coroutines, outermost first.
        line: File and line of the innermost coroutine.
    """

    number: int
    moment: Moment
    stack: tuple[str, ...]
    line: str

    def __str__(self) -> str:
        return f"suspension {self.number}, {self.moment}: {' > '.join(self.stack[-4:])} ({self.line})"

    @property
    def place(self) -> tuple[tuple[str, ...], str]:
        """The stack and the line, which are the same in each run. The number is not, on a real loop."""
        return self.stack, self.line


class WatchedRun:
    """Runs a scenario as a task and interrupts it at one suspension. It is a context manager for one use.

    Attributes:
        suspension: The suspension that was selected, or ``None`` if the scenario ended before reaching it.
        seen: The suspensions before the interruption, the selected one included.
    """

    def __init__(
        self,
        selects: Callable[[Suspension], bool],
        moment: Moment,
        inject: Callable[[asyncio.Task[Any]], object],
    ) -> None:
        self.suspension: Suspension | None = None
        self.seen: list[Suspension] = []
        self._selects = selects
        self._moment = moment
        self._inject = inject
        self._loop = asyncio.get_running_loop()
        self._injected: asyncio.Future[None] = self._loop.create_future()
        # The scenario gets a context of its own, marked with this run. Every callback and task that it schedules copies
        # that context, which is how a timer set by a callback is still attributed to the scenario.
        self._context = copy_context()
        self._context.run(_current_run.set, self)
        self._variables = dict(self._context.items())
        self._task: asyncio.Task[Any] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timers: dict[int, tuple[asyncio.TimerHandle, object]] = {}
        self._loop_errors: list[str] = []

    def __enter__(self) -> Self:
        loop = self._loop
        self._factory, self._handler = loop.get_task_factory(), loop.get_exception_handler()
        loop.set_task_factory(self._make_task)  # type: ignore[arg-type]  # the stubs demand a type no factory can have
        loop.set_exception_handler(self._on_loop_error)
        # Set on the instance, where every kind of loop finds them before the methods of its class. Deleting the
        # attributes restores the methods, even on uvloop, whose class cannot be patched.
        for name in ("call_at", "call_later"):
            setattr(loop, name, self._recording(getattr(loop, name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = self._loop
        for name in ("call_at", "call_later"):
            delattr(loop, name)
        loop.set_task_factory(self._factory)
        loop.set_exception_handler(self._handler)

    @property
    def interrupted(self) -> bool:
        """Whether the interruption was injected. It is not if the scenario ended before its moment came."""
        return self._injected.done()

    async def run(
        self, scenario: Callable[[], Awaitable[object]], verdict: Callable[[asyncio.Task[Any]], str], grace: float
    ) -> list[str]:
        """Run the scenario to its end.

        Args:
            scenario: The function to run. An exception that it raises without an interruption propagates.
            verdict: Returns what is wrong with how the interrupted task ended, or ``""`` if it ended correctly.
            grace: Seconds that the task may take to end after the interruption. It is cancelled then.

        Returns:
            One line for each fault, leftovers included. Empty if there is none.
        """

        async def main() -> object:
            return await scenario()

        # Created inside the context, so that the task factory recognises it, and run in that same context instead of a
        # copy, so that context variables it leaves changed can be seen afterwards.
        self._task = task = self._context.run(self._loop.create_task, main(), context=self._context)
        faults = []
        if not await self._ends(task, grace):
            faults.append(f"the scenario was still running {grace:g} s later")
        elif not self.interrupted:
            task.result()
        else:
            # Mark the exception as retrieved even if the verdict does not ask, or asyncio would log it as lost.
            _ = task.cancelled() or task.exception()
            faults += filter(None, [verdict(task)])
        self._task = None
        # The task's frames keep objects alive. Without this reference they can be collected before the search.
        del task
        return faults + await self._leftovers()

    async def _ends(self, task: asyncio.Task[Any], grace: float) -> bool:
        """Whether the task ends, at the latest ``grace`` seconds after the interruption."""
        try:
            await asyncio.wait((task, self._injected), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((task,), timeout=grace)
            return task.done()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,), timeout=grace)

    async def _leftovers(self) -> list[str]:
        # asyncio reports an exception that was never retrieved only when its task is garbage collected.
        gc.collect(1)
        for _ in range(_SETTLING_ITERATIONS):
            if not self._find_leftovers():
                return []
            await asyncio.sleep(0)
        return self._find_leftovers()

    def _find_leftovers(self) -> list[str]:
        now = self._loop.time()
        running = self._tasks | {task for task in asyncio.all_tasks(self._loop) if _runs_in_context_of(task, self)}
        tasks = [" > ".join(_stack_of(task.get_coro())[0]) for task in running if not task.done()]
        timers = [
            f"{callback} in {handle.when() - now:.3g} s"
            for handle, callback in self._timers.values()
            if not handle.cancelled() and handle.when() > now
        ]
        before, after = self._variables, dict(self._context.items())
        variables = [v.name for v in before | after if before.get(v, _ABSENT) is not after.get(v, _ABSENT)]
        return [
            *(f"a task is left: {task}" for task in tasks),
            *(f"a timer is left: {timer}" for timer in timers),
            *(f"a context variable is left changed: {variable}" for variable in variables),
            *(f"the event loop reported: {error}" for error in self._loop_errors),
        ]

    # -- observing the loop ----------------------------------------------------------------------------------------

    def _belongs_to_scenario(self) -> bool:
        """Whether the code that is running now belongs to the scenario, and not to a server on the same loop."""
        # The second check covers a task that the scenario started in an empty context.
        return _current_run.get() is self or asyncio.current_task(self._loop) in self._tasks

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Future[Any]:
        watched = self._belongs_to_scenario()
        if watched:
            coroutine = _WatchedCoroutine(coroutine, self._on_suspension)
        if self._factory is None:
            task: asyncio.Future[Any] = asyncio.Task(coroutine, loop=loop, **options)
        else:
            task = self._factory(loop, coroutine, **options)
        if watched and isinstance(task, asyncio.Task):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return task

    def _recording(self, schedule: Callable[..., asyncio.TimerHandle]) -> Callable[..., asyncio.TimerHandle]:
        """Wrap ``call_at`` or ``call_later`` so that the scenario's timers are recorded."""

        def record(when: float, callback: Callable[..., object], *args: Any, **options: Any) -> asyncio.TimerHandle:
            handle = schedule(when, callback, *args, **options)
            name = getattr(callback, "__qualname__", repr(callback))
            # Idle connections have one timer, ours or aiohttp's. The client owns it, not the call that happens to start
            # it. A handle without ``when`` is what uvloop returns for less
            # than a millisecond: it is due in the next iteration and therefore not a timer.
            if self._belongs_to_scenario() and name not in _IDLE_TIMERS and hasattr(handle, "when"):
                self._timers[id(handle)] = handle, name
            return handle

        return record

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
        self._loop_errors.append(f"{details.get('message')} {details.get('exception', '')!r}")

    # -- interrupting the scenario ---------------------------------------------------------------------------------

    def _on_suspension(self, coroutine: object, awaited: object) -> None:
        if self._task is None or self._task.done() or self.suspension is not None:
            return
        suspension = Suspension(len(self.seen) + 1, self._moment, *_stack_of(coroutine))
        self.seen.append(suspension)
        if not self._selects(suspension):
            return
        self.suspension = suspension
        if self._moment is Moment.PENDING or not isinstance(awaited, asyncio.Future):
            # A bare yield, such as sleep(0), is never pending: its task is already scheduled to run.
            self._interrupt()
        else:
            # Callbacks of a future run in the order in which they were added, and the task adds its wake-up only after
            # this method returns. The interruption therefore comes when the result is set but the task has not run yet.
            # asyncio.Task.cancel() then makes ``await`` raise although the awaited operation has succeeded.
            awaited.add_done_callback(self._interrupt)

    def _interrupt(self, _done: object = None) -> None:
        if self._task is not None and not self._task.done():
            self._injected.set_result(None)
            self._inject(self._task)


class _WatchedCoroutine(Coroutine[Any, Any, Any]):
    """A coroutine that reports every suspension: it calls ``on_suspension`` with itself and the value it yields."""

    __slots__ = ("_coroutine", "_on_suspension")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], on_suspension: Callable[[object, object], None]) -> None:
        self._coroutine = coroutine
        self._on_suspension = on_suspension

    def send(self, value: Any) -> Any:
        awaited = self._coroutine.send(value)
        self._on_suspension(self._coroutine, awaited)
        return awaited

    def throw(self, *error: Any) -> Any:
        # A coroutine may wait again in an ``except`` or ``finally`` block. That suspension counts, too.
        awaited = self._coroutine.throw(*error)
        self._on_suspension(self._coroutine, awaited)
        return awaited

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        # cr_frame, cr_await, __qualname__ and others, for the repr and the stack of a task.
        return getattr(self._coroutine, name)


def _runs_in_context_of(task: asyncio.Task[Any], run: WatchedRun) -> bool:
    """Whether a task was started by the scenario without the loop's ``create_task``. Known from Python 3.12 on."""
    get_context = getattr(task, "get_context", None)
    return get_context is not None and get_context().get(_current_run) is run


def _stack_of(coroutine: object) -> tuple[tuple[str, ...], str]:
    """Return the names of a coroutine and of those it awaits, and the current line of the innermost one."""
    names: list[str] = []
    line = "?"
    awaited: object = coroutine
    while awaited is not None:
        frame = _first_attribute(awaited, "cr_frame", "gi_frame", "ag_frame")
        if isinstance(frame, FrameType):
            names.append(frame.f_code.co_qualname)
            line = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
            awaited = _first_attribute(awaited, "cr_await", "gi_yieldfrom", "ag_await")
        else:
            awaited = _unwrap(awaited)
    return tuple(names), line


def _first_attribute(source: object, *names: str) -> object:
    return next((value for name in names if (value := getattr(source, name, None)) is not None), None)


def _unwrap(awaitable: object) -> object:
    """Return the coroutine or generator inside an opaque awaitable, such as the ``asend()`` of an async generator.

    Python offers no attribute for it, so the garbage collector's references are searched.
    """
    if type(awaitable).__name__ not in _OPAQUE_TYPES:
        return None
    wanted = _TRANSPARENT_TYPES | _OPAQUE_TYPES
    return next((held for held in gc.get_referents(awaitable) if type(held).__name__ in wanted), None)
