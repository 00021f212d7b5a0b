"""A signal ends a command as it ends any orderly program."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from resilient_client._cli.signals import handle_sigterm, run


def test_sigterm_unwinds_the_program_and_its_handler_is_restored() -> None:
    """What is open is closed; afterwards the signal is handled as before."""
    before, closed = signal.getsignal(signal.SIGTERM), []
    with pytest.raises(SystemExit) as end, handle_sigterm():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(5)
        finally:
            closed.append(True)
    assert (end.value.code, closed, signal.getsignal(signal.SIGTERM)) == (143, [True], before)


def test_program_runs_in_any_thread() -> None:
    """Only the main thread may handle signals; elsewhere nothing is touched."""
    handlers: list[object] = []

    def program() -> None:
        with handle_sigterm():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=program)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]


def test_sigterm_cancels_a_coroutine_where_it_waits() -> None:
    """Never between two statements, where what was just opened belongs to nobody yet."""
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


def test_sigterm_wakes_a_loop_that_sleeps() -> None:
    """Whoever waits for an upstream hears of it at once."""
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


def test_second_sigterm_waits_for_nothing() -> None:
    """A program that is held up while it closes ends when asked again."""

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


def test_cancellation_of_another_kind_is_no_signal() -> None:
    """What a program does to itself stays what it is; and what it returns is given."""

    async def cancelled() -> None:
        raise asyncio.CancelledError

    async def done() -> int:
        return 7

    with pytest.raises(asyncio.CancelledError):
        run(cancelled())
    assert run(done()) == 7
