"""How SIGTERM ends a command."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from resilient_client._cli.signals import handle_sigterm, run


def test_sigterm_unwinds_and_its_handler_is_restored() -> None:
    """``finally`` blocks run, and afterwards the signal has its previous handler."""
    before, closed = signal.getsignal(signal.SIGTERM), []
    with pytest.raises(SystemExit) as end, handle_sigterm():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(5)
        finally:
            closed.append(True)
    assert (end.value.code, closed, signal.getsignal(signal.SIGTERM)) == (143, [True], before)


def test_program_runs_in_any_thread() -> None:
    """Only the main thread may handle signals. In another thread no handler is touched."""
    handlers: list[object] = []

    def program() -> None:
        with handle_sigterm():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=program)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]


def test_sigterm_cancels_a_coroutine_where_it_waits() -> None:
    """The cancellation is raised at an ``await``, never between two statements."""
    before, seen = signal.getsignal(signal.SIGTERM), []

    async def program() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        seen.append("went on")
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(SystemExit) as end:
        run(program())
    assert (end.value.code, seen) == (143, ["went on", "cancelled"])
    assert signal.getsignal(signal.SIGTERM) == before


def test_sigterm_wakes_a_sleeping_loop() -> None:
    """A program that waits for an upstream ends at once."""
    started = threading.Event()

    async def program() -> None:
        asyncio.get_running_loop().call_soon(started.set)
        await asyncio.Event().wait()

    def killer() -> None:
        started.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=killer)
    thread.start()
    with pytest.raises(SystemExit):
        run(program())
    thread.join()


def test_second_sigterm_interrupts_the_cleanup() -> None:
    """A program whose cleanup hangs ends at the second signal."""

    async def program() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()

    with pytest.raises(SystemExit) as end, handle_sigterm():
        run(program())
    assert end.value.code == 143


def test_other_cancellation_is_not_a_signal() -> None:
    """A cancellation without SIGTERM is raised unchanged, and a result is returned."""

    async def cancelled() -> None:
        raise asyncio.CancelledError

    async def done() -> int:
        return 7

    with pytest.raises(asyncio.CancelledError):
        run(cancelled())
    assert run(done()) == 7
