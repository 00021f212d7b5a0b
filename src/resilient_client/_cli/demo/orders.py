"""The order service, and the reconciliation of what its client reports with what the servers counted.

Each order makes three calls at once: it reserves goods, is paid for, and gets a day of delivery. ``make_client``,
``calls_of`` and ``place_orders`` are all there is to using the client. They know neither the incidents nor the view.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from pydantic import BaseModel

from resilient_client import APIClient, Call, CircuitBreaker, GatherResult, Timeout
from resilient_client._cli.demo.state import UpstreamCounters
from resilient_client._cli.demo.upstreams import Timetable, Upstreams

ORDER_TIMEOUT: Final = 2.0
"""Seconds an order waits for its three calls."""


class Reservation(BaseModel):
    """The answer of the inventory upstream."""

    shelf: str


class Payment(BaseModel):
    """The answer of the payment upstream."""

    charge: int


class Delivery(BaseModel):
    """The answer of the logistics upstream."""

    day: str


Answer: TypeAlias = Reservation | Payment | Delivery
Orders: TypeAlias = dict[int, GatherResult[Answer]]


def make_client(timetable: Timetable) -> APIClient:
    """Create the one client for all upstreams. Each upstream has its own circuit and its own retry budget.

    Circuits open and close sooner than by default, to fit into a run of seconds. Retries and budgets are the defaults.
    """
    pace = min(1.0, timetable.seconds / 15)
    return APIClient(
        name="orders",
        timeout=Timeout(attempt=max(0.25, 0.5 * pace)),
        circuit_breaker=CircuitBreaker(
            failure_ratio=0.5,
            minimum_calls=8,
            window=max(0.4, pace),
            break_duration=max(0.25, pace),
            max_break_duration=10,
            half_open_probes=3,
        ),
        rng=random.Random(timetable.seed),
    )


def calls_of(order: int, url: Mapping[str, str]) -> list[Call[Answer]]:
    """Return the three calls of one order.

    A POST is retried only if a repeat is harmless. The idempotency key makes it so: with one key per order, the order
    is charged once however often its payment is sent.
    """
    return [
        Call.put(
            f"{url['inventory']}/reservations/{order}",
            key="inventory",
            response_model=Reservation,
            tags={"upstream": "inventory", "order": f"#{order}"},
        ),
        Call.post(
            f"{url['payment']}/payments/{order}",
            key="payment",
            response_model=Payment,
            tags={"upstream": "payment", "order": f"#{order}"},
            json={"order": order, "amount": 25},
            idempotency_key=f"order-{order}",
        ),
        Call.get(
            f"{url['logistics']}/deliveries/{order}",
            key="logistics",
            response_model=Delivery,
            tags={"upstream": "logistics", "order": f"#{order}"},
        ),
    ]


async def place_orders(
    api: APIClient, timetable: Timetable, url: Mapping[str, str], on_order: Callable[[], object]
) -> Orders:
    """Place orders at random intervals and wait for the last one. A failed call does not affect the others.

    Args:
        api: Makes the calls.
        timetable: The rate of the orders, and how long they arrive.
        url: The URL of each upstream.
        on_order: Called when an order is placed.
    """
    orders: Orders = {}
    rng = random.Random(timetable.seed)
    loop = asyncio.get_running_loop()

    async def place(order: int) -> None:
        on_order()
        orders[order] = await api.gather(calls_of(order, url), timeout=ORDER_TIMEOUT)

    due = started = loop.time()
    async with asyncio.TaskGroup() as group:
        for order in itertools.count(1):
            due += rng.uniform(0.5, 1.5) / timetable.rate
            if due - started > timetable.seconds:
                break
            await asyncio.sleep(due - loop.time())
            group.create_task(place(order))
    return orders


class Fact(NamedTuple):
    """A line of the summary. ``ok`` is whether the fact is as it should be, or ``None`` for a mere number."""

    name: str
    text: str
    ok: bool | None = None


class Reconciliation:
    """Compares the client's reports with the servers' counters: both must hold every attempt and payment once."""

    def __init__(
        self, orders: Mapping[int, GatherResult[Any]], counters: Mapping[str, UpstreamCounters], upstreams: Upstreams
    ) -> None:
        """Take the numbers of both sides, once all calls have ended."""
        self.results = list(orders.values())
        self.calls = [outcome for result in self.results for outcome in result]
        self.counters = counters
        self.attempts = sum(call.attempts for call in self.calls)
        self.reported = sent_attempts(orders)
        self.counted = Counter({name: server.hits for name, server in upstreams.servers.items()})
        self.confirmed = {order for order, (_, payment, _) in orders.items() if payment.ok}
        self.ledger = upstreams.ledger

    @property
    def attempts_agree(self) -> bool:
        """Whether the client reports, for each upstream, exactly the requests that reached it."""
        return self.reported == self.counted

    @property
    def payments_agree(self) -> bool:
        """Whether every confirmed payment was charged, and no order twice."""
        return self.confirmed <= set(self.ledger.charges) and self.ledger.double_charges == 0

    @property
    def ok(self) -> bool:
        """Whether attempts and payments agree."""
        return self.attempts_agree and self.payments_agree

    def facts(self) -> Iterator[Fact]:
        """Yield the lines of the summary."""
        complete = sum(not result.failures for result in self.results)
        yield Fact("orders", f"{len(self.results)}: {complete} complete, {len(self.results) - complete} partial")
        failed = Counter(str(failure.kind) for result in self.results for failure in result.failures)
        recovered = sum(call.ok and call.attempts > 1 for call in self.calls)
        succeeded = len(self.calls) - failed.total()
        yield Fact("calls", f"{len(self.calls)}: {succeeded} ok ({recovered} by a retry), {failed.total()} failed")
        yield Fact("failed", _listed(failed.most_common()))
        yield self._attempts()
        yield Fact("", _listed((name, f"{self.reported[name]} = {self.counted[name]}") for name in self.counted))
        counters = self.counters.values()
        retries = sum(max(call.attempts - 1, 0) for call in self.calls)
        denied = sum(each.retries_denied for each in counters)
        yield Fact("retries", f"{retries} sent, {denied} denied: no budget, no time, or an open circuit")
        yield Fact("circuits", f"{sum(each.openings for each in counters)} openings; {self._open_circuits()}")
        yield self._payments()

    def _attempts(self) -> Fact:
        unsent = self.attempts - self.reported.total()
        text = f"{self.attempts} reported by the client, "
        text += f"of which {unsent} never left this machine, " if unsent else ""
        verdict = "equal" if self.attempts_agree else "NOT EQUAL"
        return Fact("attempts", f"{text}{self.counted.total()} counted by the servers: {verdict}", self.attempts_agree)

    def _open_circuits(self) -> str:
        names = [name for name, counters in self.counters.items() if counters.states[-1][1] != "closed"]
        return f"not closed at the end: {', '.join(names)}" if names else "all closed at the end"

    def _payments(self) -> Fact:
        ledger = self.ledger
        text = f"{ledger.double_charges} double charges; {len(self.confirmed)} confirmed, {len(ledger.charges)} charged"
        return Fact("payments", f"{text}, {ledger.repeats} repeats recognised by their keys", self.payments_agree)


def sent_attempts(orders: Mapping[int, GatherResult[Any]]) -> Counter[str]:
    """Count, for each upstream, the attempts that left this machine according to the client."""
    sent = Counter[str]()
    for result in orders.values():
        for outcome in result:
            sent[str(outcome.key)] += sum(record.sent for record in outcome.history)
    return sent


async def wait_for_arrivals(
    orders: Mapping[int, GatherResult[Any]], upstreams: Upstreams, *, max_wait: float = 1.0
) -> None:
    """Wait until the servers have read every request that was sent.

    The last attempts may still be on their way when their callers have given up.
    """
    sent = sent_attempts(orders)
    try:
        async with asyncio.timeout(max_wait):
            for name, server in upstreams.servers.items():
                await server.wait_for_hits(sent[name])
    except TimeoutError:
        pass  # the reconciliation reports the difference


def _listed(items: Iterable[tuple[str, object]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in items) or "none"
