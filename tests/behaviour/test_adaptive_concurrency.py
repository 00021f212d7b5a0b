"""The rule of adaptive concurrency: it learns from what the endpoint does, and from nothing that we do."""

from __future__ import annotations

import pytest
from tests.behaviour.support import client, soon

from resilient_client import AdaptiveConcurrency, APIClient, Call, Permits, Timeout
from resilient_client.testing import MockUpstream, run_virtual
from resilient_client.testing import reply as mock_reply
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import hang_before_headers, reply

URL = "https://api.example.com"


def permits_of(api: APIClient) -> Permits:
    (permits,) = api.bulkheads.values()
    return permits


def test_adaptive_limit_grows_with_steady_replies() -> None:
    """Callers that use what they have get more, as long as the answers keep their time."""

    async def main() -> tuple[int, int]:
        upstream = MockUpstream()
        upstream.script(mock_reply(delay=0.05))
        bulkhead = AdaptiveConcurrency(initial=5)
        async with APIClient(URL, transport=upstream, bulkhead=bulkhead) as api:
            await api.gather([Call.get("/")] * 2000, concurrency=50)
            return permits_of(api).limit, upstream.peak

    limit, peak = run_virtual(main())
    assert limit > 20
    assert 20 < peak <= 50


@pytest.mark.virtual_time
async def test_adaptive_limit_shrinks_on_timeouts(server: FaultServer) -> None:
    """A hanging server gets fewer and fewer attempts at once."""
    server.script(hang_before_headers())
    bulkhead = AdaptiveConcurrency(initial=4, max_queue=0)
    async with client(server, bulkhead=bulkhead, circuit_breaker=None, timeout=Timeout(attempt=0.05)) as api:
        for _ in range(12):
            await soon(api.gather([Call.get("/") for _ in range(4)]))
        assert permits_of(api).limit < 4
        assert permits_of(api).idle


@pytest.mark.one_loop
async def test_adaptive_limit_ignores_local_waits(server: FaultServer) -> None:
    """A quick 500 is no measure of capacity, and a refusal none of time."""
    server.script(reply(500))
    bulkhead = AdaptiveConcurrency(initial=1, max_queue=0)
    async with client(server, bulkhead=bulkhead, circuit_breaker=None) as api:
        for _ in range(30):
            await api.gather([Call.get("/"), Call.get("/")])
        assert permits_of(api).limit == 1
