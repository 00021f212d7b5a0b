"""A health check: asks every target at once, says which are up and why the others are down.

The exit code is 1 if a critical one is down: ``python examples/health.py users search`` names the critical ones.
"""

import asyncio
import sys

from resilient_client import APIClient, Call, Failure, Success
from resilient_client.testing.fault_server import FaultServer, refused_url
from resilient_client.testing.faults import hang_before_headers, reply


async def check(targets: dict[str, str], critical: set[str]) -> bool:
    """Print a line a target, with a ``!`` before the critical ones.

    A check wants to know how things are now: one attempt each, and no circuit that answers in a target's place.

    Args:
        targets: The URL to ask, by name.
        critical: Those without which the whole is down.

    Returns:
        Whether everything critical is up.
    """
    calls = [Call.get(url, key=name) for name, url in targets.items()]
    async with APIClient(retry=None, circuit_breaker=None) as api:
        outcomes = await api.gather(calls, timeout=0.5)
    for outcome in outcomes:
        mark = "!" if outcome.key in critical else " "
        match outcome:
            case Success(value=reply):
                print(f"{mark} {outcome.key:<7} up    {reply.status} in {outcome.elapsed * 1000:.0f} ms")
            case Failure(error=error):
                reason = str(error).partition(": ")[2]  # without its first words, method and URL
                print(f"{mark} {outcome.key:<7} DOWN  {reason}")
    return critical.isdisjoint(failure.key for failure in outcomes.failures)


async def main() -> bool:
    """Check four targets on loopback: one is well, three are not, each in its own way."""
    critical = set(sys.argv[1:]) or {"users"}
    async with FaultServer() as users, FaultServer() as orders, FaultServer() as search:
        users.script(reply(json={"status": "up"}))
        orders.script(reply(503, json={"status": "migrating"}))
        search.script(hang_before_headers())
        targets = {"users": users.url, "orders": orders.url, "search": search.url, "mail": refused_url()}
        return await check({name: f"{url}/health" for name, url in targets.items()}, critical)


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main()) else 1)
