"""One client's account: what it says of itself, by its events, to be compared with what the servers say."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from resilient_client._client.client import APIClient
from resilient_client._core.events import (
    AttemptFinished,
    CallFinished,
    CircuitClosed,
    CircuitEvent,
    CircuitHalfOpened,
    CircuitOpened,
    Event,
    RetryRefused,
    RetryScheduled,
)
from resilient_client._core.kinds import ErrorKind
from resilient_client._policies.circuit.circuit import CircuitState
from resilient_client._settings.config import ClientConfig
from resilient_client.simulation._tally import CallTally, count

Tell = Callable[[str], object]
"""Takes a line of the trace."""

_REFUSED_HERE = frozenset({ErrorKind.CIRCUIT_OPEN, ErrorKind.REJECTED})
_STATES = {
    CircuitOpened: CircuitState.OPEN,
    CircuitHalfOpened: CircuitState.HALF_OPEN,
    CircuitClosed: CircuitState.CLOSED,
}


class Transition(NamedTuple):
    """A circuit changed its state.

    Attributes:
        at: When, in seconds of the run.
        client: Whose circuit; clients of a group are numbered: ``shop-0``.
        upstream: For whom.
        state: The state it is in now.
    """

    at: float
    client: str
    upstream: str
    state: CircuitState


class Account:
    """What one client did, in its own words.

    Attributes:
        name: Of the client.
        config: Its settings.
        tally: Where its calls are counted, with those of its group.
        begun: Calls begun, by the callers that began them; ``None`` where nobody counts, as in services.
        ended: Calls that ended, by event.
        requests: Requests that it says it handed to a connection, by event.
        repeats: Attempts after the first of their call, by event.
        answered: Calls that got an answer which is no failure of the server, by event.
        left: Requests on their way when they were cancelled: with their call, or because they lost to a hedge.
        stale: Requests lost because a kept connection was closed.
        late: What went on for too long, in words.
    """

    api: APIClient

    def __init__(
        self,
        name: str,
        config: ClientConfig,
        tally: CallTally,
        transitions: list[Transition],
        tell: Tell | None,
    ) -> None:
        self.name = name
        self.config = config
        self.tally = tally
        self.transitions = transitions
        self.begun: int | None = None
        self.ended = 0
        self.requests = self.repeats = self.answered = 0
        self.left = self.stale = 0
        self.late: list[str] = []
        total = None if config.timeout is None else config.timeout.total
        self._limit = float("inf") if total is None else total
        self._tell = tell

    def hear(self, event: Event) -> None:
        """Take note of an event of the client."""
        kind = type(event)
        if kind is AttemptFinished:
            self._attempt(event)  # type: ignore[arg-type]  # an exact type tells, and is cheaper than isinstance
        elif kind is CallFinished:
            self._call(event)  # type: ignore[arg-type]  # as above
        elif isinstance(event, CircuitEvent):
            state = _STATES[type(event)]
            self.transitions.append(Transition(event.at, self.name, event.endpoint.host, state))
            self._write(event.at, f"circuit of {event.endpoint.host}: {state}")
        elif self._tell is not None and isinstance(event, RetryScheduled):
            self._write(event.at, f"will repeat attempt {event.number} in {event.delay:.9f} s ({event.reason})")
        elif self._tell is not None and isinstance(event, RetryRefused):
            self._write(event.at, f"will not repeat attempt {event.number}: {event.reason}")

    def _attempt(self, event: AttemptFinished) -> None:
        record = event.record
        if record.sent and record.kind is not ErrorKind.CANCELLED:
            self.requests += 1 + len(record.redirects) + record.reauthenticated
        if record.number > 1 and record.kind not in _REFUSED_HERE:
            self.repeats += 1
        if self._tell is not None:
            came_to = record.error or f"status {record.status}"
            self._write(event.at, f"attempt {record.number} ended after {record.elapsed:.9f} s: {came_to}")

    def _call(self, event: CallFinished) -> None:
        tally, at, elapsed = self.tally, event.at, event.elapsed
        self.ended += 1
        count(tally.offered, at - elapsed)
        if event.kind is None:
            count(tally.goodput, at)
            count(tally.kept, at - elapsed)
            tally.latencies.append(elapsed)
        else:
            count(tally.failed, at)
            tally.waits.append(elapsed)
            tally.kinds[event.kind] += 1
            if event.kind in _REFUSED_HERE:
                count(tally.rejected, at)
        if event.status is not None and event.status < 500:
            self.answered += 1
        if elapsed > self._limit + 0.005:
            self.late.append(f"{self.name} had a call of {elapsed:.3f} s, above total={self._limit:g} s")
        if self._tell is not None:
            came_to = event.kind or f"status {event.status}"
            self._write(at, f"call ended after {elapsed:.9f} s: {came_to}, attempts {event.attempts}")

    def _write(self, at: float, what: str) -> None:
        if self._tell is not None:
            self._tell(f"{at:.9f} {self.name} {what}\n")
