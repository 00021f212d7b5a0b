"""With several endpoints an attempt goes to one that admits it, and the next attempt to another. The servers count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.behaviour.support import failure, soon, with_server

from resilient_client import (
    APIClient,
    BearerAuth,
    Bulkhead,
    Call,
    CallRejectedError,
    CircuitBreaker,
    CircuitOpenError,
    Endpoint,
    ErrorKind,
    Handler,
    LoadBalancing,
    RateLimit,
    Request,
    Response,
    Retry,
    RetryBudget,
    Timeout,
)
from resilient_client._core.events import AttemptStarted, CallRejected, EndpointEjected, EndpointRestored
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._observe import record_events
from resilient_client.testing.faults import drip, drop, hang_before_headers, hold, redirect, reply

AT_ONCE = Retry(max_attempts=3, backoff=lambda _: 0.0)
IN_ORDER = LoadBalancing(strategy="ordered")
LENIENT = LoadBalancing(strategy="ordered", eject_failures=None)


@pytest.fixture
async def servers() -> AsyncIterator[list[FaultServer]]:
    """Three servers that serve the same."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(FaultServer()) for _ in range(3)]


def several(*servers: FaultServer, **options: Any) -> APIClient:
    """A client of these servers: in order, and with retries that do not wait."""
    return APIClient([server.url for server in servers], **({"retry": AT_ONCE, "load_balancing": IN_ORDER} | options))


def endpoint(server: FaultServer) -> Endpoint:
    return Endpoint.of(server.url)


def hits(servers: list[FaultServer]) -> list[int]:
    return [server.hits for server in servers]


def in_flight(api: APIClient) -> list[int]:
    return [state.in_flight for state in api.endpoints.values()]


# --- whom attempts go to ---


async def test_calls_in_turn_go_to_each_server(servers: list[FaultServer]) -> None:
    """Path, query and headers are the same at every endpoint."""
    async with several(*servers, load_balancing=LoadBalancing(strategy="round_robin"), headers={"X-Shop": "7"}) as api:
        for _ in range(6):
            await api.get("/users/{id}", path_params={"id": "a b"}, params={"page": 2})
    assert hits(servers) == [2, 2, 2]
    seen = {(r.path, r.query["page"], r.headers["X-Shop"]) for server in servers for r in server.requests}
    assert seen == {("/users/a%20b", "2", "7")}
    hosts = [server.requests[0].headers["Host"] for server in servers]
    assert hosts == [f"127.0.0.1:{server.port}" for server in servers]


@pytest.mark.parametrize("strategy", ["least_loaded", "round_robin", "ordered"])
@pytest.mark.parametrize("fault", [reply(503), drop()], ids=str)
async def test_retry_goes_elsewhere(servers: list[FaultServer], strategy: str, fault: Any) -> None:
    """Three attempts of one call meet three servers."""
    for server in servers:
        server.script(fault)
    async with several(*servers, load_balancing=LoadBalancing(strategy=strategy)) as api:
        error = await failure(api.get("/"))
    assert hits(servers) == [1, 1, 1]
    assert {record.endpoint for record in error.history} == set(map(endpoint, servers))


async def test_retry_with_one_endpoint_stays(server: FaultServer) -> None:
    """Negative control: with one endpoint the next attempt goes there again."""
    server.script(reply(503), reply(200))
    async with several(server) as api:
        assert (await api.get("/")).attempts == 2
    assert server.hits == 2


async def test_call_survives_unreachable_endpoint(servers: list[FaultServer]) -> None:
    """Even one that must not be repeated: what was refused a connection was not sent."""
    await servers[0].close()
    async with several(*servers) as api:
        response = await api.post("/payments", json={"amount": 5})
    assert (response.status, response.attempts) == (200, 2)
    assert hits(servers[1:]) == [1, 0]


async def test_maybe_processed_is_not_sent_elsewhere(servers: list[FaultServer]) -> None:
    """A payment is not sent twice because there is another endpoint."""
    servers[0].script(drop())
    async with several(*servers) as api:
        assert "the server may have acted" in str(await failure(api.post("/payments", json={"amount": 5})))
    assert hits(servers) == [1, 0, 0]


async def test_idempotency_key_same_everywhere(servers: list[FaultServer]) -> None:
    """The endpoints are one upstream: it recognises a repeat by its key."""
    servers[0].script(drop())
    async with several(*servers) as api:
        await api.post("/payments", json={"amount": 5}, idempotency_key="auto")
    keys = [server.requests[0].headers["Idempotency-Key"] for server in servers[:2]]
    assert keys[0] == keys[1]


