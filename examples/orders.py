"""Orders fan out to three upstreams that fail in turn; the terminal says what happened to every call, and why.

Each order reserves its goods, is paid for and gets a day of delivery: three calls at once, under one shared timeout.
Here is how the client is used; the upstreams run on loopback (``orders_upstreams``), ``orders_screen`` prints, and
``orders_books`` holds what the client says against what the servers saw. Run it with ``make demo``: it ends by itself
in about seven seconds, with exit code 0 only if the books balance.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter

from pydantic import BaseModel

from orders_books import Books
from orders_screen import Screen
from orders_upstreams import BREAK, WAVES, Upstreams, running
from resilient_client import APIClient, Call, CircuitBreaker, GatherResult, Retry, Timeout


class Reservation(BaseModel):
    """What inventory answers."""

    shelf: str


class Payment(BaseModel):
    """What payment answers."""

    charge: int


class Delivery(BaseModel):
    """What logistics answers."""

    day: str


Answer = Reservation | Payment | Delivery
Orders = dict[int, GatherResult[Answer]]


def make_client() -> APIClient:
    """One client for all upstreams; each of them has its own circuit and its own retry budget."""
    return APIClient(
        timeout=Timeout(total=5, attempt=0.7),
        retry=Retry(max_attempts=3),
        circuit_breaker=CircuitBreaker(minimum_calls=6, break_duration=BREAK, half_open_probes=2),
        rng=random.Random(22),
    )


def calls_of(order: int, url: dict[str, str]) -> list[Call[Answer]]:
    """What one order asks of the three upstreams.

    A POST is not repeated unless something makes that harmless. Here the key does: one key an order, so that the
    order is charged once, however often its payment is sent.
    """
    tags = {"order": f"#{order:02}"}
    return [
        Call.put(f"{url['inventory']}/reservations/{order}", key="inventory", response_model=Reservation, tags=tags),
        Call.post(
            f"{url['payment']}/payments/{order}",
            key="payment",
            response_model=Payment,
            tags=tags,
            json={"order": order, "amount": 25},
            idempotency_key=f"order-{order}",
        ),
        Call.get(f"{url['logistics']}/deliveries/{order}", key="logistics", response_model=Delivery, tags=tags),
    ]


async def place_all(api: APIClient, upstreams: Upstreams, screen: Screen) -> Orders:
    """Let the waves of orders come in; a call that fails harms none of the others."""
    url = upstreams.urls
    orders: Orders = {}

    async def place(order: int) -> None:
        orders[order] = await api.gather(calls_of(order, url), timeout=2)
        screen.order(order, orders[order])

    for wave in WAVES:
        screen.headline(wave.title)
        await asyncio.sleep(wave.after)
        async with asyncio.TaskGroup() as group:
            for order in wave.orders:
                group.create_task(place(order))
                await asyncio.sleep(wave.apart)
    return orders


async def main() -> int:
    """Run the demo.

    Returns:
        The exit code: 0 if the books balance.
    """
    events = Counter[str]()
    async with running() as upstreams, make_client() as api:
        screen = Screen(upstreams.urls)
        api.subscribe(screen.event)
        api.subscribe(lambda event: events.update([type(event).__name__]))
        screen.columns()
        orders = await place_all(api, upstreams, screen)
        books = Books(orders, upstreams)
        books.show(screen, events)
        return 0 if books.balance else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        print("\ninterrupted")
        sys.exit(130)
