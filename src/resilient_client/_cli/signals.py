"""How a signal ends the program. Loads nothing: it holds before typer and rich are there, and until the end."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, NoReturn, TypeVar, cast

TERMINATED = 143
"""Somebody asked us to end: 128 + SIGTERM."""

T = TypeVar("T")


@contextlib.contextmanager
def handle_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the program as Ctrl-C does, so that a terminal gets its cursor back.

    Raises:
        SystemExit: It came.
    """
    if not _can_handle_signals():
        yield
        return
    previous = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` for which SIGTERM is what Ctrl-C is: a cancellation, where the program waits.

    An exception raised by a signal handler strikes anywhere, such as between a connection and the one who would
    close it. Only when asked a second time the program does not wait for what holds it up.

    Raises:
        SystemExit: The signal came, and what was open is closed.
    """
    import asyncio

    received = False

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), cast("asyncio.Task[T]", asyncio.current_task())
        previous = signal.getsignal(signal.SIGTERM)

        def cancel() -> None:
            nonlocal received
            received = True
            task.cancel()
            restore()

        def restore() -> None:
            if loop.remove_signal_handler(signal.SIGTERM):
                signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)

        if not _can_handle_signals():
            return await main
        loop.add_signal_handler(signal.SIGTERM, cancel)
        try:
            return await main
        finally:
            restore()

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        if received:
            _exit()
        raise


def _can_handle_signals() -> bool:
    """Only the main thread may, and Windows knows no such signal."""
    return threading.current_thread() is threading.main_thread() and sys.platform != "win32"


def _exit(*_: object) -> NoReturn:
    raise SystemExit(TERMINATED)
