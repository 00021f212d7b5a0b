"""The client's events as counters and as text, and a snapshot of everything that is shown at one moment."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from resilient_client import APIClient
from resilient_client._cli.demo.upstreams import UPSTREAMS, Condition, Timetable
from resilient_client._cli.text import format_seconds
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.kinds import ErrorKind
from resilient_client._policies.circuit.circuit import CircuitState
from resilient_client.events import (
    AttemptFinished,
    AttemptStarted,
    CallEvent,
    CallFinished,
    CallRejected,
    CircuitClosed,
    CircuitEvent,
    CircuitHalfOpened,
    CircuitOpened,
    Event,
    RetryRefused,
    RetryScheduled,
)

CELLS: Final = 600
"""A run is counted in this many equal stretches of time; a chart joins several of them to one column."""
FOLD_SECONDS: Final = 1.0
"""Entries of the same kind within this time are folded into one."""

_STATES: Final[dict[type[Event], CircuitState]] = {
    CircuitOpened: CircuitState.OPEN,
    CircuitHalfOpened: CircuitState.HALF_OPEN,
    CircuitClosed: CircuitState.CLOSED,
}
_PRECEDENCE: Final = (CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN)


class EventCounter:
    """Counts occurrences: in total, per cell of the run, and during the last second."""

    __slots__ = ("_cell", "_recent", "_started", "cells", "total")

    def __init__(self, started: float, seconds: float) -> None:
        """Count from ``started`` (loop time) over ``seconds``. Later occurrences are in the total, but in no cell."""
        self._started = started
        self._cell = seconds / CELLS
        self._recent: deque[float] = deque()
        self.cells = [0] * CELLS
        self.total = 0

    def add(self, at: float, count: int = 1) -> None:
        """Count an occurrence at ``at``. -1 revokes the latest one, which must have been at about the same time."""
        self.total += count
        cell = int((at - self._started) / self._cell)
        if 0 <= cell < CELLS:
            self.cells[cell] += count
        if count > 0:
            self._recent.append(at)
        elif self._recent:
            self._recent.pop()

    def per_second(self, now: float) -> float:
        """Return the number of occurrences in the second before ``now``."""
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        return float(len(self._recent))


class UpstreamCounters:
    """The counters of one upstream.

    Attributes:
        calls: The calls that the service made.
        sent: The attempts that the client did not refuse itself.
        in_flight: Attempts under way.
        outcomes: How the calls ended: ``ok``, or the kind of failure.
        recovered: How many of the ``ok`` needed more than one attempt.
        states: Every state of the circuit with the loop time at which it began.
        retries_denied: Retries that the client refused to make.
    """

    def __init__(self, started: float, seconds: float) -> None:
        self.calls = EventCounter(started, seconds)
        self.sent = EventCounter(started, seconds)
        self.in_flight = 0
        self.outcomes = Counter[str]()
        self.recovered = 0
        self.states: list[tuple[float, CircuitState]] = [(started, CircuitState.CLOSED)]
        self.retries_denied = 0

    @property
    def openings(self) -> int:
        """How often the circuit opened."""
        return sum(state is CircuitState.OPEN for _, state in self.states)


def count_event(counters: UpstreamCounters, event: Event) -> None:
    """Add an event to the counters of its upstream."""
    match event:
        case AttemptStarted(at=at):
            counters.in_flight += 1
            counters.sent.add(at)
        case AttemptFinished():
            counters.in_flight -= 1
        case CallRejected(at=at):
            # The client emits AttemptStarted before the circuit refuses the attempt. Nothing was sent.
            counters.sent.add(at, -1)
        case CallFinished(kind=kind, attempts=attempts):
            counters.outcomes["ok" if kind is None else str(kind)] += 1
            counters.recovered += kind is None and attempts > 1
        case RetryRefused():
            counters.retries_denied += 1
        case CircuitOpened() | CircuitHalfOpened() | CircuitClosed():
            counters.states.append((event.at, _STATES[type(event)]))
        case _:
            pass


def prevailing(states: Iterable[CircuitState]) -> CircuitState:
    """Return the state to show for a stretch of time that saw several: half-open, which is short, before open."""
    return max(states, key=_PRECEDENCE.index)


def states_by_cell(states: Sequence[tuple[float, CircuitState]], started: float, seconds: float) -> list[CircuitState]:
    """Return the state of a circuit in each cell of the run. ``states`` begins with the one at ``started``."""
    cells = [CircuitState.CLOSED] * CELLS
    ends = [at for at, _ in states[1:]] + [started + seconds]
    for (at, state), end in zip(states, ends, strict=True):
        first, last = (int((time - started) / seconds * CELLS) for time in (at, end))
        for cell in range(first, min(last + 1, CELLS)):
            cells[cell] = prevailing((cells[cell], state))
    return cells


class Entry:
    """Something that happened, once or many times within ``FOLD_SECONDS``.

    Attributes:
        at: Seconds from the start to the first occurrence.
        upstream: The name of the upstream.
        mark: The kind of entry, as one character: ``*`` an upstream changed, ``!`` a circuit changed, ``~`` a retry,
            ``x`` a failure that the caller gets, ``-`` a call refused without sending.
        text: The description for people.
        count: How often it happened.
    """

    __slots__ = ("at", "count", "mark", "text", "upstream")

    def __init__(self, at: float, upstream: str, mark: str, text: str, count: int = 1) -> None:
        self.at = at
        self.upstream = upstream
        self.mark = mark
        self.text = text
        self.count = count


class Journal:
    """The client's events as text, in the order of their first occurrences."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._latest: dict[tuple[str, str], Entry] = {}

    def add_condition(self, at: float, upstream: str, condition: Condition) -> None:
        """Add a change of an upstream, ``at`` seconds after the start."""
        self.entries.append(Entry(at, upstream, "*", condition.value))

    def add_event(self, at: float, upstream: str, url: str, event: Event) -> None:
        """Add an event ``at`` seconds after the start, unless it is not worth a line.

        ``url`` is that of the upstream. It is left out of the text, because the name of the upstream stands before it.
        """
        described = _describe(event)
        if described is None:
            return
        latest = self._latest.get((upstream, described.fold_key))
        if described.fold_key and latest is not None and at - latest.at < FOLD_SECONDS:
            latest.count += 1
            return
        text = described.text.replace(f" of {url}", "").replace(" of this upstream", "")
        entry = self._latest[upstream, described.fold_key] = Entry(at, upstream, described.mark, text)
        self.entries.append(entry)


