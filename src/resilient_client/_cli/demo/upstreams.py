"""What goes wrong with which upstream and when, and the three loopback servers that behave accordingly.

The servers count what reaches them. They know nothing of the client, so its reports can be checked against them.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Final, NamedTuple

from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import ReceivedRequest, Step, Wire
from resilient_client.testing.faults import garbage, reply, reset

UPSTREAMS: Final[tuple[str, ...]] = ("inventory", "payment", "logistics")

_ANSWERS: Final[dict[str, dict[str, object]]] = {"inventory": {"shelf": "A7"}, "logistics": {"day": "Monday"}}
_LATENCY: Final = (0.01, 0.04)  # seconds that a healthy upstream takes: lowest, highest
_SLOW_LATENCY: Final = 3.0  # seconds
_CAPACITY: Final = 22  # requests per second that an overloaded upstream still answers
_BURST: Final = 2.0  # requests that it answers at once
_UNAFFECTED: Final = 0.7  # the share of requests that a corrupt or lossy upstream answers properly


class Condition(StrEnum):
    """The condition of an upstream, as it is shown to people."""

    HEALTHY = "healthy"
    DOWN = "down: every connection is reset"
    SLOW = "slow: each answer takes 3 s"
    OVERLOADED = "overloaded: 503 over 22 per second"
    CORRUPT = "corrupt: some replies are garbage"
    LOSSY = "lossy: acts, but loses replies"


class Incident(NamedTuple):
    """A period in which an upstream is not healthy. ``begins`` and ``ends`` are shares of the run, 0 to 1."""

    upstream: str
    condition: Condition
    begins: float
    ends: float


# One incident follows another, with enough time between them for the circuits to notice the recovery and close.
INCIDENTS: Final = (
    Incident("logistics", Condition.DOWN, 0.13, 0.27),
    Incident("inventory", Condition.SLOW, 0.36, 0.46),
    Incident("payment", Condition.OVERLOADED, 0.52, 0.68),
    Incident("logistics", Condition.CORRUPT, 0.73, 0.82),
    Incident("payment", Condition.LOSSY, 0.82, 0.91),
)


class Timetable(NamedTuple):
    """The load and the incidents of one run. Incidents scale with its length: a short run shows the same as a long one.

    Attributes:
        seconds: How long orders arrive.
        seed: Seeds the arrivals, the faults and the client's jitter.
        rate: Orders per second, on average.
    """

    seconds: float = 15.0
    seed: int = 22
    rate: float = 30.0

    def condition(self, upstream: str, elapsed: float) -> Condition:
        """Return the condition of ``upstream``, ``elapsed`` seconds after the start."""
        share = elapsed / self.seconds
        for incident in INCIDENTS:
            if incident.upstream == upstream and incident.begins <= share < incident.ends:
                return incident.condition
        return Condition.HEALTHY

    @property
    def changes(self) -> list[tuple[float, str, Condition]]:
        """Every change as seconds from the start, upstream and new condition, in order of time."""
        begun = [(incident.begins * self.seconds, incident.upstream, incident.condition) for incident in INCIDENTS]
        ended = [(incident.ends * self.seconds, incident.upstream, Condition.HEALTHY) for incident in INCIDENTS]
        return sorted([*begun, *ended])


class Ledger:
    """The charges of the payment upstream. A request with a known key gets the first charge again, not a second one."""

    def __init__(self) -> None:
        self.charges: list[int] = []
        self.repeats = 0
        self._charge_of: dict[str, int] = {}

    @property
    def double_charges(self) -> int:
        """The number of charges beyond the first of each order, whatever their keys."""
        return sum(count - 1 for count in Counter(self.charges).values())

    def charge(self, request: ReceivedRequest) -> int:
        """Return the number of the charge for this request. It is made now unless the request's key is known."""
        key = request.headers["Idempotency-Key"]
        if key in self._charge_of:
            self.repeats += 1
        else:
            self.charges.append(json.loads(request.body)["order"])
            self._charge_of[key] = len(self.charges)
        return self._charge_of[key]


class Upstreams(NamedTuple):
    """The running servers by name, the ledger of the payment upstream, and the loop time of the start."""

    servers: dict[str, FaultServer]
    ledger: Ledger
    started: float

    @property
    def urls(self) -> dict[str, str]:
        """The URL of each server, by name."""
        return {name: server.url for name, server in self.servers.items()}


@asynccontextmanager
async def run_upstreams(timetable: Timetable) -> AsyncIterator[Upstreams]:
    """Start the servers and the timetable. The servers are closed when the block ends."""
    ledger = Ledger()
    started = asyncio.get_running_loop().time()
    async with FaultServer() as inventory, FaultServer() as payment, FaultServer() as logistics:
        servers: dict[str, FaultServer] = dict(zip(UPSTREAMS, (inventory, payment, logistics), strict=True))
        for number, (name, server) in enumerate(servers.items()):
            server.script(_Behaviour(name, timetable, started, random.Random(timetable.seed + number), ledger))
        yield Upstreams(servers, ledger, started)


class _Behaviour:
    """A server step that answers each request according to the upstream's condition at that time."""

    def __init__(self, name: str, timetable: Timetable, started: float, rng: random.Random, ledger: Ledger) -> None:
        self._name = name
        self._timetable = timetable
        self._rng = rng
        self._ledger = ledger
        self._loop = asyncio.get_running_loop()
        self._started = started
        self._capacity = _BURST  # requests that may be answered now, while overloaded
        self._refilled_at = started

    async def __call__(self, request: ReceivedRequest, wire: Wire) -> None:
        condition = self._timetable.condition(self._name, self._loop.time() - self._started)
        await self._step(condition, request)(request, wire)

    def _step(self, condition: Condition, request: ReceivedRequest) -> Step:
        # Both numbers are drawn for every request, so that the sequence of one seed does not depend on the condition.
        delay = self._rng.uniform(*_LATENCY)
        affected = self._rng.random() >= _UNAFFECTED
        if condition is Condition.DOWN:
            return reset()
        if condition is Condition.SLOW:
            delay = _SLOW_LATENCY
        elif condition is Condition.OVERLOADED and not self._take_capacity():
            return reply(503, headers={"Retry-After": "1"}, delay=delay)
        elif condition is Condition.CORRUPT and affected:
            return garbage() if delay < sum(_LATENCY) / 2 else reply(json={"day": None}, delay=delay)
        answer = self._answer(request)
        if condition is Condition.LOSSY and affected:
            return reset()  # after the answer was made: the payment is charged, only the reply is lost
        return reply(json=answer, delay=delay)

    def _answer(self, request: ReceivedRequest) -> dict[str, object]:
        return {"charge": self._ledger.charge(request)} if self._name == "payment" else _ANSWERS[self._name]

    def _take_capacity(self) -> bool:
        """Take one unit from a token bucket that refills at ``_CAPACITY`` per second. False if it is empty."""
        now = self._loop.time()
        self._capacity = min(_BURST, self._capacity + (now - self._refilled_at) * _CAPACITY)
        self._refilled_at = now
        if self._capacity < 1:
            return False
        self._capacity -= 1
        return True
