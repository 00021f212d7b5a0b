"""The log of a client tells what happened to a call, for each logging setup, and never harms the call."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from pythonjsonlogger.json import JsonFormatter
from tests.behaviour.support import client, failure, soon

from resilient_client import APIClient, Call, CircuitBreaker, Fallback, Retry
from resilient_client.events import AttemptFinished, AttemptStarted, CallFailed, CallFinished, RetryScheduled
from resilient_client.telemetry import JSONFormatter
from resilient_client.telemetry._names import COMMON_FIELDS
from resilient_client.telemetry._repeats import BURST
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import hang_before_headers, reply

AT_ONCE = Retry(backoff=lambda _: 0.0)
ROOT = logging.getLogger("resilient_client")


class Records(logging.Handler):
    """Keeps the records, as a handler of an application gets them."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []  # of the fields that ``extra`` gives, type checkers know nothing

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)

    def names(self) -> list[str]:
        return [record.event for record in self.kept]


@contextmanager
def logging_to(handler: logging.Handler, level: int) -> Iterator[None]:
    """Attach a handler to the library's logger, at a level."""
    ROOT.addHandler(handler)
    ROOT.setLevel(level)
    try:
        yield
    finally:
        ROOT.setLevel(logging.NOTSET)
        ROOT.removeHandler(handler)


@pytest.fixture
def at_info() -> Iterator[Records]:
    """The records at ``INFO`` and above."""
    records = Records()
    with logging_to(records, logging.INFO):
        yield records


@pytest.fixture
def at_debug() -> Iterator[Records]:
    """All records."""
    records = Records()
    with logging_to(records, logging.DEBUG):
        yield records


async def test_retry_is_logged_at_info(server: FaultServer, at_info: Records) -> None:
    """A call that succeeds at the second attempt leaves one line, with all that joins it to other lines."""
    server.script(reply(503, headers={"X-Request-Id": "r-1"}), reply(200))
    async with client(server, name="users", retry=AT_ONCE) as api:
        await soon(api.get("/users/{id}", path_params={"id": 7}, tags={"page": "profile"}))
    (record,) = at_info.kept
    assert (record.name, record.levelname, record.event) == ("resilient_client.retry", "INFO", "retry_scheduled")
    assert {name: getattr(record, name) for name in COMMON_FIELDS} == {
        "event": "retry_scheduled",
        "client": "users",
        "upstream": server.url,
        "method": "GET",
        "route": "/users/{id}",
        "tags": {"page": "profile"},
        "call_id": record.call_id,
        "attempt": 1,
        "request_id": "r-1",
        "trace_id": None,
        "span_id": None,
        "suppressed": 0,
    }
    assert (record.delay, record.kind, record.reason) == (0.0, "server_error", "status 503")


async def test_attempts_in_the_log_are_requests_on_the_wire(server: FaultServer, at_debug: Records) -> None:
    """At ``DEBUG`` each attempt has a start and an end, joined by the id of the call, as the server counts them."""
    server.script(reply(503), reply(200, headers={"X-Request-Id": "r-2"}))
    async with client(server, retry=AT_ONCE) as api:
        await soon(api.get("/"))
    first_call, hits = at_debug.names(), server.hits
    assert first_call == [
        "attempt_started",
        "attempt_finished",
        "retry_scheduled",
        "attempt_started",
        "attempt_finished",
        "call_finished",
    ]
    assert first_call.count("attempt_started") == first_call.count("attempt_finished") == hits == 2
    assert len({record.call_id for record in at_debug.kept}) == 1
    assert [record.attempt for record in at_debug.kept] == [1, 1, 1, 2, 2, 2]
    assert [record.request_id for record in at_debug.kept[-2:]] == ["r-2", "r-2"]