class _Description(NamedTuple):
    """An event as text. Descriptions with the same ``fold_key`` are folded, unless it is ``""``."""

    mark: str
    text: str
    fold_key: str = ""


def _describe(event: Event) -> _Description | None:
    order = event.tags["order"] if isinstance(event, CallEvent) else ""
    match event:
        case RetryScheduled(reason=reason, delay=delay, kind=kind):
            when = f"in {format_seconds(delay)}" if delay else "at once"
            return _Description("~", f"{order} {reason}; retry {when}", f"retry {kind}")
        case RetryRefused(reason=reason, cause=cause):
            return _Description("x", f"{order} {reason}", f"not retried {cause}")
        case CallRejected():
            return _Description("-", f"{order} refused by the open circuit: nothing sent", "refused")
        case CallFinished(kind=kind, attempts=attempts) if attempts > 1 and kind is not None:
            return _Description("x", f"{order} failed after {attempts} attempts: {kind}", f"failed {kind}")
        case CallFinished(kind=ErrorKind.INVALID_RESPONSE):
            return _Description("x", f"{order} the reply does not fit the model: invalid_response", "invalid")
        case CircuitOpened(retry_after=wait):
            return _Description("!", f"circuit OPEN for {format_seconds(wait or 0)}: nothing is sent")
        case CircuitHalfOpened():
            return _Description("!", "circuit HALF-OPEN: a few probes are sent")
        case CircuitClosed():
            return _Description("!", "circuit CLOSED: recovered, everything is sent")
        case _:
            return None


