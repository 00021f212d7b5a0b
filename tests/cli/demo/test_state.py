"""The client's events as counters and as text."""

from __future__ import annotations

from typing import Any

import pytest

from resilient_client import APIClient, AttemptRecord, Endpoint, ErrorKind
from resilient_client._cli.demo.state import (
    CELLS,
    FOLD_SECONDS,
    EventCounter,
    Journal,
    Observer,
    UpstreamCounters,
    count_event,
    states_by_cell,
)
from resilient_client._cli.demo.upstreams import Condition, Timetable
from resilient_client._policies.circuit.circuit import CircuitState
from resilient_client.events import (
    AttemptFinished,
    AttemptStarted,
    CallFinished,
    CallRejected,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    Event,
    RefusalCause,
    RejectionCause,
    RetryRefused,
    RetryScheduled,
    TokenRefreshed,
)

URL = "http://127.0.0.1:1002"
PAYMENT = Endpoint.of(URL)
FAILED = ErrorKind.SERVER_ERROR
CIRCUIT: dict[str, Any] = {"client": "orders", "at": 103.0, "endpoint": PAYMENT}


def call(order: int = 7, at: float = 103.0) -> dict[str, Any]:
    """Return the fields that every event of a call to payment has."""
    tags = {"upstream": "payment", "order": f"#{order}"}
    return {"client": "orders", "at": at, "method": "POST", "route": f"{URL}/payments/{order}", "tags": tags}


def finished(kind: ErrorKind | None = None, attempts: int = 1) -> CallFinished:
    return CallFinished(**call(), status=None, kind=kind, attempts=attempts, elapsed=0.1)


@pytest.fixture
def counters() -> UpstreamCounters:
    return UpstreamCounters(started=100.0, seconds=10.0)


def start(counters: UpstreamCounters, at: float = 101.0) -> AttemptRecord:
    count_event(counters, AttemptStarted(**call(at=at), number=1, endpoint=PAYMENT))
    return AttemptRecord(1, PAYMENT, 0.0)


def test_attempt_is_counted_as_sent_and_in_flight(counters: UpstreamCounters) -> None:
    """It is in flight from its start to its end."""
    record = start(counters)
    assert (counters.sent.total, counters.in_flight) == (1, 1)
    count_event(counters, AttemptFinished(**call(), record=record))
    assert (counters.sent.total, counters.in_flight) == (1, 0)


def test_refused_attempt_is_not_counted_as_sent(counters: UpstreamCounters) -> None:
    """The client emits its start, the refusal and its end. Nothing reached the wire."""
    record = start(counters)
    count_event(counters, CallRejected(**call(), cause=RejectionCause.CIRCUIT_OPEN, endpoint=PAYMENT))
    count_event(counters, AttemptFinished(**call(), record=record))
    sent = counters.sent
    assert (sent.total, counters.in_flight, sum(sent.cells), sent.per_second(101.0)) == (0, 0, 0, 0)


def test_calls_are_counted_by_outcome(counters: UpstreamCounters) -> None:
    """Successes are ``ok``, and recovered if they needed more than one attempt."""
    for event in (
        finished(),
        finished(attempts=2),
        finished(ErrorKind.TIMEOUT, 3),
        finished(ErrorKind.CIRCUIT_OPEN, 0),
    ):
        count_event(counters, event)
    assert dict(counters.outcomes) == {"ok": 2, "timeout": 1, "circuit_open": 1}
    assert counters.recovered == 1


def test_denied_retries_are_counted(counters: UpstreamCounters) -> None:
    """A scheduled retry is not a denied one. Unrelated events are ignored."""
    count_event(counters, RetryScheduled(**call(), number=1, delay=0.1, reason="status 503", kind=FAILED))
    count_event(counters, RetryRefused(**call(), number=1, reason="not retried: no budget", cause=RefusalCause.BUDGET))
    count_event(counters, TokenRefreshed(client="orders", at=101.0, ok=True))
    assert counters.retries_denied == 1


def test_circuit_states_are_kept_in_order(counters: UpstreamCounters) -> None:
    """Each state has the time at which it began."""
    count_event(counters, CircuitOpened(**CIRCUIT, retry_after=1.0))
    count_event(counters, CircuitHalfOpened(**CIRCUIT))
    count_event(counters, CircuitClosed(**CIRCUIT))
    assert [str(state) for _, state in counters.states] == ["closed", "open", "half_open", "closed"]
    assert counters.openings == 1