async def test_failed_call_is_one_warning_with_its_reason(server: FaultServer, at_info: Records) -> None:
    """It tells what failed, after how many attempts, and why there was no other. Its error has the same id."""
    server.script(reply(503, headers={"X-Request-Id": "r-9"}))
    async with client(server, retry=Retry(max_attempts=2, backoff=lambda _: 0.0)) as api:
        error = await failure(api.post("/orders", json={}))
    warning = at_info.kept[-1]
    assert (warning.event, warning.levelname, warning.name) == ("call_failed", "WARNING", "resilient_client.call")
    assert (warning.kind, warning.status, warning.stage, warning.attempts) == ("server_error", 503, "status", 1)
    assert warning.reason in str(error) != ""
    assert "not retried" in warning.reason
    assert (warning.call_id, warning.request_id) == (error.call_id, "r-9") == (at_info.kept[0].call_id, "r-9")


@pytest.mark.parametrize(("status", "level"), [(503, "WARNING"), (404, "INFO"), (429, "WARNING"), (200, None)])
@pytest.mark.parametrize("raises", [True, False])
async def test_level_of_a_call_follows_its_kind(
    status: int, level: str | None, raises: bool, server: FaultServer, at_info: Records
) -> None:
    """What the upstream did wrong is a warning. What the caller asked wrong is information, raised or returned."""
    server.script(reply(status))
    async with client(server, raise_for_status=raises) as api:
        await soon(api.run(Call.get("/")))
    assert [record.levelname for record in at_info.kept] == ([level] if level else [])


async def test_events_of_successes_are_not_built_without_debug(server: FaultServer, at_info: Records) -> None:
    """At ``INFO`` nothing listens to them. A change of the level at run time is followed from the next call on."""
    common = (AttemptStarted, AttemptFinished, CallFinished)
    server.script(reply(200))
    async with client(server) as api:
        listeners = api._runtime.events.listeners_of
        await soon(api.get("/"))
        assert not any(listeners[event] for event in common)
        assert listeners[RetryScheduled]
        ROOT.setLevel(logging.WARNING)
        await soon(api.get("/"))
        assert not listeners[RetryScheduled]
        assert listeners[CallFailed]
        for level, listening in ((logging.DEBUG, True), (logging.INFO, False), (logging.DEBUG, True)):
            ROOT.setLevel(level)
            await soon(api.get("/"))
            assert [bool(listeners[event]) for event in common] == [listening] * 3
    assert at_info.names().count("call_finished") == 2
    assert server.hits == 5


@pytest.mark.one_loop
async def test_log_that_is_off_builds_nothing(server: FaultServer, at_info: Records) -> None:
    """With the library's logger at a level above all, no event has a listener, and a later level is followed."""
    server.script(reply(503))
    ROOT.setLevel(logging.CRITICAL + 1)
    async with client(server) as api:
        await failure(api.get("/"))
        assert not any(api._runtime.events.listeners_of.values())
        ROOT.setLevel(logging.ERROR)
        await failure(api.get("/"))
        assert at_info.kept == []
        ROOT.setLevel(logging.WARNING)
        await failure(api.get("/"))
    assert at_info.names() == ["call_failed"]


async def test_level_of_one_logger_selects_its_records(server: FaultServer, at_info: Records) -> None:
    """The loggers below the root have levels of their own."""
    server.script(reply(200))
    attempts = logging.getLogger("resilient_client.attempt")
    attempts.setLevel(logging.DEBUG)
    try:
        async with client(server) as api:
            await soon(api.get("/"))
    finally:
        attempts.setLevel(logging.NOTSET)
    assert at_info.names() == ["attempt_started", "attempt_finished"]


