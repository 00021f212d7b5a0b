"""A health check: checks all targets at once, and reports which are up and why the others are not.

The exit code is 1 if a critical target is down. ``python examples/health.py users search`` names the critical ones.
Needs: ``pip install resilient-client``
"""

import asyncio
import sys

from resilient_client import Probe, probe
from resilient_client.testing import FaultServer, refused_url
from resilient_client.testing.faults import hang_before_headers, reply


async def ping() -> None:
    """Stand in for ``SELECT 1``: any async function can be a target, and is up unless it raises."""
    await asyncio.sleep(0.01)


async def main() -> bool:
    """Check six local targets: two are up, one is slow, and three are down for different reasons."""
    critical = set(sys.argv[1:]) or {"users"}
    async with FaultServer() as users, FaultServer() as orders, FaultServer() as search:
        users.route("GET", "/health", reply(json={"status": "up"}))
        users.route("GET", "/report", reply(json={"rows": 7}, delay=0.2))
        orders.script(reply(503, json={"status": "migrating"}))
        search.script(hang_before_headers())
        targets = {
            "users": Probe(f"{users.url}/health", critical="users" in critical, expect_body='"up"'),
            "report": Probe(f"{users.url}/report", critical="report" in critical, slow=0.1),
            "orders": Probe(f"{orders.url}/health", critical="orders" in critical),
            "search": Probe(f"{search.url}/health", critical="search" in critical),
            "mail": Probe(f"{refused_url()}/health", critical="mail" in critical),
            "database": Probe(ping, critical="database" in critical),
        }
        report = await probe(targets, timeout=0.5)
    print(report)
    return report.ok


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main()) else 1)
