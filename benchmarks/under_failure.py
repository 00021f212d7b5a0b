"""The cost of failures: a refusal by an open circuit, ten thousand circuits, a retry.

The transport is an object in memory that answers at once, so that only the library is measured. A result is the CPU
time of the best round, because noise only adds to it.

    python -m benchmarks.under_failure [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable

from multidict import CIMultiDict, CIMultiDictProxy

from resilient_client import APIClient, APIError, Call, Handler, Request, Response, Retry, RetryBudget
from resilient_client._core.endpoint import Endpoint
from resilient_client._middleware.circuit_breaker import CircuitBreakerMiddleware
from resilient_client._middleware.compose import compose
from resilient_client._policies.circuit.registry import Circuits
from resilient_client._settings.circuit_breaker import CircuitBreaker

CALLS = 2_000
CIRCUITS = 10_000
URL = "https://api.example.com"
HEADERS = CIMultiDictProxy(CIMultiDict({"Content-Type": "application/json"}))

Round = Callable[[], Awaitable[None]]


class Wire:
    """A transport that answers at once: 503 as often as ``failures`` says, then 200."""

    def __init__(self) -> None:
        self.failures = 0

    async def send(self, request: Request) -> Response:
        """Return a response at once."""
        if self.failures:
            self.failures -= 1
            return Response(503, HEADERS, b"", request.url)
        return Response(200, HEADERS, b"{}", request.url)

    async def close(self) -> None:
        """Do nothing: there is no connection to close."""


async def micros(work: Round, calls: int, rounds: int) -> float:
    """Return the microseconds of CPU per call, in the best round."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        await work()
        best = min(best, time.process_time() - began)
    return best / calls * 1e6


async def captured_request() -> Request:
    """Return the request of a call as its middlewares receive it."""
    seen: list[Request] = []

    async def capture(request: Request, call_next: Handler) -> Response:
        seen.append(request)
        return await call_next(request)

    async with APIClient(URL, transport=Wire(), middleware=[capture]) as api:
        await api.get("/items/1")
    return seen[0]


async def send_failing(call: Callable[[], Awaitable[object]]) -> None:
    """Run calls that all fail, one after the other."""
    for _ in range(CALLS):
        try:
            await call()
        except APIError:
            pass


async def refusals(rounds: int) -> None:
    """Measure refusals by the circuit alone, with the error of its middleware, and as whole calls."""
    request = await captured_request()
    circuits: Circuits[Endpoint] = Circuits(CircuitBreaker(), random.Random(1))
    circuit = circuits.use(request.endpoint)
    circuit.force_open()
    middleware = compose([CircuitBreakerMiddleware(circuits)], Wire().send)

    async def alone() -> None:
        for _ in range(CALLS):
            circuit.try_admit(0.0)

    async with APIClient(URL, transport=Wire()) as api:
        call = Call.get("/items/1")
        await api.send(call)
        next(iter(api.circuits.values())).force_open()
        rows = {
            "the circuit alone": await micros(alone, CALLS, rounds),
            "its middleware: the error created, raised and caught": await micros(
                lambda: send_failing(lambda: middleware(request)), CALLS, rounds
            ),
            "a whole call of a client": await micros(lambda: send_failing(lambda: api.send(call)), CALLS, rounds),
        }
    print("| a refusal by an open circuit | µs of CPU | per second, on one core |\n|---|---|---|")
    for name, cost in rows.items():
        print(f"| {name} | {cost:.2f} | {1e6 / cost:,.0f} |")


def circuits_size() -> None:
    """Print the memory of a circuit, including its key, its entry in the registry and its window."""

    def held(calls: int, *, failing: bool) -> float:
        tracemalloc.start()
        circuits: Circuits[Endpoint] = Circuits(CircuitBreaker(), random.Random(1), lambda *_: None)
        for number in range(CIRCUITS):
            circuit = circuits.use(Endpoint("https", f"host-{number}.example.com", 443))
            for call in range(calls):
                ticket = circuit.try_admit(3.0 * call)
                settle = ticket.failure if failing else ticket.success  # type: ignore[union-attr]  # it is closed
                settle(3.0 * call, 0.1)
        size = tracemalloc.get_traced_memory()[0] / CIRCUITS
        tracemalloc.stop()
        return size

    print(f"\n| {CIRCUITS:,} circuits | bytes each |\n|---|---|")
    print(f"| after one call | {held(1, failing=False):,.0f} |")
    print(f"| calls in all of the window | {held(10, failing=False):,.0f} |")
    print(f"| open | {held(10, failing=True):,.0f} |")


async def retries(rounds: int) -> None:
    """Measure a call that is answered 503, then 200, minus two calls that are answered 200."""
    wire = Wire()
    budget = RetryBudget(max_extra_load=1, initial=1e6, burst=1e6)
    breaker = CircuitBreaker(failure_ratio=1.0)  # half of the attempts fail here, which must not open the circuit
    no_delay = Retry(backoff=lambda _: 0.0)
    async with APIClient(URL, transport=wire, retry=no_delay, retry_budget=budget, circuit_breaker=breaker) as api:
        call = Call.get("/items/1")

        async def twice() -> None:
            for _ in range(CALLS):
                await api.send(call)
                await api.send(call)

        async def repeated() -> None:
            for _ in range(CALLS):
                wire.failures = 1
                reply = await api.send(call)
                assert reply.attempts == 2

        two, one = await micros(twice, CALLS, rounds), await micros(repeated, CALLS, rounds)
    print("\n| a retry, without delay | µs of CPU |\n|---|---|")
    print(f"| two calls | {two:.1f} |\n| one call of two attempts | {one:.1f} |")
    print(f"| **a retry, in addition to its attempt** | **{one - two:.1f}** |")


async def measure(rounds: int) -> None:
    """Run all measurements, and print them."""
    await refusals(rounds)
    circuits_size()
    await retries(rounds)


def main() -> int:
    """Parse the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    print(f"Python {platform.python_version()}, asyncio, {platform.machine()}, {args.rounds} rounds\n")
    asyncio.run(measure(args.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
