"""Invariants: what holds after every run, whatever the settings and whatever went wrong.

They compare what the clients report in their events with what the network and the servers counted independently. A
violation is a bug of the chain, of a custom middleware, or of the simulation itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from resilient_client.simulation._client_counters import ClientCounters
from resilient_client.simulation._server import Server
from resilient_client.simulation._wire import Wire


class InvariantBrokenError(AssertionError):
    """An invariant of the simulation does not hold; the message lists every violation."""


def check(clients: Iterable[ClientCounters], wires: Iterable[Wire], servers: Iterable[Server], seconds: float) -> None:
    """Check all invariants after a run.

    Args:
        clients: The counters of all clients.
        wires: The wires of the same clients, in the same order.
        servers: All servers, closed.
        seconds: How long the run took, in virtual time.

    Raises:
        InvariantBrokenError: An invariant does not hold.
    """
    clients, servers = tuple(clients), tuple(servers)
    violations = [
        *_requests(clients, servers),
        *_calls(clients),
        *_permits(clients, wires),
        *(violation for counters in clients for violation in _budget(counters, seconds)),
        *_left_running(),
    ]
    if violations:
        raise InvariantBrokenError("; ".join(violations))


def _requests(clients: tuple[ClientCounters, ...], servers: tuple[Server, ...]) -> Iterator[str]:
    """Every request that was sent arrives at a server, and has exactly one result there."""
    sent = sum(counters.requests + counters.cancelled for counters in clients)
    arrived = sum(sum(server.stats.arrived) for server in servers)
    if sent != arrived:
        yield f"the clients report {sent} requests, but {arrived} arrived at the servers"
    for server in servers:
        stats = server.stats
        results = sum(stats.answered) + sum(stats.wasted) + stats.cut + stats.lost + stats.dropped + stats.unfinished
        if results != sum(stats.arrived):
            yield f"{sum(stats.arrived)} requests arrived at {server.upstream.name}, but {results} have a result"


def _calls(clients: tuple[ClientCounters, ...]) -> Iterator[str]:
    """Every call finishes exactly once, and within its deadline."""
    for counters in clients:
        if counters.started is not None and counters.started != counters.finished:
            yield f"{counters.name} started {counters.started} calls, but {counters.finished} finished"
        yield from counters.overdue


def _permits(clients: tuple[ClientCounters, ...], wires: Iterable[Wire]) -> Iterator[str]:
    """Probe permits, permits of bulkheads and slots in pools are released."""
    for counters, wire in zip(clients, wires, strict=True):
        for endpoint, circuit in counters.api.circuits.items():
            if circuit.probes_out:
                yield f"{circuit.probes_out} probe permits of {counters.name} for {endpoint} were not released"
        for endpoint, permits in counters.api.bulkheads.items():
            if not permits.idle:
                yield f"{permits.in_use} permits of {counters.name} for {endpoint} are still in use, or waited for"
        if wire.in_use:
            yield f"{wire.in_use} connections of {counters.name} are still in use, or waited for"


def _budget(counters: ClientCounters, seconds: float) -> Iterator[str]:
    """Repeats are covered by the retry budget: by its initial tokens, the deposits of answers, and the refill."""
    budget = counters.config.retry_budget
    if budget is None:
        return
    initial = min(budget.initial, budget.burst)
    # An upper bound: deposits that overflow the bucket are counted too, so that a violation is never a false positive.
    tokens = initial + budget.max_extra_load * counters.answered + budget.min_per_second * seconds
    # A repeat after a stale kept connection costs nothing: the server is not to blame for it.
    charged = counters.repeats - counters.stale
    if charged > tokens + 1e-6:
        yield f"{counters.name} sent {charged} repeats on a budget of {tokens:.1f} tokens"


def _left_running() -> Iterator[str]:
    """No task is running, and no timer is set."""
    this = asyncio.current_task()
    tasks = sorted(task.get_name() for task in asyncio.all_tasks() if task is not this)
    if tasks:
        yield f"{len(tasks)} tasks are still running: {', '.join(tasks[:5])}"
    timers = getattr(asyncio.get_running_loop(), "timers", 0)  # only the loop of virtual time counts its timers
    if timers:
        yield f"{timers} timers are still set"