def test_hanging_endpoint_costs_one_attempt() -> None:
    """The attempt times out, the next one is answered elsewhere."""

    async def scenario(hung: FaultServer) -> None:
        hung.script(hang_before_headers())
        async with FaultServer() as well, several(hung, well, timeout=Timeout(total=5, attempt=0.1)) as api:
            assert (await api.get("/")).attempts == 2
            assert hits([hung, well]) == [1, 1]

    with_server(scenario)


async def test_budget_is_shared_by_endpoints(servers: list[FaultServer]) -> None:
    """Retries that go elsewhere are paid for as any other: the endpoints are one upstream."""
    for server in servers:
        server.script(reply(503))
    async with several(*servers, retry_budget=RetryBudget(initial=1, max_extra_load=0, min_per_second=0)) as api:
        for _ in range(5):
            assert (await failure(api.get("/"))).kind is ErrorKind.SERVER_ERROR
    assert sum(hits(servers)) == 5 + 1


@pytest.mark.parametrize(("served", "attempts"), [(True, 2), (False, 1)])
@pytest.mark.virtual_time
async def test_timeout_costs_one_token_if_others_serve(servers: list[FaultServer], served: bool, attempts: int) -> None:
    """A timeout costs five tokens because it shows overload, and one where another endpoint serves meanwhile."""
    hung, well, _ = servers
    hung.script(hang_before_headers())
    one_token = RetryBudget(initial=1, max_extra_load=0, min_per_second=0)
    async with several(hung, well, retry_budget=one_token, timeout=Timeout(total=5, attempt=0.4)) as api:
        call = asyncio.create_task(api.get("/", raise_for_status=False))
        await soon(hung.wait_for_hits(1))
        if served:
            api.set_endpoints([well.url, hung.url])
            await asyncio.sleep(0.1)  # the answer has to be later than the beginning of the silent attempt
            await soon(api.get("/"))
        await asyncio.wait([call])
        history = (await call).history if served else (await failure(call)).history
    assert len(history) == attempts


# --- circuits and other refusals ---


async def test_open_circuit_is_skipped_for_free(servers: list[FaultServer]) -> None:
    """Calls go to the next one, at once and in their first attempt."""
    servers[0].script(reply(503))
    breaker = CircuitBreaker(minimum_calls=1)
    async with several(*servers, circuit_breaker=breaker, load_balancing=LENIENT) as api:
        await api.get("/", retry=None, raise_for_status=False)
        assert [(await api.get("/")).attempts for _ in range(5)] == [1] * 5
    assert hits(servers) == [1, 5, 0]


async def test_all_circuits_open_refuses_at_once(servers: list[FaultServer]) -> None:
    """The error says so for all, and when the first of them is tried again."""
    for server in servers:
        server.script(reply(503))
    breaker = CircuitBreaker(minimum_calls=1)
    async with several(*servers, circuit_breaker=breaker) as api:
        assert (await failure(api.get("/"))).attempts == 3
        with record_events(api) as events:
            error = await failure(api.get("/"))
        now = asyncio.get_running_loop().time()
        waits = [circuit.opened_until - now for circuit in api.circuits.values() if circuit.opened_until]
    assert isinstance(error, CircuitOpenError)
    assert "the circuits of all 3 endpoints are open; the first is tried again in " in str(error)
    assert error.retry_after == pytest.approx(min(waits), abs=0.5)
    assert (error.attempts, error.maybe_processed) == (0, False)
    assert [event.cause for event in events if isinstance(event, CallRejected)] == ["circuit_open"]
    assert hits(servers) == [1, 1, 1]


async def test_all_circuits_open_skips_backoff(servers: list[FaultServer]) -> None:
    """The last real error is raised at once, and says why there is no further attempt."""
    for server in servers[:2]:
        server.script(reply(503))
    async with several(*servers[:2], circuit_breaker=CircuitBreaker(minimum_calls=1)) as api:
        error = await failure(api.get("/"))
    assert "not retried: the circuit of every endpoint is open for another " in str(error)
    assert hits(servers[:2]) == [1, 1]


async def test_one_closed_circuit_allows_retry(servers: list[FaultServer]) -> None:
    """Negative control: the circuit that the first attempt opened does not stand in the way of the second."""
    servers[0].script(reply(503))
    async with several(*servers[:2], circuit_breaker=CircuitBreaker(minimum_calls=1)) as api:
        assert (await api.get("/")).attempts == 2


