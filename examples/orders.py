"""Orders fan out to three upstreams that fail in different ways; every call reports what happened, and why.

Each order reserves its goods, is paid for and gets a delivery day: three calls at once, under one shared timeout.
``resilient-client demo`` shows such a service under load, as a live picture.
Needs: ``pip install resilient-client``
"""

import asyncio
from collections.abc import Mapping
from typing import TypeAlias

from pydantic import BaseModel

from resilient_client import APIClient, Call, Failure, Outcome, Response, Success
from resilient_client.testing import FaultServer
from resilient_client.testing.faults import garbage, hang_before_headers, reply, reset


class Delivery(BaseModel):
    """The answer of the logistics service."""

    day: str


Answer: TypeAlias = Response | Delivery


def calls_of(order: int, url: Mapping[str, str]) -> list[Call[Answer]]:
    """Return the calls of one order; the idempotency key allows retries of the POST."""
    payment = {"order": order, "amount": 25}
    return [
        Call.put(f"{url['inventory']}/reservations/{order}", key="inventory"),
        Call.post(f"{url['payment']}/payments", key="payment", json=payment, idempotency_key=f"order-{order}"),
        Call.get(f"{url['logistics']}/deliveries/{order}", key="logistics", response_model=Delivery),
    ]


def show(outcome: Outcome[Answer]) -> None:
    """Print one outcome; of a failure also its reason, and whether the upstream may have acted."""
    match outcome:
        case Success(value=Delivery(day=day)):
            print(f"  {outcome.key:<10} ok, on {day}; attempts: {outcome.attempts}")
        case Success():
            print(f"  {outcome.key:<10} ok; attempts: {outcome.attempts}")
        case Failure(error=error):
            acted = "may have acted" if error.maybe_processed else "cannot have acted"
            print(f"  {outcome.key:<10} {error.kind} in stage {error.stage}, it {acted}; attempts: {error.attempts}")
            print(f"             {str(error).partition(': ')[2]}")


async def main() -> None:
    async with FaultServer() as inventory, FaultServer() as payment, FaultServer() as logistics:
        inventory.script(reply(), garbage(), reply(), hang_before_headers())
        payment.script(reply(201), reset(), reply(201))
        monday, unfit = reply(json={"day": "Monday"}), reply(json={"day": None})
        logistics.script(monday, reply(503, headers={"Retry-After": "9"}), unfit)
        url = {"inventory": inventory.url, "payment": payment.url, "logistics": logistics.url}
        async with APIClient() as api:  # nothing configured
            for order in (1, 2, 3):
                result = await api.gather(calls_of(order, url), timeout=1)
                print(f"order {order}: {result}")
                for outcome in result:
                    show(outcome)


if __name__ == "__main__":
    asyncio.run(main())
