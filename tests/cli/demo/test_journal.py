"""Events as words."""

from __future__ import annotations

from typing import Any

import pytest

from resilient_client import Endpoint, ErrorKind
from resilient_client._cli.demo.journal import FOLD, Journal
from resilient_client._cli.demo.timetable import Condition
from resilient_client.events import (
    CallFinished,
    CallRejected,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    Event,
    RetryRefused,
    RetryScheduled,
)

URL = "http://127.0.0.1:1002"
PAYMENT = Endpoint.of(URL)
CIRCUIT: dict[str, Any] = {"client": "orders", "at": 103.0, "endpoint": PAYMENT}


def told(order: int = 7, at: float = 103.0) -> dict[str, Any]:
    """What each event of a call to payment says."""
    tags = {"upstream": "payment", "order": f"#{order}"}
    return {"client": "orders", "at": at, "method": "POST", "route": f"{URL}/payments/{order}", "tags": tags}


@pytest.fixture
def journal() -> Journal:
    return Journal({"payment": URL}, started=100.0)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (RetryScheduled(**told(), number=1, delay=1.21, reason="status 503"), "~ #7 status 503; again in 1.2 s"),
        (RetryScheduled(**told(), number=1, delay=0.118, reason="a"), "~ #7 a; again in 118 ms"),
        (RetryScheduled(**told(), number=1, delay=0.0, reason="a"), "~ #7 a; again at once"),
        (
            RetryRefused(**told(), number=1, reason="not retried: the retry budget of this upstream is empty"),
            "x #7 not retried: the retry budget is empty",
        ),
        (
            RetryRefused(**told(), number=1, reason=f"not retried: the circuit of {URL} is open for another 1 s"),
            "x #7 not retried: the circuit is open for another 1 s",
        ),
        (
            CallRejected(**told(), reason="circuit_open", endpoint=PAYMENT),
            "- #7 refused by the open circuit: nothing sent",
        ),
        (
            CallFinished(**told(), status=None, kind=ErrorKind.DISCONNECTED, attempts=3, elapsed=0.1),
            "x #7 failed after 3 attempts: disconnected",
        ),
        (
            CallFinished(**told(), status=200, kind=ErrorKind.INVALID_RESPONSE, attempts=1, elapsed=0.1),
            "x #7 the reply does not fit the model: invalid_response",
        ),
        (CircuitOpened(**CIRCUIT, retry_after=1.2), "! circuit OPEN for 1.2 s: the upstream is left alone"),
        (CircuitHalfOpened(**CIRCUIT), "! circuit HALF-OPEN: a few probes may pass"),
        (CircuitClosed(**CIRCUIT), "! circuit CLOSED: well again, everything may pass"),
    ],
)
def test_journal_tells_an_event_in_words(journal: Journal, event: Event, line: str) -> None:
    """Which upstream it was stands beside, so its URL is left out."""
    journal.hear(event)
    (entry,) = journal.entries
    assert f"{entry.mark} {entry.text}" == line
    assert (entry.upstream, entry.at) == ("payment", 3.0)


@pytest.mark.parametrize("kind", [None, ErrorKind.CIRCUIT_OPEN])
def test_journal_passes_over_the_end_of_a_call_that_is_no_news(journal: Journal, kind: ErrorKind | None) -> None:
    """A success, or a refusal that was told already."""
    journal.hear(CallFinished(**told(), status=None, kind=kind, attempts=0 if kind else 2, elapsed=0.1))
    assert journal.entries == []


def test_journal_of_many_alike_within_a_moment_has_one_entry_with_their_number(journal: Journal) -> None:
    """The first is told; numbers in a reason do not make a difference."""
    for order in range(3):
        reason = f"not retried: a pause of 1.0{order} s does not fit into the 0.{order} s left"
        journal.hear(RetryRefused(**told(order, 103.0 + order / 10), number=1, reason=reason))
    (entry,) = journal.entries
    assert (entry.count, entry.text[:2], entry.at) == (3, "#0", 3.0)


def test_journal_of_many_alike_but_later_begins_a_new_entry(journal: Journal) -> None:
    """Else a long outage would be told once, at its begin."""
    for at in (103.0, 103.0 + FOLD):
        journal.hear(CallRejected(**told(at=at), reason="circuit_open", endpoint=PAYMENT))
    assert [entry.count for entry in journal.entries] == [1, 1]


def test_journal_tells_each_change_of_a_circuit(journal: Journal) -> None:
    """These are rare, and never folded."""
    for _ in range(2):
        journal.hear(CircuitOpened(**CIRCUIT, retry_after=1.0))
    assert len(journal.entries) == 2


def test_journal_tells_what_becomes_of_an_upstream(journal: Journal) -> None:
    """In the words of the timetable."""
    journal.condition(2.0, "payment", Condition.DOWN)
    journal.condition(4.0, "payment", Condition.WELL)
    assert [f"{entry.mark} {entry.text}" for entry in journal.entries] == [f"* {Condition.DOWN}", "* well again"]
