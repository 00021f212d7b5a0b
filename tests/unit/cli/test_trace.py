"""The lines of ``--trace`` for each event of a call."""

from __future__ import annotations

from typing import Any

import pytest

from resilient_client import AttemptRecord, Endpoint, ErrorKind
from resilient_client._cli.trace import event_lines
from resilient_client._core.causes import RefusalCause
from resilient_client._core.events import (
    AttemptFinished,
    AttemptStarted,
    CallFinished,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    Event,
    RetryRefused,
    RetryScheduled,
    TokenRefreshed,
)
from resilient_client._core.timings import Timings

END = Endpoint("https", "api.example.com", 443)
CALL: dict[str, Any] = {"client": "c", "at": 0.0, "method": "GET", "route": "/", "tags": {}}
RETRY: dict[str, Any] = {"number": 1, "reason": "status 503", "kind": ErrorKind.SERVER_ERROR}
REFUSAL: dict[str, Any] = {"number": 3, "reason": "not retried: no time", "cause": RefusalCause.DEADLINE}
CIRCUIT: dict[str, Any] = {"client": "c", "at": 0.0, "endpoint": END}


def record(**values: object) -> AttemptRecord:
    """Return the record of a finished attempt."""
    return AttemptRecord(1, END, 0.0, 0.05)._replace(**values)


def printed(event: Event, *, bars: bool = False) -> list[str]:
    """Return the lines for an event, as plain text."""
    return [line.plain.strip() for line in event_lines(event, bars=bars)]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (AttemptStarted(**CALL, number=2, endpoint=END), "attempt 2 to https://api.example.com"),
        (
            RetryScheduled(**CALL, **RETRY, delay=0.142),
            "↻ attempt 2 in 142 ms: status 503",
        ),
        (
            RetryRefused(**CALL, **REFUSAL),
            "■ not retried: no time",
        ),
        (CircuitOpened(**CIRCUIT, retry_after=5.0), "⊘ the circuit of https://api.example.com opened for 5.00 s"),
        (CircuitOpened(**CIRCUIT, retry_after=None), "⊘ the circuit of https://api.example.com opened"),
        (CircuitHalfOpened(**CIRCUIT), "◑ the circuit of https://api.example.com lets probes through"),
        (CircuitClosed(**CIRCUIT), "○ the circuit of https://api.example.com closed"),
        (CallFinished(**CALL, status=200, kind=None, attempts=1, elapsed=1.5), "1 attempt in 1.50 s"),
        (AttemptFinished(**CALL, record=record(status=204)), "✓ 204 No Content · 50 ms"),
        (AttemptFinished(**CALL, record=record(status=599)), "✗ 599 · 50 ms"),
        (
            AttemptFinished(**CALL, record=record(kind=ErrorKind.CONNECT, error="refused")),
            "✗ connect: refused · 50 ms",
        ),
        (
            AttemptFinished(**CALL, record=record(kind=ErrorKind.CIRCUIT_OPEN, error="the circuit is open")),
            "⊘ the circuit is open",
        ),
    ],
)
def test_event_is_one_line(event: Event, expected: str) -> None:
    """The line says what happened."""
    assert printed(event) == [expected]


def test_unrelated_event_has_no_line() -> None:
    """An event that is not part of a call's course is left out."""
    assert printed(TokenRefreshed(client="c", at=0.0, ok=True)) == []


def test_stages_of_an_attempt_are_in_order() -> None:
    """Each stage that took place has its time. The pool is left out if the attempt did not wait there."""
    spent = Timings(pool=0.0, dns=0.002, connect=0.011, tls=0.024, first_byte=0.131, body=0.0004)
    first, *_ = printed(AttemptFinished(**CALL, record=record(status=200, timings=spent)))
    assert first == "dns 2.0 ms · connect 11 ms · tls 24 ms · first byte 131 ms · body 0.4 ms"


def test_bar_is_drawn_to_scale() -> None:
    """A stage that took half of the time takes half of the bar."""
    spent = Timings(connect=0.025, first_byte=0.025)
    _, bar, _ = list(event_lines(AttemptFinished(**CALL, record=record(status=200, timings=spent)), bars=True))
    assert [(span.end - span.start, span.style) for span in bar.spans] == [(24, "yellow"), (24, "green")]


def test_kept_connection_and_redirects_are_shown() -> None:
    """The trace explains missing stages, and lists where the attempt was redirected."""
    printed_lines = printed(
        AttemptFinished(
            **CALL,
            record=record(status=200, reused=True, timings=Timings(body=0.001), redirects=("https://x/y",)),
        )
    )
    assert printed_lines == ["kept connection · body 1.0 ms", "↪ redirected to https://x/y", "✓ 200 OK · 50 ms"]


def test_text_from_the_upstream_is_sanitized() -> None:
    """Escape sequences in an error are replaced."""
    event = AttemptFinished(**CALL, record=record(kind=ErrorKind.PROTOCOL, error="bad \x1b[2J"))
    assert "\x1b" not in printed(event)[0]
