"""``pool_size`` bounds the connections of a client, idle ones included."""

from __future__ import annotations

import asyncio
import sys
from typing import Self

import pytest
from tests.behaviour.support import settled, soon

from resilient_client import APIClient, Call, ConnectionSettings

pytestmark = [
    pytest.mark.usefixtures("both_paths"),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8"),
]


class Hosts:
    """One server for all of 127.0.0.0/8, which counts open connections and remembers who was asked on a new one."""

    def __init__(self) -> None:
        self.open = self.most = 0
        self.connected: list[str] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "0.0.0.0", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def url(self, number: int) -> str:
        return f"http://127.0.0.{number}:{self.port}/"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        self.connected.append(writer.get_extra_info("sockname")[0].rpartition(".")[2])
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@pytest.mark.parametrize(("size", "most"), [(5, 5), (0, 40)], ids=["bounded", "no limit"])
async def test_pool_size_bounds_idle_connections(size: int, most: int) -> None:
    """No call fails for it. Without a limit, a connection to each host stays open."""
    async with Hosts() as hosts, APIClient(retry=None, connection=ConnectionSettings(pool_size=size)) as api:
        result = await soon(api.gather([Call.get(hosts.url(number)) for number in range(1, 41)], concurrency=4))
        assert len(result.values) == 40
        assert await settled(lambda: hosts.open) == most
        assert hosts.most <= most + 4 * bool(size)  # the server learns of a closed connection a little later
    assert await settled(lambda: hosts.open) == 0


async def test_oldest_idle_connection_is_closed_first() -> None:
    """A connection that was used lately stays."""
    async with Hosts() as hosts, APIClient(retry=None, connection=ConnectionSettings(pool_size=2)) as api:
        for number in (1, 2, 1, 3, 1, 2):
            await soon(api.get(hosts.url(number)))
    assert hosts.connected == ["1", "2", "3", "2"]


async def test_open_stream_keeps_its_connection() -> None:
    """Only idle connections make room."""
    async with (
        Hosts() as hosts,
        APIClient(retry=None, connection=ConnectionSettings(pool_size=2)) as api,
        api.stream("GET", hosts.url(1)) as stream,
    ):
        for number in (2, 3, 4):
            await soon(api.get(hosts.url(number)))
        assert await soon(stream.read()) == b"ok"
    assert hosts.connected == ["1", "2", "3", "4"]