@pytest.mark.one_loop
async def test_repeats_are_bounded_and_counted(server: FaultServer, at_info: Records) -> None:
    """Of 30 equal failures ten are logged, and the end of the client tells the number of the others."""
    server.script(reply(503))
    async with client(server, name="users", circuit_breaker=None) as api:
        for _ in range(30):
            await failure(api.get("/"))
    *failed, rest = at_info.kept
    assert [record.event for record in failed] == ["call_failed"] * BURST
    assert (rest.event, rest.suppressed_event, rest.levelname) == ("records_suppressed", "call_failed", "WARNING")
    assert BURST + rest.suppressed == server.hits == 30
    assert (rest.client, rest.upstream) == ("users", server.url)
    assert set(COMMON_FIELDS) <= set(vars(rest))


@pytest.mark.virtual_time
async def test_record_after_repeats_has_their_number(server: FaultServer, at_info: Records) -> None:
    """In an outage that lasts, a line every few seconds says how many there would have been."""
    server.script(reply(503))
    async with client(server, circuit_breaker=None) as api:
        for _ in range(BURST + 5):
            await failure(api.get("/"))
        await asyncio.sleep(10)
        await failure(api.get("/"))
    last = at_info.kept[-1]
    assert (last.suppressed, len(at_info.kept)) == (5, BURST + 1)
    assert last.getMessage().endswith("(5 more like this were not logged)")


@pytest.mark.one_loop
async def test_debug_leaves_nothing_out(server: FaultServer, at_debug: Records) -> None:
    """Enabling ``DEBUG`` asks for every line."""
    server.script(reply(503))
    async with client(server, circuit_breaker=None) as api:
        for _ in range(2 * BURST):
            await failure(api.get("/"))
    assert at_debug.names().count("call_failed") == 2 * BURST == server.hits


async def test_circuit_is_logged_from_open_to_closed(server: FaultServer, at_info: Records) -> None:
    """Opening is a warning, rejections name the circuit, and closing is information."""
    server.script(reply(503), reply(200))
    breaker = CircuitBreaker(minimum_calls=1, break_duration=60, max_break_duration=60)
    async with client(server, circuit_breaker=breaker) as api:
        await failure(api.get("/"))
        await failure(api.get("/"))
        (circuit,) = api.circuits.values()
        circuit.reset()
        await soon(api.get("/"))
    assert [(record.event, record.levelname) for record in at_info.kept] == [
        ("circuit_opened", "WARNING"),
        ("call_failed", "WARNING"),
        ("call_rejected", "INFO"),
        ("call_failed", "WARNING"),
        ("circuit_closed", "INFO"),
    ]
    assert {record.endpoint for record in at_info.kept if "circuit" in record.event} == {server.url}
    assert (at_info.kept[2].cause, server.hits) == ("circuit_open", 2)


async def test_fallback_is_logged_with_its_failure(server: FaultServer, at_info: Records) -> None:
    """A value in place of an error is in the log, together with the failure that it hides from the caller."""
    server.script(reply(503))
    async with client(server, fallback=Fallback("old")) as api:
        assert await soon(api.get("/")) == "old"
    assert at_info.names() == ["call_failed", "fallback_used"]


