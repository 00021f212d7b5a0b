"""Endpoint selection, cancelled at each suspension: alone in memory, and in the whole chain over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
from tests.cancellation.support import Upstream, assert_nothing_held, make_request, one_loop
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


def sweep_virtual(world: World) -> SweepReport:
    """Run a cancellation sweep in virtual time."""
    return run_virtual(sweep_cancellation(world, grace=1.0))


async def reject_first(request: Request, call_next: Handler) -> Response:
    """Wait, as for a permit, and then reject one of the endpoints."""
    await asyncio.sleep(0.01)
    if request.endpoint.host == "a.example":
        raise CallRejectedError("full")
    return await call_next(request)


def endpoint_world(*statuses: int) -> World:
    """Create a world with retry, endpoint and attempt around an upstream in memory. One endpoint rejects."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Step]:
        upstream = Upstream(*statuses)
        urls = [URL(f"http://{host}.example") for host in "abc"]
        settings = LoadBalancing(strategy="ordered")
        endpoint_pool = EndpointPool(settings, urls, Random(1))
        middlewares = (
            RetryMiddleware(RetryBudgets(RetryBudget())),
            EndpointMiddleware(Balancer(settings, endpoint_pool, Random(1))),
            AttemptMiddleware(),
            reject_first,
        )
        chain = compose(middlewares, upstream)
        yield lambda: chain(make_request(RETRY))
        assert upstream.active == 0
        assert [stats.in_flight for stats in endpoint_pool.endpoints] == [0, 0, 0]
        assert [stats.unanswered for stats in endpoint_pool.endpoints] == [0, 0, 0]
        assert sum(stats.outlier_state.failures for stats in endpoint_pool.endpoints) <= statuses.count(503)
        upstream.script = [200]
        assert (await chain(make_request(RETRY))).status == 200

    return world


@pytest.mark.parametrize("statuses", [(200,), (503, 200), (503, 503, 503)])
def test_endpoint_cancelled_anywhere_is_released(statuses: tuple[int, ...]) -> None:
    """In each attempt and at each endpoint, ``in_flight`` returns to 0, and a cancellation is not a failure."""
    report = sweep_virtual(endpoint_world(*statuses))
    assert report.reached("EndpointMiddleware.__call__")
    assert report.reached("reject_first")


def test_unreleased_in_flight_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: an ``InFlight`` that is released only after a reply fails the check."""
    release = InFlight.release
    monkeypatch.setattr(InFlight, "release", lambda in_flight: None if in_flight._unanswered else release(in_flight))
    with pytest.raises(AssertionError, match="interrupted at suspension"):
        sweep_virtual(endpoint_world(200))


async def read_all(api: APIClient) -> None:
    async with api.stream("GET", "/") as stream:
        assert await stream.read() == b"abc"


@one_loop
@pytest.mark.parametrize("scenario", [lambda api: api.get("/"), read_all], ids=["call", "stream"])
async def test_call_to_endpoints_cancelled_anywhere(
    scenario: Callable[[APIClient], Awaitable[object]],
) -> None:
    """Through the whole chain over real sockets, no request in flight, pool slot or timeout is left."""

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
            await assert_nothing_held(api, first)
            await assert_nothing_held(api, second)
            assert [state.in_flight for state in api.endpoints.values()] == [0, 0]
            assert (await api.get("/")).content == b"abc"

    assert (await sweep_cancellation(world)).reached("EndpointMiddleware.__call__")
