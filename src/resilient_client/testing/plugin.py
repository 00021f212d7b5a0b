"""The pytest plugin: fixtures for upstreams in memory and on real sockets, and for virtual time.

pytest loads it in every test run of every environment that has the library installed. It therefore imports nothing
heavy: each fixture imports what it returns. All fixtures are plain functions, so they work with pytest-asyncio in
either mode, with anyio, and without an async plugin.
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
    """An upstream in memory, for `APIClient(..., transport=mock_upstream)`. No step is scripted yet."""
    from resilient_client.testing._mock_upstream import MockUpstream

    return MockUpstream()


@pytest.fixture
def fault_server() -> FaultServer:
    """A misbehaving server on loopback, not started. `async with fault_server:` starts it on the test's own loop."""
    from resilient_client.testing._fault_server import FaultServer

    return FaultServer()


@pytest.fixture
def run_virtual() -> RunVirtual:
    """Run a coroutine in virtual time, from a plain test: `run_virtual(main())`."""
    from resilient_client.testing._virtual_time import run_virtual

    return run_virtual
