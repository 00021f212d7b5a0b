"""A signal ends a command as it ends any orderly program."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from resilient_client.cli.signals import terminable


def test_sigterm_unwinds_the_program_and_its_handler_is_restored() -> None:
    """What is open is closed; afterwards the signal is handled as before."""
    before, closed = signal.getsignal(signal.SIGTERM), []
    with pytest.raises(SystemExit) as end, terminable():
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
        with terminable():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=program)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]
