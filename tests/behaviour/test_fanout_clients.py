"""The rule of whose calls a fan-out makes: those of its client, and of any other that a call carries."""

from __future__ import annotations

from typing import Any

import pytest
from tests.behaviour.support import client, soon

from resilient_client import (
    APIClient,
    Call,
    ClientClosedError,
    ErrorKind,
    Failure,
    InvalidRequestError,
    as_completed,
    gather,
)
from resilient_client.testing import faults
from resilient_client.testing._fault_server import FaultServer


async def test_gather_uses_client_of_call(server: FaultServer) -> None:
    """Two upstreams, each by its own client; a call that carries none is made by the one that was asked."""
    async with FaultServer() as other, client(server) as ours, client(other) as theirs:
        calls = [Call.get("/a"), Call.get("/b", client=theirs), Call.get("/c", client=ours)]
        result = await soon(ours.gather(calls))
        assert len(result.values) == 3
        assert sorted(request.path for request in server.requests) == ["/a", "/c"]
        assert [request.path for request in other.requests] == ["/b"]


@pytest.mark.virtual_time
async def test_gather_without_client(server: FaultServer) -> None:
    """The function of the package: several clients, one fan-out, one deadline."""
    server.route("GET", "/slow", faults.hang_before_headers())
    async with FaultServer() as other, client(server) as ours, client(other) as theirs:
        calls = [Call.get("/fast", client=theirs), Call.get("/slow", client=ours)]
        result = await soon(gather(calls, timeout=0.2))
    assert [getattr(outcome, "kind", None) for outcome in result] == [None, ErrorKind.DEADLINE]
    assert (server.hits, other.hits) == (1, 1)


async def test_as_completed_without_client(server: FaultServer) -> None:
    """As ``gather`` does."""
    async with client(server) as api:
        outcomes = [outcome async for outcome in as_completed(Call.get("/", client=api) for _ in range(3))]
    assert ([outcome.ok for outcome in outcomes], server.hits) == ([True] * 3, 3)


async def test_call_without_client_refused(server: FaultServer) -> None:
    """Naming the item and the remedy, before anything is sent."""
    async with client(server) as api:
        calls = [Call.get("/a", client=api), Call.get("/b", key="b")]
        told = r"item 1 of the fan-out, <Call GET /b key='b'>, carries no client; give Call.get\(..., client=api\)"
        with pytest.raises(InvalidRequestError, match=told):
            await gather(calls)
        with pytest.raises(InvalidRequestError, match=told):
            as_completed(calls)
    assert server.hits == 0


async def test_client_of_wrong_type_refused(server: FaultServer) -> None:
    """A base URL is no client."""
    wrong: Any = "https://api.example.com"
    async with client(server) as api:
        with pytest.raises(InvalidRequestError, match=r"item 0 .* carries client=str; give an APIClient"):
            await api.gather([Call.get("/", client=wrong)])


async def test_call_of_closed_client_fails(server: FaultServer) -> None:
    """Its siblings of an open client are made; its own outcome is one clear sentence."""
    closed = APIClient(server.url, name="stock")
    await closed.close()
    async with client(server) as api:
        result = await soon(api.gather([Call.get("/a"), Call.get("/b?token=secret", client=closed)]))
    assert [outcome.ok for outcome in result] == [True, False]
    match result[1]:
        case Failure(error=InvalidRequestError() as error):
            assert str(error) == ("GET /b: the client 'stock' is closed; make a new one, or keep it open while in use")
            assert (error.maybe_processed, type(error.__cause__)) == (False, ClientClosedError)
        case other:
            pytest.fail(f"{other} does not say that the client is closed")
    assert server.hits == 1


async def test_client_closed_in_flight_fails_calls(server: FaultServer) -> None:
    """Calls in flight and calls to come fail, each with a clear sentence; none is forgotten."""
    server.script(faults.hang_before_headers())
    api = client(server)
    async with api.as_completed([Call.get("/")] * 4, concurrency=2) as outcomes:
        await soon(server.wait_for_hits(2))
        await api.close()
        errors = [str(outcome.error) async for outcome in outcomes if isinstance(outcome, Failure)]
    assert ["was closed before the reply was complete; keep it open" in error for error in errors[:2]] == [True] * 2
    assert ["is closed; make a new one" in error for error in errors[2:]] == [True] * 2
    assert server.hits == 2


def test_call_refuses_misspelt_options() -> None:
    """``client`` is an option of its own; the hint knows it."""
    assert Call.get("/").client is None
    wrong: Any = {"cleint": None}
    with pytest.raises(InvalidRequestError, match="did you mean 'client'"):
        Call.get("/", **wrong)
