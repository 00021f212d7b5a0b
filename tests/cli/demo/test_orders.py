"""The reconciliation of the client's reports with the servers' counters."""

from __future__ import annotations

import asyncio

import pytest

from resilient_client import APIClient, GatherResult, Success
from resilient_client._cli.demo.orders import Orders, Payment, Reconciliation, wait_for_arrivals
from resilient_client._cli.demo.state import UpstreamCounters
from resilient_client._cli.demo.upstreams import Ledger, Upstreams
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.record import AttemptRecord
from resilient_client.testing._fault_server import FaultServer


def orders_of(server: FaultServer, *sent: bool) -> Orders:
    """Return one order whose payment has an attempt for each of ``sent``, which is whether it left this machine."""
    history = []
    for number, left in enumerate(sent, 1):
        history.append(AttemptRecord(number, Endpoint.of(server.url), 0.0, sent=left))
    done = Success(Payment(charge=1), key="payment", attempts=len(sent), history=tuple(history))
    first, last = (Success(Payment(charge=1), key=None, attempts=0) for _ in "ab")
    return {1: GatherResult([first, done, last])}


def reconcile(server: FaultServer, *sent: bool, charges: tuple[int, ...] = (1,)) -> Reconciliation:
    ledger = Ledger()
    ledger.charges.extend(charges)
    counters = {"payment": UpstreamCounters(0.0, 1.0)}
    return Reconciliation(orders_of(server, *sent), counters, Upstreams({"payment": server}, ledger, 0.0))


@pytest.fixture
async def visited(server: FaultServer) -> FaultServer:
    """A server that received one request."""
    async with APIClient(server.url) as api:
        await api.get("/")
    return server


@pytest.mark.parametrize(
    ("sent", "ok", "text"),
    [
        ((True,), True, "1 reported by the client, 1 counted by the servers: equal"),
        ((True, True), False, "2 reported by the client, 1 counted by the servers: NOT EQUAL"),
        ((), False, "0 reported by the client, 1 counted by the servers: NOT EQUAL"),
        (
            (False, True),
            True,
            "2 reported by the client, of which 1 never left this machine, 1 counted by the servers: equal",
        ),
    ],
)
async def test_attempts_agree_only_if_counts_are_equal(
    visited: FaultServer, sent: tuple[bool, ...], ok: bool, text: str
) -> None:
    """An attempt that no server received, or that the client does not report, fails the reconciliation."""
    reconciliation = reconcile(visited, *sent)
    assert reconciliation.ok is ok
    fact = next(fact for fact in reconciliation.facts() if fact.name == "attempts")
    assert (fact.text, fact.ok) == (text, ok)


@pytest.mark.parametrize(("charges", "ok"), [((1,), True), ((1, 1), False), ((), False), ((1, 2), True)])
async def test_payments_agree_only_if_charged_once(visited: FaultServer, charges: tuple[int, ...], ok: bool) -> None:
    """A second charge, or a confirmation without a charge, is an error. A charge whose reply was lost is not."""
    reconciliation = reconcile(visited, True, charges=charges)
    assert reconciliation.ok is ok
    assert list(reconciliation.facts())[-1].ok is ok


@pytest.mark.parametrize(("keys", "double"), [(("a", "a"), 0), (("a", "b"), 1)])
async def test_ledger_detects_a_double_charge(server: FaultServer, keys: tuple[str, str], double: int) -> None:
    """One key is one charge. A new key per attempt would be counted as a double charge."""
    ledger = Ledger()
    async with APIClient(server.url) as api:
        for key in keys:
            await api.post("/payments/1", json={"order": 1}, idempotency_key=key)
    for request in server.requests:
        ledger.charge(request)
    assert (ledger.double_charges, ledger.repeats) == (double, 1 - double)


async def test_arrivals_are_awaited(server: FaultServer) -> None:
    """A server may read an attempt after the caller gave up on it."""
    waiting = asyncio.create_task(
        wait_for_arrivals(orders_of(server, True), Upstreams({"payment": server}, Ledger(), 0.0))
    )
    await asyncio.sleep(0)
    assert not waiting.done()
    async with APIClient(server.url) as api:
        await api.get("/")
    await waiting


async def test_wait_for_arrivals_is_bounded(server: FaultServer) -> None:
    """If a request never arrives the reconciliation fails, but the demo ends."""
    await wait_for_arrivals(orders_of(server, True), Upstreams({"payment": server}, Ledger(), 0.0), max_wait=0.01)
