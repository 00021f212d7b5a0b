"""What is used up on this machine, and a loop that was blocked, are not the server's fault."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from typing import Any

import pytest
from tests.behaviour.support import client, failure, soon

from resilient_client import APIClient, APIConnectionError, APITimeoutError, CircuitBreaker, ErrorKind, Retry, Timeout
from resilient_client._transport import hooks
from resilient_client._transport.http1 import dialer
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import hang_before_headers, reply

pytestmark = pytest.mark.usefixtures("both_paths")

BREAKER = CircuitBreaker(minimum_calls=1, break_duration=60)
EXHAUSTED = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL"]


def state(api: APIClient) -> list[str]:
    """The states of all circuits."""
    return [circuit.state.name for circuit in api.circuits.values()]


def fail_with(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no socket be made, or connected, on either path."""

    class Failing(hooks.TracingSocket):
        def connect(self, address: Any) -> None:
            raise OSError(number, "injected")

    def make(*_: int) -> socket.socket:
        raise OSError(number, "injected")

    made = Failing if number in (errno.EADDRNOTAVAIL, errno.ECONNREFUSED) else make
    monkeypatch.setattr(hooks, "TracingSocket", made)
    monkeypatch.setattr(dialer, "_make_socket", lambda address: made(*address[:3]))


@pytest.mark.parametrize("name", EXHAUSTED)
async def test_exhaustion_of_this_machine_is_neutral(
    server: FaultServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind POOL like a full pool; the circuit stays closed, and the message says what to raise."""
    async with client(server, circuit_breaker=BREAKER) as api:
        with monkeypatch.context() as patch:
            fail_with(getattr(errno, name), patch)
            error = await failure(api.get("/"))
        assert isinstance(error, APIConnectionError)
        assert (error.kind, error.maybe_processed, error.retryable) == (ErrorKind.POOL, False, True)
        assert "nothing was sent" in str(error)
        assert any(what in str(error) for what in ("raise", "widen"))
        assert state(api) == ["CLOSED"]
        assert (await soon(api.get("/"))).status == 200
    assert server.hits == 1


async def test_refused_connection_is_not_neutral(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: another number of the same call opens the circuit."""
    fail_with(errno.ECONNREFUSED, monkeypatch)
    async with client(server, circuit_breaker=BREAKER) as api:
        assert (await failure(api.get("/"))).kind is ErrorKind.CONNECT
        assert state(api) == ["OPEN"]


async def test_lookup_without_free_file_is_exhaustion(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver says that the name is unknown, because it can open nothing to ask with."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def make(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    async with APIClient(retry=None, circuit_breaker=BREAKER) as api:
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with monkeypatch.context() as patch:
            patch.setattr("resilient_client._transport.resolver.socket.socket", make)
            error = await failure(api.get("http://users.example/"))
        assert (error.kind, state(api)) == (ErrorKind.POOL, ["CLOSED"])


LIMITS = [Timeout(attempt=0.2), Timeout(total=0.2)]


@pytest.mark.parametrize("limit", LIMITS, ids=["attempt", "total"])
async def test_timeout_of_a_blocked_loop_is_neutral(server: FaultServer, limit: Timeout) -> None:
    """The loop was blocked past the timeout; the error says so, and the circuit stays closed."""
    server.script(hang_before_headers(), reply(200))
    async with client(server, circuit_breaker=BREAKER, timeout=limit) as api:
        call = asyncio.create_task(failure(api.get("/")))
        await soon(server.wait_for_hits(1))
        time.sleep(0.5)  # noqa: ASYNC251 -- blocks the loop on purpose
        error = await soon(call)
        assert isinstance(error, APITimeoutError)
        assert "the event loop was blocked for" in str(error)
        assert state(api) == ["CLOSED"]
        assert (await soon(api.get("/"))).status == 200


@pytest.mark.parametrize("limit", LIMITS, ids=["attempt", "total"])
@pytest.mark.virtual_time
async def test_timeout_of_a_free_loop_is_not_neutral(server: FaultServer, limit: Timeout) -> None:
    """The negative control: the server was silent while the loop ran."""
    server.script(hang_before_headers())
    async with client(server, circuit_breaker=BREAKER, timeout=limit, retry=Retry(max_attempts=1)) as api:
        error = await failure(api.get("/"))
        assert "event loop" not in str(error)
        assert state(api) == ["OPEN"]
