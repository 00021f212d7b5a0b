"""Events as numbers."""

from __future__ import annotations

from typing import Any

import pytest

from resilient_client import AttemptRecord, Endpoint, ErrorKind
from resilient_client._cli.demo.tally import CELLS, Flow, Series, Tally, states_by_cell
from resilient_client._policies.circuit.circuit import CircuitState
from resilient_client.events import (
    AttemptFinished,
    AttemptStarted,
    CallFinished,
    CallRejected,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    RetryRefused,
    RetryScheduled,
    TokenRefreshed,
)

URLS = {"inventory": "http://127.0.0.1:1001", "payment": "http://127.0.0.1:1002"}
PAYMENT = Endpoint.of(URLS["payment"])


def told(at: float = 101.0) -> dict[str, Any]:
    """What each event of a call to payment says."""
    tags = {"upstream": "payment", "order": "#1"}
    return {"client": "orders", "at": at, "method": "POST", "route": "/", "tags": tags}


def ended(kind: ErrorKind | None = None, attempts: int = 1) -> CallFinished:
    return CallFinished(**told(), status=None, kind=kind, attempts=attempts, elapsed=0.1)


@pytest.fixture
def tally() -> Tally:
    return Tally(URLS, started=100.0, seconds=10.0)


@pytest.fixture
def flow(tally: Tally) -> Flow:
    return tally.flows["payment"]


def start(tally: Tally, at: float = 101.0) -> AttemptRecord:
    tally.hear(AttemptStarted(**told(at), number=1, endpoint=PAYMENT))
    return AttemptRecord(1, PAYMENT, 0.0)


def test_tally_of_an_attempt_counts_it_as_sent_and_for_a_while_as_in_flight(tally: Tally, flow: Flow) -> None:
    """It is under way from its start to its end."""
    record = start(tally)
    assert (flow.sent.total, flow.in_flight) == (1, 1)
    tally.hear(AttemptFinished(**told(), record=record))
    assert (flow.sent.total, flow.in_flight) == (1, 0)


def test_tally_of_a_refused_attempt_does_not_count_it_as_sent(tally: Tally, flow: Flow) -> None:
    """The client tells of its start, then of the refusal, then of its end; on the wire there was nothing."""
    record = start(tally)
    tally.hear(CallRejected(**told(), reason="circuit_open", endpoint=PAYMENT))
    tally.hear(AttemptFinished(**told(), record=record))
    assert (flow.sent.total, flow.in_flight, sum(flow.sent.cells), flow.sent.per_second(101.0)) == (0, 0, 0, 0)


def test_tally_keeps_upstreams_apart(tally: Tally) -> None:
    """What happens to one is not counted for another."""
    start(tally)
    assert tally.flows["inventory"].sent.total == 0


def test_tally_of_ended_calls_counts_them_by_kind(tally: Tally, flow: Flow) -> None:
    """Successes are ``ok``, and healed if they took more than one attempt."""
    for event in (ended(), ended(attempts=2), ended(ErrorKind.TIMEOUT, 3), ended(ErrorKind.CIRCUIT_OPEN, 0)):
        tally.hear(event)
    assert dict(flow.outcomes) == {"ok": 2, "timeout": 1, "circuit_open": 1}
    assert flow.healed == 1


def test_tally_of_retries_counts_the_denied_ones(tally: Tally, flow: Flow) -> None:
    """A retry that is announced is no denied one; other events are passed over."""
    tally.hear(RetryScheduled(**told(), number=1, delay=0.1, reason="status 503"))
    tally.hear(RetryRefused(**told(), number=1, reason="not retried: no budget"))
    tally.hear(TokenRefreshed(client="orders", at=101.0, ok=True))
    assert flow.refused == 1


def test_tally_of_a_circuit_keeps_its_states(tally: Tally, flow: Flow) -> None:
    """In order, with their times."""
    known = {"client": "orders", "endpoint": PAYMENT}
    tally.hear(CircuitOpened(**known, at=102.0, retry_after=1.0))
    tally.hear(CircuitHalfOpened(**known, at=103.0))
    tally.hear(CircuitClosed(**known, at=104.0))
    assert [str(state) for _, state in flow.states] == ["closed", "open", "half_open", "closed"]
    assert flow.opened == 1


def test_series_counts_lately_in_all_and_by_slice() -> None:
    """A second ago is not lately; what comes after the run is in no slice."""
    series = Series(started=100.0, seconds=6.0)
    for at in (100.0, 100.005, 103.0, 106.5):
        series.add(at)
    assert (series.total, sum(series.cells), series.cells[0], series.cells[CELLS // 2]) == (4, 3, 2, 1)
    assert (series.per_second(103.5), series.per_second(104.1)) == (2.0, 1.0)


def test_states_by_cell_show_a_probe_however_short() -> None:
    """Of several states in one slice, half-open wins over open, and open over closed."""
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
