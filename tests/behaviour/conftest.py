"""The client that most rules are shown with; a module that needs another has a fixture of its own of that name."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.behaviour.support import client

from resilient_client import APIClient
from resilient_client.testing._fault_server import FaultServer


@pytest.fixture
async def api(server: FaultServer) -> AsyncIterator[APIClient]:
    """One wire request a call."""
    async with client(server) as api:
        yield api
