"""What the client says against what the servers saw."""

from __future__ import annotations

import asyncio

import pytest

from resilient_client import APIClient, GatherResult, Success
from resilient_client._cli.demo.books import Books, arrived
from resilient_client._cli.demo.orders import Orders, Payment
from resilient_client._cli.demo.tally import Flow
from resilient_client._cli.demo.upstreams import Ledger, Upstreams
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.record import AttemptRecord
from resilient_client.testing._fault_server import FaultServer


def orders_of(server: FaultServer, *sent: bool) -> Orders:
    """One order, to whose payment belongs an attempt for each of ``sent``, which says whether it left."""
    history = []
    for number, left in enumerate(sent, 1):
        history.append(AttemptRecord(number, Endpoint.of(server.url), 0.0))
        history[-1].sent = left
    done = Success(Payment(charge=1), key="payment", attempts=len(sent), history=tuple(history))
    others = (Success(Payment(charge=1), key=None, attempts=0) for _ in "ab")
    first, last = others
    return {1: GatherResult([first, done, last])}


def books_of(server: FaultServer, *sent: bool, charges: tuple[int, ...] = (1,)) -> Books:
    ledger = Ledger()
    ledger.charges.extend(charges)
    flows = {"payment": Flow(0.0, 1.0)}
    return Books(orders_of(server, *sent), flows, Upstreams({"payment": server}, ledger, 0.0))


@pytest.fixture
async def visited(server: FaultServer) -> FaultServer:
    """A server that saw one request."""
    async with APIClient(server.url) as api:
        await api.get("/")
    return server


@pytest.mark.parametrize(
    ("sent", "balance", "words"),
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
async def test_books_balance_only_if_each_attempt_that_left_was_seen(
    visited: FaultServer, sent: tuple[bool, ...], balance: bool, words: str
) -> None:
    """One that no server saw, or that the client does not tell of, unbalances them."""
    books = books_of(visited, *sent)
    assert books.balance is balance
    fact = next(fact for fact in books.facts() if fact.name == "attempts")
    assert (fact.text, fact.good) == (words, balance)


@pytest.mark.parametrize(("charges", "balance"), [((1,), True), ((1, 1), False), ((), False), ((1, 2), True)])
async def test_books_balance_only_if_each_payment_was_charged_once(
    visited: FaultServer, charges: tuple[int, ...], balance: bool
) -> None:
    """A second charge, or a confirmation without one, unbalances them; a charge whose reply was lost does not."""
    books = books_of(visited, True, charges=charges)
    assert books.balance is balance
    assert list(books.facts())[-1].good is balance


@pytest.mark.parametrize(("keys", "double"), [(("a", "a"), 0), (("a", "b"), 1)])
async def test_ledger_catches_a_double_charge(server: FaultServer, keys: tuple[str, str], double: int) -> None:
    """One key is one charge; without that (a new key for each attempt) the books would say so."""
    ledger = Ledger()
    async with APIClient(server.url) as api:
        for key in keys:
            await api.post("/payments/1", json={"order": 1}, idempotency_key=key)
    for request in server.requests:
        ledger.charge(request)
    assert (ledger.double_charges, ledger.repeats) == (double, 1 - double)


async def test_arrived_waits_for_what_is_on_its_way(server: FaultServer) -> None:
    """An attempt whose caller gave up may be read after that."""
    waiting = asyncio.create_task(arrived(orders_of(server, True), Upstreams({"payment": server}, Ledger(), 0.0)))
    await asyncio.sleep(0)
    assert not waiting.done()
    async with APIClient(server.url) as api:
        await api.get("/")
    await waiting


async def test_arrived_gives_up_on_what_never_comes(server: FaultServer) -> None:
    """Then the books do not balance, but the demo ends."""
    await arrived(orders_of(server, True), Upstreams({"payment": server}, Ledger(), 0.0), patience=0.01)
