"""Events report what happened once and correctly, and emitting them never harms a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.behaviour.support import client, failure, soon

from resilient_client import CircuitBreaker, ErrorKind, Handler, Request, Response, Retry, RetryBudget
from resilient_client.events import (
    AttemptFinished,
    AttemptStarted,
    CallFinished,
    CallRejected,
    Event,
    RefusalCause,
    RetryRefused,
    RetryScheduled,
)
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import ReceivedRequest, Wire
from resilient_client.testing.faults import reply, truncate

NO_BUDGET = RetryBudget(initial=0, min_per_second=0)


def endings(events: list[Event]) -> list[CallFinished]:
    return [event for event in events if isinstance(event, CallFinished)]


async def test_read_stream_is_finished_once(server: FaultServer) -> None:
    """A streamed call ends with its body, and that is reported once."""
    server.script(reply(200, body=b"x" * 100))
    events: list[Event] = []
    async with client(server) as api:
        api.subscribe(events.append)
        async with api.stream("GET", "/") as stream:
            assert endings(events) == []
            await stream.read()
    assert [(event.status, event.kind) for event in endings(events)] == [(200, None)]


async def test_broken_stream_is_finished_once(server: FaultServer) -> None:
    """A call whose body was cut is never reported as a success."""
    server.script(truncate(b"x" * 100, 50))
    events: list[Event] = []
    async with client(server) as api:
        api.subscribe(events.append)
        async with api.stream("GET", "/") as stream:
            await failure(stream.read())
    assert [event.kind for event in endings(events)] == [ErrorKind.DISCONNECTED]


async def test_foreign_exception_is_unexpected(server: FaultServer) -> None:
    """An exception of a middleware is raised unchanged, and listeners see its attempt and its call end."""
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
    """A refusal of the circuit is not an attempt, neither on the wire nor in the number."""
    server.script(reply(503))
    events: list[Event] = []
    async with client(server, circuit_breaker=CircuitBreaker(minimum_calls=1)) as api:
        await failure(api.get("/"))
        api.subscribe(events.append)
        error = await failure(api.get("/"))
    assert (error.attempts, error.history, server.hits) == (0, (), 1)
    assert [event.cause for event in events if isinstance(event, CallRejected)] == ["circuit_open"]


@pytest.mark.one_loop
async def test_subscription_to_types(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener gets only what it subscribed to, and the other events of the call are not built."""
    server.script(reply(503), reply())
    ends: list[CallFinished] = []
    built: list[type[Event]] = []
    for kind in (AttemptStarted, AttemptFinished, RetryScheduled, CallFinished):
        monkeypatch.setattr(kind, "__init__", _counting(kind.__init__, built))
    async with client(server, retry=Retry()) as api:
        api.subscribe(ends.append, CallFinished)
        await soon(api.get("/", tags={"page": "profile"}))
        assert [(event.attempts, event.tags) for event in ends] == [(2, {"page": "profile"})]
        assert built == [CallFinished]
        api.subscribe(lambda event: None)
        await soon(api.get("/"))
    assert built == [CallFinished, AttemptStarted, AttemptFinished, CallFinished]


def _counting(original: Callable[..., None], built: list[type[Event]]) -> Callable[..., None]:
    def init(self: Event, *values: object) -> None:
        built.append(type(self))
        original(self, *values)

    return init


@pytest.mark.one_loop
@pytest.mark.parametrize(
    ("options", "method", "steps", "cause", "words"),
    [
        ({"retry": Retry(max_attempts=1)}, "GET", [reply(503)], RefusalCause.ATTEMPTS, "max_attempts=1"),
        (
            {"retry_budget": RetryBudget(initial=0, min_per_second=0)},
            "GET",
            [reply(503)],
            RefusalCause.BUDGET,
            "budget",
        ),
        ({"timeout": 4}, "GET", [reply(503, headers={"Retry-After": "5"})], RefusalCause.DEADLINE, "a pause of"),
        ({}, "GET", [reply(503, headers={"Retry-After": "3600"})], RefusalCause.RETRY_AFTER, "max_retry_after"),
        ({}, "POST", [reply(503)], RefusalCause.UNSAFE, "idempotency_key"),
        ({"circuit_breaker": CircuitBreaker(minimum_calls=1)}, "GET", [reply(503)], RefusalCause.CIRCUIT_OPEN, "open"),
    ],
)
async def test_refused_retry_has_a_cause(
    server: FaultServer, options: dict[str, Any], method: str, steps: list[Any], cause: RefusalCause, words: str
) -> None:
    """The event and the error hold the cause as a value, next to the text for people."""
    server.script(*steps)
    events: list[RetryRefused] = []
    async with client(server, **{"retry": Retry()} | options) as api:
        api.subscribe(events.append, RetryRefused)
        error = await failure(api.request(method, "/"))
    assert [event.cause for event in events] == [cause]
    assert error.not_retried is cause
    assert (words in events[0].reason, words in str(error), server.hits) == (True, True, 1)


@pytest.mark.one_loop
async def test_last_of_many_attempts_has_no_cause(server: FaultServer) -> None:
    """The number of attempts tells why there is no other, so neither the event nor the error does."""
    server.script(reply(503), reply(503))
    events: list[Event] = []
    async with client(server, retry=Retry(max_attempts=2)) as api:
        api.subscribe(events.append, RetryRefused, RetryScheduled)
        error = await failure(api.get("/"))
    assert (error.not_retried, error.attempts) == (None, 2)
    assert [(type(event), getattr(event, "kind", None)) for event in events] == [
        (RetryScheduled, ErrorKind.SERVER_ERROR)
    ]


@pytest.mark.virtual_time
async def test_dripping_error_body_keeps_status(server: FaultServer) -> None:
    """The status is known, so a body that is too slow for the attempt costs only the body."""

    async def stuck_error(_request: ReceivedRequest, wire: Wire) -> None:
        await wire.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nhalf")
        await asyncio.Event().wait()

    server.script(stuck_error)
    async with client(server, timeout=0.3) as api:
        error = await failure(api.get("/"))
    assert error.kind is ErrorKind.SERVER_ERROR
    assert error.response.truncated  # type: ignore[attr-defined]  # a status error has one