async def test_coalesced_call_names_the_flight(server: FaultServer, at_debug: Records) -> None:
    """A call that shares a flight has no attempts of its own in the log. It names the call that has them."""
    server.script(reply(200, delay=0.05))
    async with client(server, coalesce=True) as api:
        await soon(asyncio.gather(api.get("/"), api.get("/")))
    (joined,) = [record for record in at_debug.kept if record.event == "call_coalesced"]
    attempts = [record for record in at_debug.kept if record.event == "attempt_finished"]
    assert [record.call_id for record in attempts] == [joined.flight_id] != [joined.call_id]
    assert len(attempts) == server.hits == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_cancelled_call_has_an_end_in_the_log(streamed: bool, server: FaultServer, at_debug: Records) -> None:
    """A call that its caller gives up does not look as if it still ran."""
    server.script(hang_before_headers())
    async with client(server) as api:
        task = asyncio.ensure_future(opened(api) if streamed else api.get("/"))
        await soon(server.wait_for_hits(1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(task)
    last = at_debug.kept[-1]
    assert (last.event, last.stage, last.maybe_processed, last.attempt) == ("call_cancelled", "headers", True, 1)
    assert {record.event for record in at_debug.kept if record.call_id == last.call_id} == {
        "attempt_started",
        "call_cancelled",
    }


async def opened(api: APIClient) -> None:
    async with api.stream("GET", "/"):
        pass


async def test_current_span_is_on_every_record(server: FaultServer, at_debug: Records) -> None:
    """Records carry the ids of the span in which the call was made, in the form that trace tools search for."""
    server.script(reply(200))
    span = trace.NonRecordingSpan(trace.SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False))
    async with client(server) as api:
        with trace.use_span(span):
            await soon(api.get("/"))
        await soon(api.get("/"))
    ids = [(record.trace_id, record.span_id) for record in at_debug.kept]
    assert ids == [(f"{0xABC:032x}", f"{0xDEF:016x}")] * 3 + [(None, None)] * 3


class Raising(logging.Handler):
    """A handler that fails in every way that ``logging`` does not catch."""

    def emit(self, record: logging.LogRecord) -> None:
        seen.append(record)
        raise ConnectionError("the collector is gone")


class Blocking(logging.Handler):
    """A handler that writes to a slow disk."""

    def emit(self, record: logging.LogRecord) -> None:
        if not seen:
            time.sleep(0.05)
        seen.append(record)


def closed_stream() -> logging.Handler:
    """A handler of a program that is about to exit: its stream is closed already."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(lambda record: seen.append(record) is None)
    stream.close()
    return handler


seen: list[logging.LogRecord] = []


@pytest.mark.parametrize("make", [Raising, Blocking, closed_stream])
async def test_handler_that_fails_harms_no_call(
    make: Callable[[], logging.Handler], server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a handler does, the calls end as they would without it, and closing the client works."""
    seen.clear()
    server.script(reply(503), reply(200), reply(404))
    with logging_to(make(), logging.INFO):
        async with client(server, retry=AT_ONCE) as api:
            assert (await soon(api.get("/"))).status == 200
            for _ in range(BURST + 1):
                assert (await failure(api.get("/"))).kind == "client_error"
    assert {getattr(record, "event", None) for record in seen} >= {"call_failed", "records_suppressed"}
    assert server.hits == BURST + 3


def test_raising_handler_raises_where_it_is_not_stopped() -> None:
    """Without the protection, such a failure leaves ``logging``."""
    with logging_to(Raising(), logging.INFO), pytest.raises(ConnectionError):
        ROOT.warning("a line")


def written_by(formatter: logging.Formatter) -> tuple[logging.Handler, Callable[[], list[dict[str, Any]]]]:
    """Return a handler with this formatter, and a function that returns its lines as objects."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    return handler, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


STRUCTLOG = structlog.stdlib.ProcessorFormatter(
    foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
    processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
)


@pytest.mark.parametrize(
    "formatter", [JSONFormatter(), JsonFormatter(), STRUCTLOG], ids=["ours", "python-json-logger", "structlog"]
)
@pytest.mark.one_loop
async def test_fields_reach_json_without_an_adapter(formatter: logging.Formatter, server: FaultServer) -> None:
    """The fields are where structlog and python-json-logger look for them, and each value is what JSON can hold."""
    server.script(reply(503), reply(200))
    handler, lines = written_by(formatter)
    with logging_to(handler, logging.INFO):
        async with client(server, name="users", retry=AT_ONCE) as api:
            await soon(api.get("/users/{id}", path_params={"id": 7}, tags={"page": "profile"}))
    (line,) = lines()
    expected = {"event": "retry_scheduled", "client": "users", "route": "/users/{id}", "attempt": 1, "delay": 0.0}
    assert {name: line.get(name) for name in expected} == expected
    assert line["tags"] == {"page": "profile"}
    assert line["call_id"]
