"""The payloads: an order in 1 KB of JSON, pages of orders in 14 KB, 100 KB and 1 MB, and their models."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel


class Address(BaseModel):
    """The address of a customer."""

    name: str
    street: str
    city: str
    country: str


class Line(BaseModel):
    """One line of an order."""

    sku: str
    title: str
    quantity: int
    price: float
    tags: list[str]


class Order(BaseModel):
    """An order, about 1 KB, as for a detail view."""

    id: int
    status: Literal["open", "paid", "sent"]
    created: datetime
    paid: datetime | None
    customer: str
    address: Address
    lines: list[Line]
    total: float
    note: str | None = None


class Page(BaseModel):
    """A page of orders, as for a list."""

    items: list[Order]
    total: int
    following: str | None


def order(number: int) -> Order:
    """Make an order whose values depend on its number."""
    return Order(
        id=number,
        status=("open", "paid", "sent")[number % 3],
        created=datetime.fromisoformat("2026-03-01T09:30:00+00:00"),
        paid=datetime.fromisoformat("2026-03-01T09:31:15+00:00") if number % 3 else None,
        customer=f"c-{number:06}",
        address=Address(name=f"Customer {number}", street=f"Mühlenweg {number}", city="Lübeck", country="DE"),
        lines=[
            Line(
                sku=f"SKU-{number}-{n}",
                title=f"Something of everyday use, size {n}",
                quantity=n,
                price=n + 0.95,
                tags=["a", "b"],
            )
            for n in range(1, 8)
        ],
        total=161.0,
    )


def page(orders: int) -> Page:
    """Make a page of this many orders."""
    return Page(items=[order(n) for n in range(1, orders + 1)], total=orders, following=f"/orders?after={orders}")


def body(value: BaseModel) -> bytes:
    """Return compact JSON, as services send it."""
    return value.model_dump_json().encode()


VALUES: dict[str, BaseModel] = {"1k": order(1), "14k": page(14), "100k": page(100), "1m": page(1000)}
BODIES = {name: body(value) for name, value in VALUES.items()}
