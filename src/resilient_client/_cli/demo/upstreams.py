"""The three upstreams, on loopback, each as well or as sick as the timetable says. They count what reaches them.

They know nothing of the client: what they saw is what its reports are held against.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from resilient_client._cli.demo.timetable import UPSTREAMS, Condition, Timetable
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import ReceivedRequest, Step, Wire
from resilient_client.testing.faults import garbage, reply, reset

_ANSWERS: Final[dict[str, dict[str, object]]] = {"inventory": {"shelf": "A7"}, "logistics": {"day": "Monday"}}
_LATENCY: Final = (0.01, 0.04)  # seconds an upstream takes when it is well: from, to
_SLOW: Final = 3.0  # seconds, when it is slow
_CAPACITY: Final = 22  # requests a second that one which is overloaded still answers,
_SLACK: Final = 2.0  # of these at most at once


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

    def charge(self, request: ReceivedRequest) -> int:
        """The number of the charge, made now unless its key is known."""
        key = request.headers["Idempotency-Key"]
        if key in self._charge_of:
            self.repeats += 1
        else:
            self.charges.append(json.loads(request.body)["order"])
            self._charge_of[key] = len(self.charges)
        return self._charge_of[key]


class Upstreams(NamedTuple):
    """The running servers by name, the books of one of them, and the loop time at which the timetable began."""

    servers: dict[str, FaultServer]
    ledger: Ledger
    started: float

    @property
    def urls(self) -> dict[str, str]:
        """Where the servers listen, by name."""
        return {name: server.url for name, server in self.servers.items()}


@asynccontextmanager
async def running(timetable: Timetable) -> AsyncIterator[Upstreams]:
    """Start the upstreams, and the timetable with them; they end with the block."""
    ledger = Ledger()
    started = asyncio.get_running_loop().time()
    async with FaultServer() as inventory, FaultServer() as payment, FaultServer() as logistics:
        servers = dict(zip(UPSTREAMS, (inventory, payment, logistics), strict=True))
        for number, (name, server) in enumerate(servers.items()):
            server.script(_Manner(name, timetable, started, random.Random(timetable.seed + number), ledger))
        yield Upstreams(servers, ledger, started)


class _Manner:
    """How one upstream answers: a step that looks at the time and mistreats the request accordingly."""

    def __init__(self, name: str, timetable: Timetable, started: float, rng: random.Random, ledger: Ledger) -> None:
        self._name = name
        self._timetable = timetable
        self._rng = rng
        self._ledger = ledger
        self._loop = asyncio.get_running_loop()
        self._started = started
        self._room = _SLACK  # places now, while overloaded
        self._counted = started

    async def __call__(self, request: ReceivedRequest, wire: Wire) -> None:
        condition = self._timetable.condition(self._name, self._loop.time() - self._started)
        await self._step(condition, request)(request, wire)

    def _step(self, condition: Condition, request: ReceivedRequest) -> Step:
        delay = self._rng.uniform(*_LATENCY)
        lucky = self._rng.random() < 0.7
        if condition is Condition.DOWN:
            return reset()
        if condition is Condition.SLOW:
            delay = _SLOW
        elif condition is Condition.OVERLOADED and not self._has_room():
            return reply(503, headers={"Retry-After": "1"}, delay=delay)
        elif condition is Condition.SPOILT and not lucky:
            return garbage() if delay < sum(_LATENCY) / 2 else reply(json={"day": None}, delay=delay)
        answer = self._answer(request)
        if condition is Condition.FORGETFUL and not lucky:
            return reset()
        return reply(json=answer, delay=delay)

    def _answer(self, request: ReceivedRequest) -> dict[str, object]:
        return {"charge": self._ledger.charge(request)} if self._name == "payment" else _ANSWERS[self._name]

    def _has_room(self) -> bool:
        """Take one of the places that become free at the rate of the capacity."""
        now = self._loop.time()
        self._room = min(_SLACK, self._room + (now - self._counted) * _CAPACITY)
        self._counted = now
        if self._room < 1:
            return False
        self._room -= 1
        return True
