"""How SIGTERM ends the program. Imports neither typer nor rich: it is in effect before they are loaded."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, NoReturn, TypeVar, cast

TERMINATED = 143
"""The exit code after SIGTERM: 128 + SIGTERM."""

T = TypeVar("T")


@contextlib.contextmanager
def handle_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the program as Ctrl-C does, so that ``finally`` blocks restore the terminal.

    Raises:
        SystemExit: SIGTERM was received.
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
    """Run a coroutine like ``asyncio.run``, but cancel it on SIGTERM as on Ctrl-C.

    A cancellation is raised where the program awaits. An exception from a signal handler could be raised between any
    two instructions, such as after a connection was opened and before it was assigned. The handler is restored
    after the first SIGTERM, so that a second one ends a program whose cleanup hangs.

    Raises:
        SystemExit: SIGTERM was received, and the coroutine has cleaned up.
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
    """Whether this thread may set signal handlers: only the main thread may, and Windows has no SIGTERM."""
    return threading.current_thread() is threading.main_thread() and sys.platform != "win32"


def _exit(*_: object) -> NoReturn:
    raise SystemExit(TERMINATED)