class Budget(NamedTuple):
    """The retry tokens of an upstream: how many are available, and the largest number there can be."""

    tokens: float
    burst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSnapshot:
    """One upstream at one moment.

    Attributes:
        name: The name of the upstream.
        condition: Its condition.
        circuit: The state of its circuit.
        half_opens_in: Seconds until the open circuit lets a probe pass, or ``None`` if the circuit is not open.
        budget: Its retry tokens.
        calls_per_second: Calls in the last second.
        sent_per_second: Attempts sent in the last second.
        in_flight: Attempts under way.
        outcomes: How many calls ended ``ok``, or with each kind of failure.
        recovered: How many of the ``ok`` needed more than one attempt.
        calls: Calls made in each cell of the run.
        sent: Attempts sent in each cell.
        unhealthy: Whether the upstream was not healthy, for each cell.
        states: The state of the circuit in each cell.
    """

    name: str
    condition: Condition
    circuit: CircuitState
    half_opens_in: float | None
    budget: Budget
    calls_per_second: float
    sent_per_second: float
    in_flight: int
    outcomes: Mapping[str, int]
    recovered: int
    calls: Sequence[int]
    sent: Sequence[int]
    unhealthy: Sequence[bool]
    states: Sequence[CircuitState]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The whole demo at one moment.

    Attributes:
        elapsed: Seconds since the start. It exceeds the timetable while the last calls end.
        timetable: The load and the incidents of the run.
        orders: Orders placed so far.
        upstreams: The upstreams, in the order of ``UPSTREAMS``.
        entries: The journal, the oldest entry first.
    """

    elapsed: float
    timetable: Timetable
    orders: int
    upstreams: tuple[UpstreamSnapshot, ...]
    entries: tuple[Entry, ...]

    @property
    def calls(self) -> int:
        """Calls made so far: one to each upstream for each order."""
        return len(UPSTREAMS) * self.orders

    @property
    def outcomes(self) -> Counter[str]:
        """How the calls to all upstreams ended."""
        return sum((Counter(upstream.outcomes) for upstream in self.upstreams), Counter())


class Observer:
    """Subscribes to a client, follows the timetable, and takes snapshots."""

    def __init__(self, api: APIClient, timetable: Timetable, urls: Mapping[str, str], started: float) -> None:
        """Observe ``api`` from ``started`` (loop time). ``urls`` holds the URL of each upstream by name."""
        self.counters = {name: UpstreamCounters(started, timetable.seconds) for name in urls}
        self.journal = Journal()
        self._api = api
        self._timetable = timetable
        self._urls = urls
        self._started = started
        self._loop = asyncio.get_running_loop()
        self._names = {Endpoint.of(url): name for name, url in urls.items()}
        self._unhealthy = {name: self._unhealthy_cells(name) for name in urls}
        api.subscribe(self.on_event)
        for at, upstream, condition in timetable.changes:
            self._loop.call_at(started + at, self.journal.add_condition, at, upstream, condition)

    def on_order(self) -> None:
        """Count one call to each upstream."""
        for counters in self.counters.values():
            counters.calls.add(self._loop.time())

    def on_event(self, event: Event) -> None:
        """Count an event and add it to the journal, if it concerns an upstream."""
        if isinstance(event, CircuitEvent):
            name = self._names[event.endpoint]
        elif isinstance(event, CallEvent):
            name = event.tags["upstream"]
        else:
            return
        count_event(self.counters[name], event)
        self.journal.add_event(event.at - self._started, name, self._urls[name], event)

    def snapshot(self, now: float) -> Snapshot:
        """Return everything that is shown, as of ``now`` (loop time)."""
        return Snapshot(
            elapsed=now - self._started,
            timetable=self._timetable,
            orders=next(iter(self.counters.values())).calls.total,
            upstreams=tuple(self._upstream(name, counters, now) for name, counters in self.counters.items()),
            entries=tuple(self.journal.entries),
        )

    def _upstream(self, name: str, counters: UpstreamCounters, now: float) -> UpstreamSnapshot:
        endpoint = Endpoint.of(self._urls[name])
        circuit = self._api.circuits.get(endpoint)
        timetable, started = self._timetable, self._started
        return UpstreamSnapshot(
            name=name,
            condition=timetable.condition(name, now - started),
            circuit=CircuitState.CLOSED if circuit is None else circuit.state,
            half_opens_in=None if circuit is None else circuit.retry_after(now),
            budget=self._budget(endpoint, now),
            calls_per_second=counters.calls.per_second(now),
            sent_per_second=counters.sent.per_second(now),
            in_flight=counters.in_flight,
            outcomes=dict(counters.outcomes),
            recovered=counters.recovered,
            calls=tuple(counters.calls.cells),
            sent=tuple(counters.sent.cells),
            unhealthy=self._unhealthy[name],
            states=states_by_cell(counters.states, started, timetable.seconds),
        )

    def _budget(self, endpoint: Endpoint, now: float) -> Budget:
        settings = self._api.config.retry_budget
        tokens = self._api.retry_budgets.get(endpoint)
        if settings is None:
            return Budget(0.0, 0.0)
        return Budget(settings.initial if tokens is None else tokens.available(now), settings.burst)

    def _unhealthy_cells(self, name: str) -> tuple[bool, ...]:
        times = (cell / CELLS * self._timetable.seconds for cell in range(CELLS))
        return tuple(self._timetable.condition(name, time) is not Condition.HEALTHY for time in times)
