"""A session of the caller's: what it does not tell must not be guessed in our favour."""

from __future__ import annotations

import aiohttp
import pytest

from resilient_client import APIClient, APIConnectionError
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import close_idle, drop, reply


async def test_lost_fresh_connection_is_not_stale(server: FaultServer) -> None:
    """A connection that was never used before is no stale one: its loss is a failure of the upstream."""
    server.script(drop())
    async with aiohttp.ClientSession() as session, APIClient(server.url, session=session, retry=None) as api:
        with pytest.raises(APIConnectionError) as failed:
            await api.get("/")
    assert not failed.value.stale_connection
    assert failed.value.history[0].reused is False


async def test_lost_kept_alive_connection_is_repeated(server: FaultServer) -> None:
    """A connection that served a call before and is closed by then is nobody's fault there, either."""
    server.script(close_idle(), reply())
    async with aiohttp.ClientSession() as session, APIClient(server.url, session=session) as api:
        await api.get("/")
        healed = await api.get("/")
    assert [record.reused for record in healed.history] == [True, False]
    assert server.hits == 3
