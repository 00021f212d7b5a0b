"""How a signal ends the program. Loads nothing: it holds before typer and rich are there, and until the end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any, NoReturn, TypeVar, cast

TERMINATED = 143
"""Somebody asked us to end: 128 + SIGTERM."""

T = TypeVar("T")


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM unwind the program as Ctrl-C does, so that a terminal gets its cursor back.

    Raises:
        SystemExit: It came.
    """
    with _on_sigterm(_end):
        yield


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` for which SIGTERM is what Ctrl-C is: a cancellation, where the program waits.

    An exception raised by a signal handler strikes anywhere, such as between a connection and the one who would
    close it.

    Raises:
        SystemExit: The signal came, and what was open is closed.
    """
    import asyncio

    came = False

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), cast("asyncio.Task[T]", asyncio.current_task())

        def cancel(*_: object) -> None:
            nonlocal came
            if came:  # asked twice: whatever holds us up is not waited for
                _end()
            came = True
            task.cancel()
            loop.call_soon_threadsafe(_nothing)  # so that a loop that sleeps looks up

        with _on_sigterm(cancel):
            return await main

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        if came:
            _end()
        raise


def _end(*_: object) -> NoReturn:
    raise SystemExit(TERMINATED)


def _nothing() -> None:
    pass


@contextlib.contextmanager
def _on_sigterm(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Let ``handler`` see to the signal for a while; only the main thread may, and elsewhere nothing is touched."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
