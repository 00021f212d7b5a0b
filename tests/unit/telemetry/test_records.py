"""Every event becomes a record with a level, a text and plain fields."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from resilient_client import AttemptRecord, Endpoint, ErrorKind, Stage
from resilient_client import events as public
from resilient_client._core.events import CallEvent, CallFailed, CircuitEvent, Event
from resilient_client.events import (
    AttemptFinished,
    AttemptStarted,
    CallCancelled,
    CallCoalesced,
    CallFinished,
    CallRejected,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    EndpointEjected,
    EndpointPaused,
    EndpointRestored,
    EndpointsResolved,
    FallbackUsed,
    HedgeCause,
    HedgeStarted,
    RefusalCause,
    RejectionCause,
    RetryRefused,
    RetryScheduled,
    TokenRefreshed,
)
from resilient_client.telemetry import _names
from resilient_client.telemetry._records import RECORDS, fields_of

HOST = Endpoint("https", "api.example.com", 443)
FAILED = AttemptRecord(
    2, HOST, 0.5, 0.25, 503, ErrorKind.SERVER_ERROR, Stage.STATUS, "status 503", ("/a",), request_id="r-1"
)
CALL: tuple[Any, ...] = ("users", 1.5, "GET", "/users/{id}", {"page": "profile"})
CLIENT: tuple[Any, ...] = ("users", 1.5)
FAILURE: tuple[Any, ...] = (3, 1.25, Stage.STATUS, "status 503", "not retried: max_attempts=3")

SAMPLES: list[tuple[Event, str, str]] = [
    (AttemptStarted(*CALL, 1, HOST), "DEBUG", "attempt 1 to https://api.example.com"),
    (AttemptFinished(*CALL, FAILED), "DEBUG", "attempt 2 failed after 0.250 s: status 503"),
    (AttemptFinished(*CALL, AttemptRecord(1, HOST, 0.0, 0.125, 200)), "DEBUG", "attempt 1: status 200 after 0.125 s"),
    (
        RetryScheduled(*CALL, 1, 0.2, "status 503", ErrorKind.SERVER_ERROR),
        "INFO",
        "attempt 1 failed (status 503), the next one follows in 0.200 s",
    ),
    (RetryRefused(*CALL, 2, "the budget is empty", RefusalCause.BUDGET), "INFO", "number 2: the budget is empty"),
    (HedgeStarted(*CALL, 0.3, "no answer", HedgeCause.LATE), "DEBUG", "hedge after 0.300 s: no answer"),
    (CallFinished(*CALL, 200, None, 1, 0.1), "DEBUG", "status 200 after 0.100 s, attempts: 1"),
    (
        CallFailed(*CALL, 503, ErrorKind.SERVER_ERROR, *FAILURE),
        "WARNING",
        "failed (server_error) after 1.250 s, attempts: 3: status 503; not retried: max_attempts=3",
    ),
    (CallFailed(*CALL, 404, ErrorKind.CLIENT_ERROR, *FAILURE), "INFO", "failed (client_error)"),
    (
        CallCancelled(*CALL, 2, 0.75, Stage.HEADERS, True),
        "DEBUG",
        "cancelled in stage headers after 0.750 s, attempts: 2",
    ),
    (CallRejected(*CALL, RejectionCause.CIRCUIT_OPEN, HOST), "INFO", "rejected: circuit_open"),
    (CallCoalesced(*CALL, 2, "f-1"), "DEBUG", "joined the flight of call f-1, waiters: 2"),
    (FallbackUsed(*CALL, ErrorKind.TIMEOUT, True), "INFO", "fallback used after timeout"),
    (FallbackUsed(*CALL, ErrorKind.TIMEOUT, False, "KeyError"), "WARNING", "fallback failed after timeout: KeyError"),
    (TokenRefreshed(*CLIENT, True), "INFO", "credentials of client users renewed"),
    (TokenRefreshed(*CLIENT, False, "none"), "WARNING", "credentials of client users not renewed: none"),
    (EndpointPaused(*CLIENT, HOST, 3.0), "WARNING", "https://api.example.com paused for 3.000 s"),
    (CircuitOpened(*CLIENT, HOST, 1.0), "WARNING", "circuit of https://api.example.com opened, the next probe"),
    (CircuitOpened(*CLIENT, HOST, None), "WARNING", "circuit of https://api.example.com opened"),
    (CircuitHalfOpened(*CLIENT, HOST), "INFO", "circuit of https://api.example.com lets probes through"),
    (CircuitClosed(*CLIENT, HOST), "INFO", "circuit of https://api.example.com closed"),
    (EndpointEjected(*CLIENT, HOST, "slow"), "WARNING", "https://api.example.com ejected: slow"),
    (EndpointRestored(*CLIENT, HOST), "INFO", "https://api.example.com restored"),
    (EndpointsResolved(*CLIENT, True, (HOST,)), "DEBUG", "endpoints of client users resolved: 1"),
    (EndpointsResolved(*CLIENT, False, (HOST,), "gone"), "WARNING", "endpoints of client users not resolved: gone"),
]


def plain(value: object) -> bool:
    """Whether every formatter can write the value as it is."""
    if isinstance(value, list):
        return all(map(plain, value))
    if isinstance(value, dict):
        return all(type(key) is str and plain(item) for key, item in value.items())
    return value is None or type(value) in (str, int, float, bool)


def test_every_event_has_a_sample_and_a_record() -> None:
    """A new event cannot be forgotten in the log."""
    bases = {Event, CallEvent, CircuitEvent}
    kinds = {kind for kind in vars(public).values() if isinstance(kind, type) and issubclass(kind, Event)} - bases
    assert {type(event) for event, _, _ in SAMPLES} == kinds == set(RECORDS)


@pytest.mark.parametrize(("event", "level", "text"), SAMPLES, ids=[type(event).__name__ for event, _, _ in SAMPLES])
def test_event_has_its_level_text_and_fields(event: Event, level: str, text: str) -> None:
    """The text is one line, the level fits the result, and the fields are those that ``_names`` lists."""
    if isinstance(event, CallEvent):
        event.call_id, event.upstream, event.request_id = "c-1", HOST, "r-1"
    record = RECORDS[type(event)]
    assert logging.getLevelName(record.level_of(event)) == level
    template, arguments = record.text(event)
    message = template % arguments
    assert text in message
    assert not isinstance(event, CallEvent) or message.startswith("GET https://api.example.com/users/{id}: ")
    fields = fields_of(record, event)
    assert set(fields) == set(_names.COMMON_FIELDS) | set(record.fields)
    assert all(map(plain, fields.values())), fields
    json.dumps(fields, allow_nan=False)


def test_attempt_has_the_request_id_of_its_own_record() -> None:
    """The latest attempt of the call may be another one, such as a hedge."""
    event = AttemptFinished(*CALL, FAILED)
    event.request_id = "of another attempt"
    fields = fields_of(RECORDS[AttemptFinished], event)
    assert (fields["attempt"], fields["request_id"], fields["redirects"]) == (2, "r-1", 1)


def test_text_from_outside_is_one_short_line() -> None:
    """A server, or a label of the caller, can neither forge a line nor fill the disk."""
    event = CallFailed("u\nser", 0.0, "GET", "/a\nb", {"k\n": "v" * 10_000}, 503, ErrorKind.SERVER_ERROR, *FAILURE)
    event.call_id, event.upstream, event.request_id = "c-1", HOST, "x\r\n" * 10_000
    record = RECORDS[CallFailed]
    template, arguments = record.text(event)
    fields = fields_of(record, event)
    texts = [template % arguments, *(str(value) for value in fields.values())]
    assert all(text.isprintable() and len(text) < 700 for text in texts)
