"""Fixtures for the tests of the command line."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from tests.cli.background import BackgroundServer, running


@pytest.fixture
def upstream() -> Iterator[BackgroundServer]:
    """A misbehaving upstream in a thread. Its hit counter is the reference for what was sent."""
    with running() as server:
        yield server


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> Iterator[None]:
    """Let the processes that a test starts be interrupted, even if the tests run in the background.

    A shell without job control starts background commands with SIGINT ignored, and an ignored signal stays ignored in
    every child process: ``exec`` resets only signals that have a handler. The program respects that, as it should, so
    the tests that interrupt it need a handler here.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
