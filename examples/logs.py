"""The log of a service whose upstream fails: text for people, and JSON that joins the records of one call.

The client logs by itself. The program only says where the records go, and finds those of a failed call by its id.
Needs: ``pip install resilient-client``
"""

import asyncio
import io
import json
import logging
import random
import sys

from resilient_client import APIClient, APIError
from resilient_client.telemetry import JSONFormatter
from resilient_client.testing import FaultServer
from resilient_client.testing.faults import reply


def configure_logging() -> io.StringIO:
    """Print warnings and retries as text, and store everything as lines of JSON, as a log collector would."""
    stored = io.StringIO()
    collector = logging.StreamHandler(stored)
    collector.setFormatter(JSONFormatter())
    console = logging.StreamHandler(sys.stdout)
    console.setLevel(logging.INFO)
    console.setFormatter(logging.Formatter("%(levelname)s %(event)s %(route)s attempt=%(attempt)s"))
    logging.basicConfig(handlers=[collector, console])
    logging.getLogger("resilient_client").setLevel(logging.DEBUG)
    return stored


def records_of(call_id: str, stored: io.StringIO) -> list[dict[str, str]]:
    """Return the stored records of one call, in order."""
    records = map(json.loads, stored.getvalue().splitlines())
    return [record for record in records if record.get("call_id") == call_id]


async def main() -> None:
    """Call an upstream that fails once for order 1, and always for order 2."""
    stored = configure_logging()
    async with FaultServer() as server, APIClient(server.url, name="orders", rng=random.Random(7)) as orders:
        server.route("GET", "/orders/1", reply(503), reply(json={"id": 1}))
        server.route("GET", "/orders/2", reply(500, headers={"X-Request-Id": "a7"}))
        for number in (1, 2):
            try:
                await orders.get("/orders/{id}", path_params={"id": number}, timeout=5)
            except APIError as error:
                print(f"order {number}: {error.kind}, and its records are:")
                for record in records_of(error.call_id, stored):
                    print(f"  {record['event']} attempt={record.get('attempt')} request={record.get('request_id')}")


if __name__ == "__main__":
    asyncio.run(main())
