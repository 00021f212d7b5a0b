"""Three fan-outs: all calls under one deadline, the first of several mirrors, and a stream without an end.

Every call gets its own outcome, independent of the others. A call that is no longer needed is cancelled.
Needs: ``pip install resilient-client``
"""

import asyncio
import random
from collections.abc import Iterator

from resilient_client import APIClient, Call, Failure, Success, gather
from resilient_client.testing import FaultServer
from resilient_client.testing.faults import drop, hang_before_headers, reply


async def page(shop: APIClient) -> None:
    """Make all calls at once; print what arrived after half a second, and the kind of failure of the rest."""
    parts = {"title": "/title", "price": "/price", "reviews": "/reviews", "advice": "/advice"}
    result = await shop.gather([Call.get(path, key=part) for part, path in parts.items()], timeout=0.5)
    for outcome in result:
        match outcome:
            case Success(value=response):
                print(f"{outcome.key:<8} {response.text}, attempts: {outcome.attempts}")
            case Failure(kind=kind):
                print(f"{outcome.key:<8} missing: {kind}")


async def fastest(mirrors: list[APIClient]) -> None:
    """Take the first success: each call carries its own client, and the slower calls are dropped."""
    calls = [Call.get("/file", key=number, client=mirror) for number, mirror in enumerate(mirrors, start=1)]
    result = await gather(calls, successes=1)
    winner = next(outcome.key for outcome in result if outcome.ok)
    print(f"mirror   {winner} was first, dropped: {sum(failure.dropped for failure in result.failures)}")


def numbers() -> Iterator[Call[int]]:
    """Yield calls without an end; each is drawn when a worker is free."""
    number = 0
    while True:
        yield Call.get("/count", params={"n": (number := number + 1)}, response_model=int)


async def stream(shop: APIClient) -> None:
    """Take outcomes one by one: memory stays flat, and after the block nothing is in flight."""
    async with shop.as_completed(numbers(), concurrency=10) as outcomes:
        taken = 0
        async for outcome in outcomes:
            taken += outcome.ok
            if taken == 100:
                break
    print(f"stream   {taken} taken")


async def main() -> None:
    """Run the three against a shop that is partly broken, and two mirrors, one of which hangs."""
    async with FaultServer() as server, FaultServer() as other:
        server.script(reply(json=1))
        server.route("GET", "/title", reply(text="Teapot"))
        server.route("GET", "/price", drop(), reply(text="9.50"))
        server.route("GET", "/reviews", hang_before_headers())
        server.route("GET", "/advice", reply(404))
        other.script(hang_before_headers())
        async with APIClient(server.url, rng=random.Random(1)) as shop, APIClient(other.url) as mirror:
            await page(shop)
            await fastest([mirror, shop])
            await stream(shop)


if __name__ == "__main__":
    asyncio.run(main())
