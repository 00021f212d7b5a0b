"""Every async test runs on asyncio and on uvloop; hypothesis draws the same examples every time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import settings

from resilient_client.testing.fault_server import FaultServer
from resilient_client.transport import direct

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked so over both ways through aiohttp: they must not differ."""
    if metafunc.definition.get_closest_marker("both_ways"):
        metafunc.fixturenames.append("way")
        metafunc.parametrize("way", ["direct", "session"], indirect=True)


@pytest.fixture
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The way that requests take: round aiohttp's session or through it."""
    if request.param == "session":
        monkeypatch.setattr(direct, "known_release", lambda: False)
    return str(request.param)


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    """A misbehaving upstream on loopback, whose hit counter is the oracle for attempts."""
    async with FaultServer() as server:
        yield server
