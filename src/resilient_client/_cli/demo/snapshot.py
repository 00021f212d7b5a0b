"""One moment of the demo: everything that is shown, taken from the live objects and no longer tied to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from resilient_client import APIClient
from resilient_client._cli.demo.journal import Entry, Journal
from resilient_client._cli.demo.tally import CELLS, Flow, Tally, states_by_cell
from resilient_client._cli.demo.timetable import UPSTREAMS, Condition, Timetable
from resilient_client._core.endpoint import Endpoint
from resilient_client._policies.circuit.circuit import CircuitState


class Budget(NamedTuple):
    """The retry tokens of an upstream: how many there are, and how many there can be."""

    tokens: float
    burst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamNow:
    """One upstream.

    Attributes:
        name: What it is called.
        condition: How it is.
        circuit: The state of its circuit.
        opens_in: Seconds until the open circuit lets a probe pass; ``None`` where nothing is counted down.
        budget: Its retry tokens.
        calls_per_second: Calls in the last second, and
        sent_per_second: attempts.
        in_flight: Attempts under way.
        outcomes: How the calls ended: ``ok`` or a kind of failure, with their numbers.
        healed: How many of the ``ok`` needed more than one attempt.
        calls: Calls made in each slice of the run,
        sent: attempts sent,
        sick: whether it was not well, and
        states: the state of the circuit.
    """

    name: str
    condition: Condition
    circuit: CircuitState
    opens_in: float | None
    budget: Budget
    calls_per_second: float
    sent_per_second: float
    in_flight: int
    outcomes: Mapping[str, int]
    healed: int
    calls: Sequence[int]
    sent: Sequence[int]
    sick: Sequence[bool]
    states: Sequence[CircuitState]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything.

    Attributes:
        elapsed: Seconds since the start; may be more than the timetable has, while the last calls end.
        timetable: How long it will go on, and where chance began.
        orders: Orders placed so far.
        upstreams: The upstreams, in the order of the timetable.
        entries: What happened, the oldest first.
    """

    elapsed: float
    timetable: Timetable
    orders: int
    upstreams: tuple[UpstreamNow, ...]
    entries: tuple[Entry, ...]

    @property
    def calls(self) -> int:
        """Calls made so far: one to each upstream for each order."""
        return len(UPSTREAMS) * self.orders

    @property
    def outcomes(self) -> Counter[str]:
        """How the calls ended, to whatever upstream."""
        return sum((Counter(upstream.outcomes) for upstream in self.upstreams), Counter())


class Observer:
    """Takes snapshots of a running demo."""

    def __init__(
        self,
        api: APIClient,
        timetable: Timetable,
        urls: Mapping[str, str],
        started: float,
        tally: Tally,
        journal: Journal,
    ) -> None:
        self._api = api
        self._timetable = timetable
        self._endpoints = {name: Endpoint.of(url) for name, url in urls.items()}
        self._started = started
        self._tally = tally
        self._journal = journal
        self._sick = {name: self._sick_cells(name) for name in urls}

    def snapshot(self, now: float) -> Snapshot:
        """Everything at ``now`` (loop time)."""
        flows = self._tally.flows
        return Snapshot(
            elapsed=now - self._started,
            timetable=self._timetable,
            orders=next(iter(flows.values())).calls.total,
            upstreams=tuple(self._upstream(name, flow, now) for name, flow in flows.items()),
            entries=tuple(self._journal.entries),
        )

    def _upstream(self, name: str, flow: Flow, now: float) -> UpstreamNow:
        endpoint = self._endpoints[name]
        circuit = self._api.circuits.get(endpoint)
        timetable, started = self._timetable, self._started
        return UpstreamNow(
            name=name,
            condition=timetable.condition(name, now - started),
            circuit=CircuitState.CLOSED if circuit is None else circuit.state,
            opens_in=None if circuit is None else circuit.retry_after(now),
            budget=self._budget(endpoint, now),
            calls_per_second=flow.calls.per_second(now),
            sent_per_second=flow.sent.per_second(now),
            in_flight=flow.in_flight,
            outcomes=dict(flow.outcomes),
            healed=flow.healed,
            calls=tuple(flow.calls.cells),
            sent=tuple(flow.sent.cells),
            sick=self._sick[name],
            states=states_by_cell(flow.states, started, timetable.seconds),
        )

    def _budget(self, endpoint: Endpoint, now: float) -> Budget:
        settings = self._api.config.retry_budget
        tokens = self._api.retry_budgets.get(endpoint)
        if settings is None:
            return Budget(0.0, 0.0)
        return Budget(settings.initial if tokens is None else tokens.available(now), settings.burst)

    def _sick_cells(self, name: str) -> tuple[bool, ...]:
        times = (cell / CELLS * self._timetable.seconds for cell in range(CELLS))
        return tuple(self._timetable.condition(name, time) is not Condition.WELL for time in times)
