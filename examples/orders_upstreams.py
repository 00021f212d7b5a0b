"""The three upstreams of the demo, on loopback, and what each of them does to which order.

Every order makes one call to each. The tables of troubles say how an order's first requests are mistreated, one entry
a request; whatever comes after is answered well. The servers count what reaches them: they are the witnesses.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from resilient_client.testing.fault_server import FaultServer
from resilient_client.testing.faults import garbage, reply, reset
from resilient_client.testing.wire import ReceivedRequest, Step, Wire

LATENCY = 0.03  # seconds an upstream takes when it is well
BREAK = 1.5  # seconds a circuit stays open; chance adds up to a quarter


class Wave(NamedTuple):
    """Orders that come in while something is wrong, in seconds: ``apart`` from one another, ``after`` a pause."""

    title: str
    orders: range
    apart: float = 0.06
    after: float = 0


# The order matters: who is to open its circuit fails early, who is not has many good replies in the window before.
WAVES = (
    Wave("all is well", range(1, 5)),
    Wave("logistics is down", range(5, 9)),
    Wave("logistics is back, which its circuit does not know yet", range(9, 11)),
    Wave("the break is over, and the circuit finds out", range(11, 13), after=1.25 * BREAK),
    Wave("inventory is slow", range(13, 17)),
    Wave("payment is overloaded: 503 with Retry-After", range(17, 21)),
    Wave("poisoned, lost and unfit replies", range(21, 25), apart=0.15),
)


class Ledger:
    """The books of the payment upstream. A key it has seen gets the first answer again, and no second charge."""

    def __init__(self) -> None:
        self.charges: list[int] = []
        self.repeats = 0
        self._charge_of: dict[str, int] = {}

    @property
    def double_charges(self) -> int:
        """Charges beyond the first of an order, whatever their keys."""
        return sum(count - 1 for count in Counter(self.charges).values())

    async def pay(self, request: ReceivedRequest, wire: Wire) -> None:
        """Charge, and confirm it."""
        await reply(201, json={"charge": self._charge(request)}, delay=LATENCY)(request, wire)

    async def pay_but_lose_the_reply(self, request: ReceivedRequest, wire: Wire) -> None:
        """Charge, and break the connection where the confirmation should stand."""
        self._charge(request)
        await reset()(request, wire)

    def _charge(self, request: ReceivedRequest) -> int:
        key = request.headers["Idempotency-Key"]
        if key in self._charge_of:
            self.repeats += 1
        else:
            self.charges.append(json.loads(request.body)["order"])
            self._charge_of[key] = len(self.charges)
        return self._charge_of[key]


class Upstreams(NamedTuple):
    """The running servers by name, and the books of one of them."""

    servers: dict[str, FaultServer]
    ledger: Ledger

    @property
    def urls(self) -> dict[str, str]:
        """Where the servers listen, by name."""
        return {name: server.url for name, server in self.servers.items()}


@asynccontextmanager
async def running() -> AsyncIterator[Upstreams]:
    """Start the upstreams; they end with the block."""
    async with FaultServer() as inventory, FaultServer() as payment, FaultServer() as logistics:
        ledger = Ledger()
        _prepare_inventory(inventory)
        _prepare_payment(payment, ledger)
        _prepare_logistics(logistics)
        yield Upstreams({"inventory": inventory, "payment": payment, "logistics": logistics}, ledger)


def _prepare_inventory(server: FaultServer) -> None:
    well = reply(json={"shelf": "A7"}, delay=LATENCY)
    slow = reply(json={"shelf": "A7"}, delay=3)
    _prepare(server, "PUT /reservations", well, {14: [slow], 16: [slow, slow, slow], 21: [garbage()]})


def _prepare_payment(server: FaultServer, ledger: Ledger) -> None:
    busy, busier = (reply(503, headers={"Retry-After": seconds}, delay=LATENCY) for seconds in "15")
    troubles: dict[int, list[Step]] = {17: [busy], 18: [busy], 20: [busier], 22: [ledger.pay_but_lose_the_reply]}
    _prepare(server, "POST /payments", ledger.pay, troubles)


def _prepare_logistics(server: FaultServer) -> None:
    well = reply(json={"day": "Monday"}, delay=LATENCY)
    troubles: dict[int, Sequence[Step]] = {order: [reset()] * 3 for order in range(5, 9)}
    troubles[23] = [reply(json={"day": None}, delay=LATENCY)]
    _prepare(server, "GET /deliveries", well, troubles)


def _prepare(server: FaultServer, route: str, well: Step, troubles: Mapping[int, Sequence[Step]]) -> None:
    """Answer an order's first requests with its troubles, one each, and everything else well."""
    method, path = route.split(" ")
    server.script(well)
    for order, steps in troubles.items():
        server.route(method, f"{path}/{order}", *steps, well)
