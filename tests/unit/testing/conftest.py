"""Fixtures: a `FaultServer` and a plain aiohttp session."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from resilient_client.testing._fault_server import FaultServer


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with FaultServer() as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
