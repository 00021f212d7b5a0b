"""Every async test runs on asyncio and on uvloop; hypothesis draws the same examples every time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import settings

from resilient_client._transport import fast_path
from resilient_client.testing._fault_server import FaultServer

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, LoopFactory]:
    """Both loops; ``asyncio`` alone where uvloop cannot be installed."""
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    try:
        import uvloop
    except ImportError:
        return factories
    return factories | {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=["direct", "session"])
def both_paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test over both ways through aiohttp, round its session and through it: they must not differ."""
    if request.param == "session":
        monkeypatch.setattr(fast_path, "is_tested_release", lambda: False)
    return str(request.param)


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    """A misbehaving upstream on loopback, whose hit counter is the oracle for attempts."""
    async with FaultServer() as server:
        yield server
