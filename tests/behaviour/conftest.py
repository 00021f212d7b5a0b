"""The client of most behaviour tests. A module that needs another one defines its own ``api`` fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.behaviour.support import client

from resilient_client import APIClient
from resilient_client.testing._fault_server import FaultServer


@pytest.fixture
async def api(server: FaultServer) -> AsyncIterator[APIClient]:
    """A client without retries, so that a call is one request on the wire."""
    async with client(server) as api:
        yield api
