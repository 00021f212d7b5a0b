"""Fixtures for the unit tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cli.background import BackgroundServer, running


@pytest.fixture
def upstream() -> Iterator[BackgroundServer]:
    """A misbehaving upstream in a thread. Its hit counter is the reference for what was sent."""
    with running() as server:
        yield server