def test_event_counter_counts_total_cells_and_last_second() -> None:
    """The last second excludes its beginning. An occurrence after the run is in no cell."""
    counter = EventCounter(started=100.0, seconds=6.0)
    for at in (100.0, 100.005, 103.0, 106.5):
        counter.add(at)
    assert (counter.total, sum(counter.cells), counter.cells[0], counter.cells[CELLS // 2]) == (4, 3, 2, 1)
    assert (counter.per_second(103.5), counter.per_second(104.1)) == (2.0, 1.0)


def test_states_by_cell_show_even_a_short_probe() -> None:
    """If a cell saw several states, half-open is shown before open, and open before closed."""
    states = [
        (0.0, CircuitState.CLOSED),
        (3.0, CircuitState.OPEN),
        (6.0, CircuitState.HALF_OPEN),
        (6.0001, CircuitState.OPEN),
        (9.0, CircuitState.CLOSED),
    ]
    cells = states_by_cell(states, started=0.0, seconds=12.0)
    fractions = [cells[int(at / 12 * CELLS)] for at in (1, 3, 5, 6, 7, 9.1, 11.9)]
    assert [str(state) for state in fractions] == ["closed", "open", "open", "half_open", "open", "closed", "closed"]


async def test_observer_keeps_upstreams_apart() -> None:
    """An event is counted for its own upstream only, and an event of no upstream is ignored."""
    async with APIClient() as api:
        urls = {"inventory": "http://127.0.0.1:1001", "payment": URL}
        observer = Observer(api, Timetable(), urls, started=100.0)
        observer.on_event(AttemptStarted(**call(), number=1, endpoint=PAYMENT))
        observer.on_event(CircuitOpened(**CIRCUIT, retry_after=1.0))
        observer.on_event(TokenRefreshed(client="orders", at=101.0, ok=True))
    assert [counters.sent.total for counters in observer.counters.values()] == [0, 1]
    assert [counters.openings for counters in observer.counters.values()] == [0, 1]
    assert [(entry.at, entry.upstream) for entry in observer.journal.entries] == [(3.0, "payment")]


def add(journal: Journal, event: Event) -> None:
    journal.add_event(event.at - 100.0, "payment", URL, event)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            RetryScheduled(**call(), number=1, delay=1.21, reason="status 503", kind=FAILED),
            "~ #7 status 503; retry in 1.21 s",
        ),
        (RetryScheduled(**call(), number=1, delay=0.118, reason="a", kind=ErrorKind.DNS), "~ #7 a; retry in 118 ms"),
        (RetryScheduled(**call(), number=1, delay=0.0, reason="a", kind=ErrorKind.DNS), "~ #7 a; retry at once"),
        (
            RetryRefused(
                **call(),
                number=1,
                reason="not retried: the retry budget of this upstream is empty",
                cause=RefusalCause.BUDGET,
            ),
            "x #7 not retried: the retry budget is empty",
        ),
        (
            RetryRefused(
                **call(),
                number=1,
                reason=f"not retried: the circuit of {URL} is open for another 1 s",
                cause=RefusalCause.CIRCUIT_OPEN,
            ),
            "x #7 not retried: the circuit is open for another 1 s",
        ),
        (
            CallRejected(**call(), cause=RejectionCause.CIRCUIT_OPEN, endpoint=PAYMENT),
            "- #7 refused by the open circuit: nothing sent",
        ),
        (
            CallFinished(**call(), status=None, kind=ErrorKind.DISCONNECTED, attempts=3, elapsed=0.1),
            "x #7 failed after 3 attempts: disconnected",
        ),
        (
            CallFinished(**call(), status=200, kind=ErrorKind.INVALID_RESPONSE, attempts=1, elapsed=0.1),
            "x #7 the reply does not fit the model: invalid_response",
        ),
        (CircuitOpened(**CIRCUIT, retry_after=1.2), "! circuit OPEN for 1.20 s: nothing is sent"),
        (CircuitHalfOpened(**CIRCUIT), "! circuit HALF-OPEN: a few probes are sent"),
        (CircuitClosed(**CIRCUIT), "! circuit CLOSED: recovered, everything is sent"),
    ],
)
def test_journal_describes_an_event(event: Event, line: str) -> None:
    """The text leaves out the upstream's URL, because its name stands in the entry."""
    journal = Journal()
    add(journal, event)
    (entry,) = journal.entries
    assert f"{entry.mark} {entry.text}" == line
    assert (entry.upstream, entry.at) == ("payment", 3.0)


@pytest.mark.parametrize(("kind", "attempts"), [(None, 2), (ErrorKind.CIRCUIT_OPEN, 0)])
def test_journal_ignores_uninteresting_call_ends(kind: ErrorKind | None, attempts: int) -> None:
    """A success needs no line, and a refusal has one already."""
    journal = Journal()
    add(journal, finished(kind, attempts))
    assert journal.entries == []


def test_journal_folds_entries_of_the_same_kind() -> None:
    """The first text is kept with the count. Reasons with the same cause are the same kind."""
    journal = Journal()
    for order in range(3):
        reason = f"not retried: a pause of 1.0{order} s does not fit into the 0.{order} s left"
        fields = call(order, 103.0 + order / 10)
        add(journal, RetryRefused(**fields, number=1, reason=reason, cause=RefusalCause.DEADLINE))
    (entry,) = journal.entries
    assert (entry.count, entry.text[:2], entry.at) == (3, "#0", 3.0)


def test_journal_starts_a_new_entry_after_the_fold_time() -> None:
    """Otherwise a long outage would be a single entry at its beginning."""
    journal = Journal()
    for at in (103.0, 103.0 + FOLD_SECONDS):
        add(journal, CallRejected(**call(at=at), cause=RejectionCause.CIRCUIT_OPEN, endpoint=PAYMENT))
    assert [entry.count for entry in journal.entries] == [1, 1]


def test_journal_never_folds_circuit_changes() -> None:
    """They are rare, and each one matters."""
    journal = Journal()
    for _ in range(2):
        add(journal, CircuitOpened(**CIRCUIT, retry_after=1.0))
    assert len(journal.entries) == 2


def test_journal_describes_conditions() -> None:
    """A change of an upstream has the text of its condition."""
    journal = Journal()
    journal.add_condition(2.0, "payment", Condition.DOWN)
    journal.add_condition(4.0, "payment", Condition.HEALTHY)
    assert [f"{entry.mark} {entry.text}" for entry in journal.entries] == [f"* {Condition.DOWN}", "* healthy"]
