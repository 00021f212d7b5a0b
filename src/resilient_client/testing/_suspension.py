"""One watched run of a scenario: counts where it waits, strikes at one of these places, knows what it left behind.

A task tells what it waits for by what its coroutine yields. Standing between the two, a ``Watch`` sees every suspension
of the scenario's task and of the tasks it starts; of the loop it borrows, for the time of the run, what makes tasks and
timers. It judges nothing: see ``cancellation`` for what a run must come to.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar, copy_context
from enum import StrEnum
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Self

_watch: ContextVar[Watch | None] = ContextVar("resilient_client_watch", default=None)

_SETTLING_TURNS = 25  # of the loop: what was cancelled or closed may need some to be gone
_ABSENT = object()
_OPAQUE = {"coroutine_wrapper", "async_generator_asend", "anext_awaitable"}
_TRANSPARENT = {"coroutine", "generator", "async_generator"}


class Moment(StrEnum):
    """When a suspension is struck."""

    PENDING = "while it waits"
    COMPLETING = "in the tick in which it stops waiting"


class Suspension(NamedTuple):
    """One place where a scenario waited.

    Attributes:
        number: Counted from 1, over the scenario's task and the tasks it started.
        moment: When it was struck there.
        stack: Qualified names of the coroutines that waited, outermost first.
        line: File and line of the innermost one.
    """

    number: int
    moment: Moment
    stack: tuple[str, ...]
    line: str

    def __str__(self) -> str:
        return f"suspension {self.number}, {self.moment}: {' > '.join(self.stack[-4:])} ({self.line})"


class Watch:
    """Runs a scenario as a task and strikes it at the ``target``-th suspension. Use it once, as a context manager.

    Attributes:
        hit: The suspension that was struck, or ``None`` when the scenario never came to it.
    """

    def __init__(self, target: int, moment: Moment, strike: Callable[[asyncio.Task[Any]], object]) -> None:
        self.hit: Suspension | None = None
        self._target = target
        self._moment = moment
        self._strike = strike
        self._count = 0
        self._loop = asyncio.get_running_loop()
        self._blow: asyncio.Future[None] = self._loop.create_future()
        self._context = copy_context()
        self._context.run(_watch.set, self)
        self._values = dict(self._context.items())
        self._task: asyncio.Task[Any] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timers: dict[int, tuple[asyncio.TimerHandle, object]] = {}
        self._complaints: list[str] = []

    def __enter__(self) -> Self:
        loop = self._loop
        self._factory, self._handler = loop.get_task_factory(), loop.get_exception_handler()
        loop.set_task_factory(self._make_task)  # type: ignore[arg-type]  # the stubs want what no factory can have
        loop.set_exception_handler(self._complain)
        # On the instance, where loops of every make look them up; what they hide is the class's own.
        for name in ("call_at", "call_later"):
            setattr(loop, name, self._recorded(getattr(loop, name)))
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
    def struck(self) -> bool:
        """Whether the strike took place: not, if the scenario was over before its moment came."""
        return self._blow.done()

    async def run(
        self, scenario: Callable[[], Awaitable[object]], verdict: Callable[[asyncio.Task[Any]], str], patience: float
    ) -> list[str]:
        """Run the scenario to its end.

        Args:
            scenario: What to run; an exception it raises without having been struck comes through.
            verdict: Asked what is wrong with how the task ended, if it was struck; ``""`` if nothing is.
            patience: Seconds given to it after the strike; it is ended then.

        Returns:
            What is wrong, the leftovers included: one line a thing, none if all is well.
        """

        async def main() -> object:
            return await scenario()

        # Made inside the context and run in it, so that the task is known for ours, and what it changes is seen.
        self._task = task = self._context.run(self._loop.create_task, main(), context=self._context)
        faults = []
        if not await self._ends(task, patience):
            faults.append(f"the scenario goes on {patience:g} s later")
        elif not self.struck:
            task.result()
        else:
            _ = task.cancelled() or task.exception()  # seen, whether or not the verdict asks
            faults += filter(None, [verdict(task)])
        self._task = None
        del task  # what its frames hold must be free to go
        return faults + await self._leftovers()

    async def _ends(self, task: asyncio.Task[Any], patience: float) -> bool:
        try:
            await asyncio.wait((task, self._blow), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((task,), timeout=patience)
            return task.done()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,), timeout=patience)

    async def _leftovers(self) -> list[str]:
        gc.collect(1)  # a failure that nobody saw is only told when its task is gone
        for _ in range(_SETTLING_TURNS):
            if not self._found():
                return []
            await asyncio.sleep(0)
        return self._found()

    def _found(self) -> list[str]:
        now = self._loop.time()
        running = self._tasks | {task for task in asyncio.all_tasks(self._loop) if _runs_in_context_of(task, self)}
        tasks = [" > ".join(_where(task.get_coro())[0]) for task in running if not task.done()]
        timers = [
            f"{callback} in {handle.when() - now:.3g} s"
            for handle, callback in self._timers.values()
            if not handle.cancelled() and handle.when() > now
        ]
        before, after = self._values, dict(self._context.items())
        variables = [v.name for v in before | after if before.get(v, _ABSENT) is not after.get(v, _ABSENT)]
        return [
            *(f"a task is left: {task}" for task in tasks),
            *(f"a timer is left: {timer}" for timer in timers),
            *(f"a context variable is left changed: {variable}" for variable in variables),
            *(f"the event loop complained: {complaint}" for complaint in self._complaints),
        ]

    # -- the eyes --------------------------------------------------------------------------------------------------

    def _is_ours(self) -> bool:
        """Whether the code that runs now belongs to the scenario, and not to a server on the same loop."""
        return _watch.get() is self or asyncio.current_task(self._loop) in self._tasks

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Future[Any]:
        ours = self._is_ours()
        if ours:
            work = _Watched(work, self._suspended)
        if self._factory is None:
            task: asyncio.Future[Any] = asyncio.Task(work, loop=loop, **options)
        else:
            task = self._factory(loop, work, **options)
        if ours and isinstance(task, asyncio.Task):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return task

    def _recorded(self, schedule: Callable[..., asyncio.TimerHandle]) -> Callable[..., asyncio.TimerHandle]:
        def record(when: float, callback: Callable[..., object], *args: Any, **options: Any) -> asyncio.TimerHandle:
            handle = schedule(when, callback, *args, **options)
            name = getattr(callback, "__qualname__", repr(callback))
            # aiohttp's look for idle connections belongs to its connector, which it holds weakly, not to a call.
            # What uvloop gives for less than a millisecond is no timer: it is due in the next turn.
            if self._is_ours() and name != "_weakref_handle" and hasattr(handle, "when"):
                self._timers[id(handle)] = handle, name
            return handle

        return record

    def _complain(self, _loop: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
        self._complaints.append(f"{details.get('message')} {details.get('exception', '')!r}")

    # -- the hand --------------------------------------------------------------------------------------------------

    def _suspended(self, work: object, awaited: object) -> None:
        if self._task is None or self._task.done():
            return
        self._count += 1
        if self._count != self._target:
            return
        self.hit = Suspension(self._target, self._moment, *_where(work))
        if self._moment is Moment.PENDING or not isinstance(awaited, asyncio.Future):
            self._strike_now()  # a bare yield, such as sleep(0), is never pending: its task is due already
        else:
            # The task adds its own wake-up behind this: we strike when the result is there, but nobody has seen it.
            awaited.add_done_callback(self._strike_now)

    def _strike_now(self, _done: object = None) -> None:
        if self._task is not None and not self._task.done():
            self._blow.set_result(None)
            self._strike(self._task)


class _Watched(Coroutine[Any, Any, Any]):
    """A coroutine that tells what it yields."""

    __slots__ = ("_tell", "_work")

    def __init__(self, work: Coroutine[Any, Any, Any], tell: Callable[[object, object], None]) -> None:
        self._work = work
        self._tell = tell

    def send(self, value: Any) -> Any:
        awaited = self._work.send(value)
        self._tell(self._work, awaited)
        return awaited

    def throw(self, *error: Any) -> Any:
        awaited = self._work.throw(*error)
        self._tell(self._work, awaited)
        return awaited

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Any:
        return self._work.__await__()

    def __getattr__(self, name: str) -> Any:  # cr_frame, __qualname__ ...: for whoever looks at the task
        return getattr(self._work, name)


def _runs_in_context_of(task: asyncio.Task[Any], watch: Watch) -> bool:
    """Whether a task was started by the scenario past the loop's ``create_task``; known from Python 3.12 on."""
    get_context = getattr(task, "get_context", None)
    return get_context is not None and get_context().get(_watch) is watch


def _where(work: object) -> tuple[tuple[str, ...], str]:
    """The names of a coroutine and those it waits for, and the line where the innermost stands."""
    names: list[str] = []
    line = "?"
    while work is not None:
        frame = _first(work, "cr_frame", "gi_frame", "ag_frame")
        if isinstance(frame, FrameType):
            names.append(frame.f_code.co_qualname)
            line = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
            work = _first(work, "cr_await", "gi_yieldfrom", "ag_await")
        else:
            work = _behind(work)
    return tuple(names), line


def _first(work: object, *names: str) -> object:
    return next((value for name in names if (value := getattr(work, name, None)) is not None), None)


def _behind(work: object) -> object:
    """What an awaitable that Python keeps opaque, such as that of an async generator, stands for."""
    if type(work).__name__ not in _OPAQUE:
        return None
    return next((held for held in gc.get_referents(work) if type(held).__name__ in _TRANSPARENT | _OPAQUE), None)
