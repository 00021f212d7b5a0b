"""The laws of conservation: what must be true after every run, whatever the settings and whatever went wrong.

They compare what clients say of themselves with what the network and the servers counted, independently. A law that
does not hold is a bug: of the chain, of a middleware put into it, or of the simulation itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from resilient_client.simulation._account import Account
from resilient_client.simulation._server import Server
from resilient_client.simulation._wire import Wire


class LawBrokenError(AssertionError):
    """A law of conservation does not hold; the message lists every case."""


def check(accounts: Iterable[Account], wires: Iterable[Wire], servers: Iterable[Server], seconds: float) -> None:
    """Assert all laws about a run that is over.

    Args:
        accounts: Of all clients, callers' first.
        wires: Of the same clients.
        servers: All of them, closed.
        seconds: How long the run took.

    Raises:
        LawBrokenError: One does not hold.
    """
    accounts, servers = tuple(accounts), tuple(servers)
    broken = [
        *_requests(accounts, servers),
        *_calls(accounts),
        *_permits(accounts, wires),
        *(law for account in accounts for law in _budget(account, seconds)),
        *_left_running(),
    ]
    if broken:
        raise LawBrokenError("; ".join(broken))


def _requests(accounts: tuple[Account, ...], servers: tuple[Server, ...]) -> Iterator[str]:
    """What clients sent is what servers got; what servers got came to one end each."""
    said = sum(account.requests + account.left for account in accounts)
    got = sum(sum(server.tally.arrived) for server in servers)
    if said != got:
        yield f"the clients say they sent {said} requests, the servers got {got}"
    for server in servers:
        tally = server.tally
        ends = sum(tally.answered) + sum(tally.wasted) + tally.cut + tally.lost + tally.dropped + tally.unfinished
        if ends != sum(tally.arrived):
            yield f"{server.upstream.name} got {sum(tally.arrived)} requests, of which {ends} came to an end"


def _calls(accounts: tuple[Account, ...]) -> Iterator[str]:
    """Every call ends exactly once, and within its deadline."""
    for account in accounts:
        if account.begun is not None and account.begun != account.ended:
            yield f"{account.name} began {account.begun} calls, {account.ended} ended"
        yield from account.late


def _permits(accounts: tuple[Account, ...], wires: Iterable[Wire]) -> Iterator[str]:
    """Probe permits, permits of bulkheads and places for connections are given back."""
    for account, wire in zip(accounts, wires, strict=True):
        for endpoint, circuit in account.api.circuits.items():
            if circuit.probes_out:
                yield f"{circuit.probes_out} probe permits of {account.name} for {endpoint} are still out"
        for endpoint, permits in account.api.bulkheads.items():
            if not permits.idle:
                yield f"{permits.in_use} permits of {account.name} for {endpoint} are still in use, or waited for"
        if wire.in_use:
            yield f"{wire.in_use} connections of {account.name} are still in use, or waited for"


def _budget(account: Account, seconds: float) -> Iterator[str]:
    """Repeats are paid for: by what the bucket held, what answers deposited, and what trickled in."""
    budget = account.config.retry_budget
    if budget is None:
        return
    held = min(budget.initial, budget.burst)
    income = held + budget.max_extra_load * account.answered + budget.min_per_second * seconds
    paid = account.repeats - account.stale
    if paid > income + 1e-6:
        yield f"{account.name} made {paid} repeats on a budget of {income:.1f} tokens"


def _left_running() -> Iterator[str]:
    """No task and no timer is left."""
    this = asyncio.current_task()
    tasks = sorted(task.get_name() for task in asyncio.all_tasks() if task is not this)
    if tasks:
        yield f"{len(tasks)} tasks are still running: {', '.join(tasks[:5])}"
    timers = getattr(asyncio.get_running_loop(), "timers", 0)
    if timers:
        yield f"{timers} timers are still set"
