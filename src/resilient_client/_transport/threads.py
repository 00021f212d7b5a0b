"""Daemon threads for what blocks: name lookups and reading of files.

asyncio's default executor has few threads, which everything in the process shares: six lookups that hang would stop
all of it. Its threads are also joined at the end of the loop and of the process, so that one lookup that hangs would
hold up both. These threads are never joined.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from threading import Condition, Thread
from typing import Any, Final, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_KEPT_IDLE: Final = 1.0
"""Seconds for which a thread waits for another job before it ends."""


class Threads(Executor):
    """Runs jobs in at most ``limit`` threads, first in, first out. For use with ``loop.run_in_executor``."""

    def __init__(self, name: str, limit: int) -> None:
        """Start no thread yet.

        Args:
            name: What the threads are called.
            limit: Threads at once. Further jobs wait.
        """
        self._name = name
        self._limit = limit
        self._jobs: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = Condition()
        self._count = 0
        self._idle = 0
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether a further job would wait for another one to end."""
        return self._count - self._idle + len(self._jobs) >= self._limit

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run ``fn`` in a thread.

        Raises:
            OSError: The system starts no further thread (``ENOMEM``).
        """
        job: Future[_T] = Future()
        with self._changed:
            self._jobs.append((job, partial(fn, *args, **kwargs)))
            if self._idle >= len(self._jobs):
                self._changed.notify()
            elif self._count < self._limit:
                self._start()
        return job

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """Keep no idle thread from now on. Never waits, whatever ``wait`` says.

        Other than with the executors of the standard library, a call in flight may still submit its next job.
        """
        with self._changed:
            self._closed = True
            jobs = list(self._jobs) if cancel_futures else []
            if cancel_futures:
                self._jobs.clear()
            self._changed.notify_all()
        for job, _ in jobs:  # outside the lock, because it runs callbacks
            job.cancel()

    def _start(self) -> None:
        try:
            Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError as error:
            if not self._count:  # else a thread that is there takes the job in its time
                self._jobs.pop()
                raise OSError(errno.ENOMEM, "no thread can be started") from error
        else:
            self._count += 1

    def _work(self) -> None:
        while (job := self._next()) is not None:
            _run(*job)
            del job  # else an idle thread would keep alive the result and all that it refers to

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        """The next job, or ``None`` if this thread is to end."""
        with self._changed:
            if not self._jobs and not self._closed:
                self._idle += 1
                self._changed.wait_for(lambda: self._jobs or self._closed, _KEPT_IDLE)
                self._idle -= 1
            if self._jobs:
                return self._jobs.popleft()
            self._count -= 1
            return None


def _run(job: Future[Any], function: Callable[[], Any]) -> None:
    if not job.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # raised where the result is awaited
        job.set_exception(error)
    else:
        job.set_result(result)
