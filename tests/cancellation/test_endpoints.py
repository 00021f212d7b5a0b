"""Picking an endpoint, cancelled at each suspension: alone in memory, in the whole chain over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
from tests.cancellation.support import Upstream, a_request, nothing_is_held
from yarl import URL

from resilient_client import APIClient, Backoff, LoadBalancing, Retry, RetryBudget
from resilient_client._core.errors import CallRejectedError
from resilient_client._core.protocols import Handler
from resilient_client._core.request import Request
from resilient_client._core.response import Response
from resilient_client._middleware.attempt import AttemptMiddleware
from resilient_client._middleware.compose import compose
from resilient_client._middleware.endpoint import EndpointMiddleware
from resilient_client._middleware.retry import RetryMiddleware
from resilient_client._policies.balancing.balancer import Balancer
from resilient_client._policies.balancing.endpoint_pool import EndpointPool, InFlight
from resilient_client._policies.retry.budget import RetryBudgets
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._virtual_time import run_virtual
from resilient_client.testing.cancellation import SweepReport, World, sweep_cancellation
from resilient_client.testing.faults import drip, reply

Step = Callable[[], Awaitable[object]]
RETRY = Retry(max_attempts=3, backoff=Backoff(kind="fixed", initial=2.0))


def swept(world: World) -> SweepReport:
    return run_virtual(sweep_cancellation(world, patience=1.0))


async def refuse_the_first(request: Request, call_next: Handler) -> Response:
    """Waits, as for a permit, and then refuses one of the endpoints."""
    await asyncio.sleep(0.01)
    if request.endpoint.host == "a.example":
        raise CallRejectedError("full")
    return await call_next(request)


def world_of(*statuses: int) -> World:
    """Retry, the pick and the attempt around an upstream in memory; one endpoint refuses."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        upstream = Upstream(*statuses)
        urls = [URL(f"http://{host}.example") for host in "abc"]
        settings = LoadBalancing(strategy="ordered")
        endpoint_pool = EndpointPool(settings, urls, Random(1))
        links = (
            RetryMiddleware(RetryBudgets(RetryBudget())),
            EndpointMiddleware(Balancer(settings, endpoint_pool, Random(1))),
            AttemptMiddleware(),
            refuse_the_first,
        )
        chain = compose(links, upstream)
        yield lambda: chain(a_request(RETRY))
        assert upstream.active == 0
        assert [stats.in_flight for stats in endpoint_pool.endpoints] == [0, 0, 0]
        assert [stats.unanswered for stats in endpoint_pool.endpoints] == [0, 0, 0]
        assert sum(stats.outlier_state.failures for stats in endpoint_pool.endpoints) <= statuses.count(503)
        upstream.script = [200]
        assert (await chain(a_request(RETRY))).status == 200

    return world


@pytest.mark.parametrize("statuses", [(200,), (503, 200), (503, 503, 503)])
def test_pick_cancelled_anywhere_gives_back_its_lease_and_blames_nobody(statuses: tuple[int, ...]) -> None:
    """In whichever attempt, at whichever endpoint: what is in flight is 0 again, and a cancellation is no failure."""
    report = swept(world_of(*statuses))
    assert report.reached("EndpointMiddleware.__call__")
    assert report.reached("refuse_the_first")


def test_lease_that_a_cancellation_takes_with_it_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a lease that is only released after an answer is noticed."""
    release = InFlight.release
    monkeypatch.setattr(InFlight, "release", lambda lease: None if lease._unanswered else release(lease))
    with pytest.raises(AssertionError, match="struck at suspension"):
        swept(world_of(200))


async def read_all(api: APIClient) -> None:
    async with api.stream("GET", "/") as stream:
        assert await stream.read() == b"abc"


@pytest.mark.parametrize("scenario", [lambda api: api.get("/"), read_all], ids=["call", "stream"])
async def test_calls_to_several_endpoints_cancelled_anywhere_leave_nothing(
    scenario: Callable[[APIClient], Awaitable[object]],
) -> None:
    """Through the whole chain, over real sockets: no lease, no place in the pool, no alarm is kept."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        retry = Retry(max_attempts=3, backoff=Backoff(kind="fixed", initial=0.005))
        balancing = LoadBalancing(strategy="ordered")
        async with (
            FaultServer() as first,
            FaultServer() as second,
            APIClient([first.url, second.url], retry=retry, load_balancing=balancing) as api,
        ):
            first.script(reply(503))
            second.script(drip(b"abc", interval=0.002))
            yield lambda: scenario(api)
            await nothing_is_held(api, first)
            await nothing_is_held(api, second)
            assert [state.in_flight for state in api.endpoints.values()] == [0, 0]
            assert (await api.get("/")).content == b"abc"

    assert (await sweep_cancellation(world)).reached("EndpointMiddleware.__call__")
