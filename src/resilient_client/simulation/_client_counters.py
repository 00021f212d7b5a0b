"""Counters of one client, filled from its events. After a run they are compared with what the servers counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from resilient_client._client.client import APIClient
from resilient_client._core.events import (
    AttemptFinished,
    CallFailed,
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
from resilient_client.simulation._stats import CallStats, count

WriteLine = Callable[[str], object]
"""Writes one line of the trace."""

COUNTED = (AttemptFinished, CallFinished, CircuitEvent, RetryScheduled, RetryRefused)
"""The types of event that the counters use."""

_NOTHING_SENT = frozenset({ErrorKind.CIRCUIT_OPEN, ErrorKind.REJECTED})
_STATES = {
    CircuitOpened: CircuitState.OPEN,
    CircuitHalfOpened: CircuitState.HALF_OPEN,
    CircuitClosed: CircuitState.CLOSED,
}
_TOLERANCE = 0.005
"""Seconds by which a call may exceed its ``total`` timeout before it counts as overdue."""


class Transition(NamedTuple):
    """A change of a circuit's state.

    Attributes:
        at: When it happened, in seconds of the run.
        client: The client that owns the circuit. Clients of a group are numbered: ``shop-0``.
        upstream: The upstream that the circuit protects.
        state: The new state.
    """

    at: float
    client: str
    upstream: str
    state: CircuitState


class ClientCounters:
    """What one client did, according to its own events.

    Attributes:
        name: The name of the client.
        config: The settings of the client.
        stats: The statistics of the client's group, to which its calls are added.
        started: Calls that its callers started. ``None`` for the clients of services, where this is not counted.
        finished: Calls that finished.
        requests: Requests that were handed to a connection, without those in ``cancelled``.
        repeats: Attempts after the first of their call.
        answered: Calls that got an answer which is not a failure of the server.
        cancelled: Requests that were on their way when they were cancelled, with their call or because they lost to a
            hedge.
        stale: Requests lost because a kept connection was closed.
        overdue: A sentence for each call that took longer than its ``total`` timeout.
    """

    api: APIClient

    def __init__(
        self,
        name: str,
        config: ClientConfig,
        stats: CallStats,
        transitions: list[Transition],
        write_line: WriteLine | None,
    ) -> None:
        self.name = name
        self.config = config
        self.stats = stats
        self.transitions = transitions
        self.started: int | None = None
        self.finished = 0
        self.requests = self.repeats = self.answered = 0
        self.cancelled = self.stale = 0
        self.overdue: list[str] = []
        total = None if config.timeout is None else config.timeout.total
        self._limit = float("inf") if total is None else total
        self._write_line = write_line

    def on_event(self, event: Event) -> None:
        """Count an event of the client, and write it to the trace if there is one."""
        kind = type(event)
        if kind is AttemptFinished:
            self._on_attempt(event)  # type: ignore[arg-type]  # comparing exact types is cheaper than isinstance
        elif kind is CallFinished or kind is CallFailed:
            self._on_call(event)  # type: ignore[arg-type]  # as above
        elif isinstance(event, CircuitEvent):
            state = _STATES[type(event)]
            self.transitions.append(Transition(event.at, self.name, event.endpoint.host, state))
            self._write(event.at, f"circuit of {event.endpoint.host}: {state}")
        elif self._write_line is not None and isinstance(event, RetryScheduled):
            self._write(event.at, f"will repeat attempt {event.number} in {event.delay:.9f} s ({event.reason})")
        elif self._write_line is not None and isinstance(event, RetryRefused):
            self._write(event.at, f"will not repeat attempt {event.number}: {event.reason}")

    def _on_attempt(self, event: AttemptFinished) -> None:
        record = event.record
        # The wire counts the requests of cancelled attempts, in `cancelled`.
        if record.sent and record.kind is not ErrorKind.CANCELLED:
            self.requests += 1 + len(record.redirects) + record.reauthenticated
        if record.number > 1 and record.kind not in _NOTHING_SENT:
            self.repeats += 1
        if self._write_line is not None:
            result = record.error or f"status {record.status}"
            self._write(event.at, f"attempt {record.number} ended after {record.elapsed:.9f} s: {result}")

    def _on_call(self, event: CallFinished) -> None:
        stats, at, elapsed = self.stats, event.at, event.elapsed
        self.finished += 1
        count(stats.offered, at - elapsed)
        if event.kind is None:
            count(stats.goodput, at)
            count(stats.kept, at - elapsed)
            stats.latencies.append(elapsed)
        else:
            count(stats.failed, at)
            stats.waits.append(elapsed)
            stats.kinds[event.kind] += 1
            if event.kind in _NOTHING_SENT:
                count(stats.rejected, at)
        if event.status is not None and event.status < 500:
            self.answered += 1
        if elapsed > self._limit + _TOLERANCE:
            self.overdue.append(f"{self.name} had a call of {elapsed:.3f} s, above total={self._limit:g} s")
        if self._write_line is not None:
            result = event.kind or f"status {event.status}"
            self._write(at, f"call ended after {elapsed:.9f} s: {result}, attempts {event.attempts}")

    def _write(self, at: float, text: str) -> None:
        if self._write_line is not None:
            self._write_line(f"{at:.9f} {self.name} {text}\n")