class Bouncer:
    """A limit of the user's own: refuses what goes to one endpoint, or to any."""

    def __init__(self, *refused: Endpoint) -> None:
        self.refused = refused

    async def __call__(self, request: Request, call_next: Handler) -> Response:
        if request.endpoint in self.refused:
            request.headers["X-Refused"] = "yes"
            raise CallRejectedError(f"{request.label}: not today", retry_after=7.0)
        return await call_next(request)


async def test_local_refusal_tries_next_endpoint(servers: list[FaultServer]) -> None:
    """Nothing was sent, so it is not an attempt, costs no retry and leaves no header."""
    async with several(*servers, retry=None, attempt_middleware=[Bouncer(endpoint(servers[0]))]) as api:
        response = await api.get("/")
        assert in_flight(api) == [0, 0, 0]
    assert (response.attempts, len(response.history)) == (1, 1)
    assert hits(servers) == [0, 1, 0]
    assert "X-Refused" not in servers[1].requests[0].headers


@pytest.mark.parametrize(
    "limit", [{"bulkhead": Bulkhead(max_concurrent=1)}, {"rate_limit": RateLimit(rate=0.001)}], ids=str
)
async def test_full_bulkhead_tries_next_endpoint(servers: list[FaultServer], limit: Any) -> None:
    """Bulkheads and rate limits are those of one endpoint each: full here is not full there."""
    held = hold()
    for server in servers:
        server.script(held)
    async with several(*servers, retry=None, **limit) as api:
        calls = [asyncio.create_task(api.get("/")) for _ in range(3)]
        for server in servers:
            await soon(server.wait_for_hits(1))
        error = await failure(api.get("/"))
        held.release()
        assert [(await soon(call)).attempts for call in calls] == [1, 1, 1]
    assert isinstance(error, CallRejectedError)
    assert hits(servers) == [1, 1, 1]


async def test_local_refusal_everywhere_is_raised(servers: list[FaultServer]) -> None:
    """The last refusal, as it came, with nothing sent."""
    async with several(*servers, attempt_middleware=[Bouncer(*map(endpoint, servers))]) as api:
        error = await failure(api.get("/"))
    assert isinstance(error, CallRejectedError)
    assert ("not today" in str(error), error.retry_after, error.attempts) == (True, 7.0, 0)
    assert hits(servers) == [0, 0, 0]


# --- ejection ---


def test_failed_primary_is_left_and_resumed() -> None:
    """After five failures calls no longer begin at the primary. When it has recovered and its time is over, they do."""
    balancing = LoadBalancing(strategy="ordered", ejection_time=30, slow_start=0)

    async def scenario(primary: FaultServer) -> None:
        primary.script(reply(503))
        async with FaultServer() as backup, several(primary, backup, load_balancing=balancing) as api:
            with record_events(api) as events:
                for _ in range(5):
                    assert (await api.get("/")).attempts == 2
                primary.script(reply(200))
                assert (await api.get("/")).history[0].endpoint == endpoint(backup)
                await asyncio.sleep(45)
                assert (await api.get("/")).history[0].endpoint == endpoint(primary)
            changes = [event for event in events if isinstance(event, EndpointEjected | EndpointRestored)]
            assert [type(change) for change in changes] == [EndpointEjected, EndpointRestored]
            assert changes[0].endpoint == endpoint(primary)
            assert changes[0].reason == "5 failures in a row"

    with_server(scenario)


async def test_failed_primary_without_ejection(servers: list[FaultServer]) -> None:
    """Negative control: every call begins at the failing primary until its circuit opens."""
    servers[0].script(reply(503))
    async with several(*servers, load_balancing=LENIENT, circuit_breaker=None, retry_budget=None) as api:
        for _ in range(20):
            assert (await api.get("/")).attempts == 2
    assert hits(servers) == [20, 20, 0]


# --- changing the set ---


async def test_set_endpoints_moves_new_calls(servers: list[FaultServer]) -> None:
    """A running call ends at the old endpoint. The next ones, including those of views, go to the new one."""
    old, new, _ = servers
    held = hold()
    old.script(held)
    async with several(old) as api:
        view = api.with_options(timeout=5)
        under_way = asyncio.create_task(api.get("/"))
        await soon(old.wait_for_hits(1))
        api.set_endpoints([new.url])
        await view.get("/")
        assert list(api.endpoints) == [endpoint(new)]
        held.release()
        assert (await soon(under_way)).history[0].endpoint == endpoint(old)
    assert hits([old, new]) == [1, 1]


