"""The order service: each order reserves its goods, is paid for and gets a day of delivery, three calls at once.

This is all there is to using the client. It knows neither the troubles to come nor who is watching.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Mapping
from typing import TypeAlias

from pydantic import BaseModel

from resilient_client import APIClient, Call, CircuitBreaker, GatherResult, Timeout
from resilient_client._cli.demo.timetable import Timetable

PATIENCE = 2.0
"""Seconds an order waits for its three calls."""


class Reservation(BaseModel):
    """What inventory answers."""

    shelf: str


class Payment(BaseModel):
    """What payment answers."""

    charge: int


class Delivery(BaseModel):
    """What logistics answers."""

    day: str


Answer: TypeAlias = Reservation | Payment | Delivery
Orders: TypeAlias = dict[int, GatherResult[Answer]]


def make_client(timetable: Timetable) -> APIClient:
    """One client for all upstreams; each of them has its own circuit and its own retry budget.

    Circuits judge sooner here than by default, to fit into a run of seconds; retries and budgets are as they come.
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
    """What one order asks of the three upstreams.

    A POST is not repeated unless something makes that harmless. Here the key does: one key an order, so that the
    order is charged once, however often its payment is sent.
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


async def place_all(
    api: APIClient, timetable: Timetable, url: Mapping[str, str], placed: Callable[[int], object]
) -> Orders:
    """Let orders come in by chance, as they do, and wait for the last; a call that fails harms none of the others.

    Args:
        api: Makes the calls.
        timetable: How many orders, for how long.
        url: Where the upstreams are.
        placed: Told the number of each order when it comes in.
    """
    orders: Orders = {}
    rng = random.Random(timetable.seed)
    loop = asyncio.get_running_loop()

    async def place(order: int) -> None:
        placed(order)
        orders[order] = await api.gather(calls_of(order, url), timeout=PATIENCE)

    due = started = loop.time()
    async with asyncio.TaskGroup() as group:
        for order in itertools.count(1):
            due += rng.uniform(0.5, 1.5) / timetable.rate
            if due - started > timetable.seconds:
                break
            await asyncio.sleep(due - loop.time())
            group.create_task(place(order))
    return orders
