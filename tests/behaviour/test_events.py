"""The rule of observation: what happened is told once, as it was, and telling never harms a call."""

from __future__ import annotations

import asyncio

import pytest
from tests.behaviour.support import client, failure, soon

from resilient_client import CircuitBreaker, ErrorKind, Handler, Request, Response
from resilient_client.events import AttemptFinished, CallFinished, CallRejected, Event
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import ReceivedRequest, Wire
from resilient_client.testing.faults import reply, truncate


def endings(events: list[Event]) -> list[CallFinished]:
    return [event for event in events if isinstance(event, CallFinished)]


async def test_read_stream_is_finished_once(server: FaultServer) -> None:
    """The end of a streamed call is the end of its body, and it is told once."""
    server.script(reply(200, body=b"x" * 100))
    events: list[Event] = []
    async with client(server) as api:
        api.subscribe(events.append)
        async with api.stream("GET", "/") as stream:
            assert endings(events) == []
            await stream.read()
    assert [(event.status, event.kind) for event in endings(events)] == [(200, None)]


async def test_broken_stream_is_finished_once(server: FaultServer) -> None:
    """A call whose body was cut is no success, not even for a moment."""
    server.script(truncate(b"x" * 100, 50))
    events: list[Event] = []
    async with client(server) as api:
        api.subscribe(events.append)
        async with api.stream("GET", "/") as stream:
            await failure(stream.read())
    assert [event.kind for event in endings(events)] == [ErrorKind.DISCONNECTED]


async def test_foreign_exception_is_unexpected(server: FaultServer) -> None:
    """A bug in a middleware stays the exception it is; the listeners see its attempt and its call end."""
    server.script(reply())

    async def broken(request: Request, call_next: Handler) -> Response:
        raise KeyError("a bug")

    events: list[Event] = []
    async with client(server, attempt_middleware=[broken]) as api:
        api.subscribe(events.append)
        with pytest.raises(KeyError):
            await soon(api.get("/"))
    attempts = [event.record.kind for event in events if isinstance(event, AttemptFinished)]
    assert attempts == [event.kind for event in endings(events)] == [ErrorKind.UNEXPECTED]


async def test_refused_attempt_is_rejected(server: FaultServer) -> None:
    """What the circuit refuses is no attempt: not on the wire, not in the number."""
    server.script(reply(503))
    events: list[Event] = []
    async with client(server, circuit_breaker=CircuitBreaker(minimum_calls=1)) as api:
        await failure(api.get("/"))
        api.subscribe(events.append)
        error = await failure(api.get("/"))
    assert (error.attempts, error.history, server.hits) == (0, (), 1)
    assert [event.reason for event in events if isinstance(event, CallRejected)] == ["circuit_open"]


@pytest.mark.virtual_time
async def test_dripping_error_body_keeps_status(server: FaultServer) -> None:
    """The status is known: a body that is too slow for the attempt costs the body, not the answer."""

    async def stuck_error(_request: ReceivedRequest, wire: Wire) -> None:
        await wire.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nhalf")
        await asyncio.Event().wait()

    server.script(stuck_error)
    async with client(server, timeout=0.3) as api:
        error = await failure(api.get("/"))
    assert error.kind is ErrorKind.SERVER_ERROR
    assert error.response.truncated  # type: ignore[attr-defined]  # a status error has one
