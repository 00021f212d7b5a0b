"""Names that hang hold up nothing else: no other name, no upload, no other work in threads, and no end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.behaviour.support import cancelled, failure, settled, soon

from resilient_client import APIClient, APIConnectionError, ConnectionSettings, ErrorKind, Stage
from resilient_client._transport import resolver
from resilient_client.testing._fault_server import FaultServer

pytestmark = pytest.mark.usefixtures("both_paths")


class Names:
    """Stands in for ``socket.getaddrinfo``.

    Attributes:
        asked: How often each name was looked up.
        gate: Names that start with ``hang`` are answered once it is set.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.gate = threading.Event()
        self._system = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        name = str(host)
        if not name.endswith(".example"):
            return self._system(host, port, *args, **options)
        self.asked[name] += 1
        if name.startswith("hang"):
            self.gate.wait(30)
        if name.startswith("empty"):
            return []
        if name.startswith("gone"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._system("127.0.0.1", port, *args, **options)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """Names below ``.example`` that are found, hang, are empty or are gone."""
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    yield names
    names.gate.set()


def url(server: FaultServer, name: str) -> str:
    return server.url.replace("127.0.0.1", f"{name}.example") + "/"


def lookup_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("resilient-client-")}


@contextlib.asynccontextmanager
async def hanging(api: APIClient, server: FaultServer, names: Names, count: int) -> Any:
    """Calls to so many names that hang, all of them being looked up."""
    calls = [asyncio.create_task(api.get(url(server, f"hang{number}"))) for number in range(count)]
    try:
        await settled(lambda: len(names.asked))
        yield
    finally:
        await cancelled(calls)


async def test_hanging_names_hold_up_no_healthy_one(server: FaultServer, names: Names, tmp_path: Path) -> None:
    """Nor an upload of a file to an address, nor asyncio's own executor."""
    file = tmp_path / "file"
    file.write_bytes(b"x" * 200_000)
    async with APIClient(retry=None, timeout=30) as api, hanging(api, server, names, 30):
        assert (await soon(api.get(url(server, "healthy")))).status == 200
        assert (await soon(api.post(server.url + "/", content=file))).status == 200
        await soon(asyncio.to_thread(int))
    assert len(server.requests[-1].body) == 200_000


@pytest.mark.one_path
async def test_known_name_passes_any_number_of_hanging_ones(
    server: FaultServer, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More unknown names hang than there are threads. A name that was found before is found again."""
    monkeypatch.setattr(resolver, "_THREADS", 2)
    settings = ConnectionSettings(dns_ttl=None, keepalive=0)
    async with APIClient(retry=None, timeout=30, connection=settings) as api:
        await soon(api.get(url(server, "healthy")))
        async with hanging(api, server, names, 5):
            await soon(api.get(url(server, "healthy")))
            assert names.asked.total() == 2 + 2  # the others wait for a thread
    assert names.asked["healthy.example"] == 2


async def test_name_holds_one_thread_however_often_it_is_asked_for(server: FaultServer, names: Names) -> None:
    """Calls join the lookup under way, and so does one after all of them have given up."""
    async with APIClient(retry=None, timeout=30) as api:
        async with hanging(api, server, names, 1):
            for port in (1, 2):
                await cancelled([asyncio.create_task(api.get(f"http://hang0.example:{port}/"))])
        late = asyncio.create_task(api.get(url(server, "hang0")))
        await asyncio.sleep(0)
        names.gate.set()
        assert (await soon(late)).status == 200
    assert names.asked == {"hang0.example": 1}


async def test_call_that_joins_a_lookup_is_in_stage_dns(server: FaultServer, names: Names) -> None:
    """Both calls wait for the same name, and both errors say so."""
    async with APIClient(retry=None, timeout=0.05) as api:
        errors = await asyncio.gather(*(failure(api.get(url(server, "hang"))) for _ in range(2)))
    assert [error.stage for error in errors] == [Stage.DNS] * 2
    assert names.asked.total() == 1


@pytest.mark.parametrize("name", ["empty", "gone"])
async def test_name_without_address_is_a_dns_error(server: FaultServer, names: Names, name: str) -> None:
    """The system answers with an error, or with nothing at all. All calls that wait get an error of their own."""
    async with APIClient(retry=None, circuit_breaker=None) as api:
        errors = await asyncio.gather(*(failure(api.get(url(server, name))) for _ in range(2)))
    for error in errors:
        assert isinstance(error, APIConnectionError)
        assert (error.kind, error.maybe_processed, error.retryable) == (ErrorKind.DNS, False, True)
    assert errors[0].__cause__ is not errors[1].__cause__


async def test_answer_is_used_for_its_time(server: FaultServer, names: Names) -> None:
    """A cached name has no stage ``dns``; without a time to live, each new connection asks again."""
    for ttl, count in ((10.0, 1), (None, 3)):
        names.asked.clear()
        async with APIClient(retry=None, connection=ConnectionSettings(dns_ttl=ttl, keepalive=0)) as api:
            replies = [await soon(api.get(url(server, "healthy"))) for _ in range(3)]
        assert names.asked.total() == count
        assert [reply.timings.dns is not None for reply in replies] == [True, ttl is None, ttl is None]


async def test_closing_leaves_only_threads_that_the_system_holds(server: FaultServer, names: Names) -> None:
    """Closing does not wait for a lookup that hangs, and the others of its threads end."""
    others = lookup_threads()  # of earlier tests, which may end at any time
    async with APIClient(retry=None, timeout=30) as api, hanging(api, server, names, 3):
        await soon(api.get(url(server, "healthy")))
    assert await settled(lambda: len(lookup_threads() - others)) == 3
    names.gate.set()
    assert await settled(lambda: len(lookup_threads() - others)) == 0


@pytest.mark.one_loop
@pytest.mark.one_path
def test_end_of_a_loop_does_not_wait_for_a_lookup(names: Names, caplog: pytest.LogCaptureFixture) -> None:
    """The answer that comes afterwards disturbs nothing."""

    async def main() -> None:
        async with APIClient(retry=None, timeout=0.05) as api:
            await failure(api.get("http://hang.example/"))

    asyncio.run(main())
    assert not names.gate.is_set()
    names.gate.set()
    for thread in threading.enumerate():
        if thread.name == "resilient-client-lookup":
            thread.join(5)
    assert not [record for record in caplog.records if record.name == "concurrent.futures"]