async def test_set_endpoints_keeps_known_state(servers: list[FaultServer]) -> None:
    """The one that was ejected stays so."""
    first, second, third = servers
    first.script(reply(503))
    async with several(first, second) as api:
        for _ in range(5):
            await api.get("/")
        api.set_endpoints([first.url, third.url])
        assert api.endpoints[endpoint(first)].ejected_for > 0
        await api.get("/")
    assert hits(servers) == [5, 5, 1]


# --- events ---


async def test_error_names_last_endpoint(servers: list[FaultServer]) -> None:
    """Its text and its ``request`` are about the attempt whose outcome it is."""
    for server in servers:
        server.script(reply(503))
    async with several(*servers) as api:
        error = await failure(api.get("/users/{id}", path_params={"id": 7}))
    assert str(error).startswith(f"GET {servers[2].url}/users/{{id}}: the server answered 503")
    assert error.request is not None
    assert error.request.endpoint == endpoint(servers[2])
    assert error.request.url == f"{servers[2].url}/users/7"


async def test_flight_error_names_last_endpoint(servers: list[FaultServer]) -> None:
    """A follower learns which endpoint the flight asked."""
    for server in servers:
        server.script(reply(503))
    async with several(*servers, coalesce=True) as api:
        result = await soon(api.gather([Call.get("/users")] * 2))
    assert [f.error.request.endpoint for f in result.failures if f.error.request] == [endpoint(servers[2])] * 2
    assert hits(servers) == [1, 1, 1]


async def test_attempt_events_name_endpoint(servers: list[FaultServer]) -> None:
    """Each attempt names its own endpoint."""
    servers[0].script(reply(503))
    async with several(*servers) as api:
        with record_events(api) as events:
            await api.get("/")
    started = [event.endpoint for event in events if isinstance(event, AttemptStarted)]
    assert started == [endpoint(servers[0]), endpoint(servers[1])]


@pytest.mark.virtual_time
async def test_endpoint_state_shows_in_flight(servers: list[FaultServer]) -> None:
    """A call counts until it ends, a stream until its body is closed."""
    held = hold()
    servers[0].script(held)
    servers[1].script(drip(b"abc", interval=0.001))
    async with several(*servers, load_balancing=LoadBalancing(strategy="round_robin")) as api:
        call = asyncio.create_task(api.get("/"))
        await soon(servers[0].wait_for_hits(1))
        async with api.stream("GET", "/export") as stream:
            assert in_flight(api) == [1, 1, 0]
            held.release()
            await soon(call)
            assert in_flight(api) == [0, 1, 0]
            await stream.read()
        assert in_flight(api) == [0, 0, 0]


def test_explain_shows_strategy_and_link() -> None:
    """``explain`` shows that an endpoint is picked, and how."""
    api = APIClient(["https://a.example", "https://b.example"], load_balancing=IN_ORDER)
    explained = str(api.explain("GET", "/users"))
    assert "GET https://a.example/users, or another of 2 endpoints" in explained
    assert "per attempt  pick endpoint (ordered)\n  per attempt  attempt" in explained
    assert "load_balancing.strategy" in explained


def test_single_base_url_has_no_picker() -> None:
    """The link is not in the chain, so it costs nothing."""
    api = APIClient("https://a.example")
    assert not any("endpoint" in link.name for link in api.explain("GET", "/").chain)
    assert dict(api.endpoints) == {}


# --- credentials ---


async def test_credentials_go_to_each_endpoint(servers: list[FaultServer]) -> None:
    """They are applied to each attempt, wherever it goes: the set is one upstream."""
    servers[0].script(reply(503))
    async with several(*servers, auth=BearerAuth("secret")) as api:
        await api.get("/")
    assert [server.requests[0].headers["Authorization"] for server in servers[:2]] == ["Bearer secret"] * 2


async def test_redirect_between_endpoints_is_foreign(servers: list[FaultServer]) -> None:
    """A server does not say where credentials go, not even within the set."""
    servers[0].script(redirect(f"{servers[1].url}/"))
    async with several(*servers, auth=BearerAuth("secret")) as api:
        assert (await failure(api.get("/"))).kind is ErrorKind.REDIRECT
    assert hits(servers) == [1, 0, 0]
