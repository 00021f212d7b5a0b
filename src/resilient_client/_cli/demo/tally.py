"""The events of the client as numbers, for each upstream. Only counts; time comes with the events."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Final

from resilient_client._core.endpoint import Endpoint
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
    RetryRefused,
)

CELLS: Final = 600
"""Into how many slices of time a run is cut; whoever draws it joins some of them to a column."""

_STATES: Final[dict[type[Event], CircuitState]] = {
    CircuitOpened: CircuitState.OPEN,
    CircuitHalfOpened: CircuitState.HALF_OPEN,
    CircuitClosed: CircuitState.CLOSED,
}


class Series:
    """How often something happened: in all, in each slice of the run, and lately."""

    __slots__ = ("_cell", "_recent", "_started", "cells", "total")

    def __init__(self, started: float, seconds: float) -> None:
        """Count from ``started`` (loop time) over ``seconds``; what comes later is in no slice."""
        self._started = started
        self._cell = seconds / CELLS
        self._recent: deque[float] = deque()
        self.cells = [0] * CELLS
        self.total = 0

    def add(self, at: float, count: int = 1) -> None:
        """Count something that happened at ``at``; -1 takes back what was counted a moment ago."""
        self.total += count
        cell = int((at - self._started) / self._cell)
        if 0 <= cell < CELLS:
            self.cells[cell] += count
        if count > 0:
            self._recent.append(at)
        elif self._recent:
            self._recent.pop()

    def per_second(self, now: float) -> float:
        """How often in the second before ``now``."""
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        return float(len(self._recent))


class Flow:
    """What went to one upstream, and what came of it.

    Attributes:
        calls: The calls the service made.
        sent: The attempts that were not refused on our side.
        in_flight: Attempts under way.
        outcomes: How the calls ended: ``ok``, or the kind of failure.
        healed: How many of the ``ok`` needed more than one attempt.
        states: The states of the circuit with the loop time of each.
        refused: Retries denied.
    """

    def __init__(self, started: float, seconds: float) -> None:
        self.calls = Series(started, seconds)
        self.sent = Series(started, seconds)
        self.in_flight = 0
        self.outcomes = Counter[str]()
        self.healed = 0
        self.states: list[tuple[float, CircuitState]] = [(started, CircuitState.CLOSED)]
        self.refused = 0

    @property
    def opened(self) -> int:
        """How often the circuit opened."""
        return sum(state is CircuitState.OPEN for _, state in self.states)


class Tally:
    """Counts for each upstream; ``hear`` is made for ``api.subscribe``."""

    def __init__(self, urls: dict[str, str], started: float, seconds: float) -> None:
        """Count from ``started`` (loop time) for the upstreams with these names and URLs."""
        self.flows = {name: Flow(started, seconds) for name in urls}
        self._names = {Endpoint.of(url): name for name, url in urls.items()}

    def placed(self, upstreams: Iterable[str], at: float) -> None:
        """Count one call to each of ``upstreams``."""
        for name in upstreams:
            self.flows[name].calls.add(at)

    def hear(self, event: Event) -> None:
        """Count an event."""
        match event:
            case AttemptStarted(endpoint=endpoint, at=at):
                flow = self._flow(endpoint)
                flow.in_flight += 1
                flow.sent.add(at)
            case AttemptFinished(record=record):
                self._flow(record.endpoint).in_flight -= 1
            case CallRejected(endpoint=endpoint, at=at):
                self._flow(endpoint).sent.add(at, -1)
            case CallFinished(tags=tags):
                _count_outcome(self.flows[tags["upstream"]], event)
            case RetryRefused(tags=tags):
                self.flows[tags["upstream"]].refused += 1
            case (
                CircuitOpened(endpoint=endpoint)
                | CircuitHalfOpened(endpoint=endpoint)
                | CircuitClosed(endpoint=endpoint)
            ):
                self._flow(endpoint).states.append((event.at, _STATES[type(event)]))
            case _:
                pass

    def _flow(self, endpoint: Endpoint) -> Flow:
        return self.flows[self._names[endpoint]]


def _count_outcome(flow: Flow, event: CallFinished) -> None:
    flow.outcomes["ok" if event.kind is None else str(event.kind)] += 1
    flow.healed += event.kind is None and event.attempts > 1


_TELLING: Final = (CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN)


def most_telling(states: Iterable[CircuitState]) -> CircuitState:
    """The one of several states in one stretch of time that is shown: half-open, which is short, before open."""
    return max(states, key=_TELLING.index)


def states_by_cell(states: Sequence[tuple[float, CircuitState]], started: float, seconds: float) -> list[CircuitState]:
    """The state of a circuit in each slice of the run; ``states`` begins with the one at ``started``."""
    cells = [CircuitState.CLOSED] * CELLS
    ends = [at for at, _ in states[1:]] + [started + seconds]
    for (at, state), end in zip(states, ends, strict=True):
        first, last = (int((time - started) / seconds * CELLS) for time in (at, end))
        for cell in range(first, min(last + 1, CELLS)):
            cells[cell] = most_telling((cells[cell], state))
    return cells
