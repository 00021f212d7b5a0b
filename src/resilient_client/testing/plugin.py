"""The pytest plugin: fixtures for upstreams in memory and on real sockets, and for virtual time.

Loaded in every test run of everybody who has the library installed, so it imports nothing heavy: a fixture imports
what it gives. All fixtures are plain functions, so they work under pytest-asyncio in either mode, anyio and none.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest

if TYPE_CHECKING:
    from resilient_client.testing._fault_server import FaultServer
    from resilient_client.testing._mock_upstream import MockUpstream

T = TypeVar("T")


class RunVirtual(Protocol):
    """The type of the fixture `run_virtual`."""

    def __call__(self, main: Coroutine[object, None, T], *, start: float = 0.0) -> T:
        """Run a coroutine to its end in virtual time."""
        ...


@pytest.fixture
def mock_upstream() -> MockUpstream:
    """An upstream in memory, for `APIClient(..., transport=mock_upstream)`; nothing is scripted yet."""
    from resilient_client.testing._mock_upstream import MockUpstream

    return MockUpstream()


@pytest.fixture
def fault_server() -> FaultServer:
    """A misbehaving server on loopback, not started: `async with fault_server:` does, on the test's own loop."""
    from resilient_client.testing._fault_server import FaultServer

    return FaultServer()


@pytest.fixture
def run_virtual() -> RunVirtual:
    """Runs a coroutine in virtual time, from a plain test: `run_virtual(main())`."""
    from resilient_client.testing._virtual_time import run_virtual

    return run_virtual
