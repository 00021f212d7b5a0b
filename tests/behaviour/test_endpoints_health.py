"""Health checks and resolution of endpoints run alongside the calls, and their failures harm no call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.behaviour.support import failure, soon, turns

from resilient_client import (
    APIClient,
    BearerAuth,
    ClientClosedError,
    ConfigurationError,
    Endpoint,
    HealthCheck,
    LoadBalancing,
    Retry,
    resolve_dns,
)
from resilient_client._core.deadline import deadline
from resilient_client._core.events import AttemptStarted, EndpointEjected, EndpointRestored, EndpointsResolved, Event
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._mock_steps import MockReply, MockRequest, fail, reply
from resilient_client.testing._mock_upstream import MockUpstream
from resilient_client.testing._observe import assert_no_leaks, record_events
from resilient_client.testing._virtual_time import run_virtual
from resilient_client.testing.faults import hold
from resilient_client.testing.faults import reply as wire_reply

HOSTS = ["http://a.example", "http://b.example", "http://c.example"]
A, B, C = map(Endpoint.of, HOSTS)
CHECK = HealthCheck(interval=5, timeout=1, rise=2, fall=3)


def checked(check: HealthCheck = CHECK) -> LoadBalancing:
    return LoadBalancing(strategy="round_robin", health_check=check, slow_start=0)


class Fleet:
    """Three servers in memory, each of which may be unhealthy."""

    def __init__(self) -> None:
        self.sick: set[str] = set()
        self.upstream = MockUpstream()
        self.upstream.route("GET", "/health", self.health)
        self.upstream.script(reply(200))

    async def health(self, request: MockRequest) -> MockReply:
        if request.url.host == "hung.example":
            await asyncio.sleep(3600)
        return reply(503 if request.url.host in self.sick else 200)

    def checks(self, host: str = "a.example") -> list[float]:
        """Return when this server was asked for its health."""
        return [r.at for r in self.upstream.requests if r.path == "/health" and r.url.host == host]

    async def hosts(self, api: APIClient, calls: int = 6) -> set[str | None]:
        """Return the hosts to which calls go."""
        return {(await api.get("/users")).url.host for _ in range(calls)}


def in_virtual_time(test: Callable[[Fleet], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test about a fleet on a loop of its own, where an hour is nothing."""

    def run() -> None:
        run_virtual(test(Fleet()))

    run.__doc__ = test.__doc__
    return run


# --- health checks ---


@in_virtual_time
async def test_failing_checks_remove_endpoint(fleet: Fleet) -> None:
    """Three bad answers take it out, two good ones bring it back."""
    async with APIClient(HOSTS, transport=fleet.upstream, load_balancing=checked()) as api:
        await asyncio.sleep(0.5)
        fleet.sick = {"a.example"}
        await asyncio.sleep(11)
        assert "a.example" in await fleet.hosts(api)
        await asyncio.sleep(6)
        assert await fleet.hosts(api) == {"b.example", "c.example"}
        assert [state.healthy for state in api.endpoints.values()] == [False, True, True]
        fleet.sick = set()
        await asyncio.sleep(12)
        assert "a.example" in await fleet.hosts(api)


@in_virtual_time
async def test_unchecked_endpoint_stays(fleet: Fleet) -> None:
    """Negative control: without checks an unhealthy endpoint stays in use."""
    fleet.sick = {"a.example"}
    balancing = LoadBalancing(strategy="round_robin")
    async with APIClient(HOSTS, transport=fleet.upstream, load_balancing=balancing) as api:
        await asyncio.sleep(60)
        assert "a.example" in await fleet.hosts(api)
    assert fleet.checks() == []


@in_virtual_time
async def test_changes_by_checks_are_told(fleet: Fleet) -> None:
    """As an ejection with its reason, and as a return."""
    async with APIClient(HOSTS, transport=fleet.upstream, load_balancing=checked()) as api:
        with record_events(api) as events:
            fleet.sick = {"b.example"}
            await asyncio.sleep(20)
            fleet.sick = set()
            await asyncio.sleep(20)
    assert [(type(e), e.endpoint) for e in events if isinstance(e, EndpointEjected | EndpointRestored)] == [
        (EndpointEjected, B),
        (EndpointRestored, B),
    ]
    assert isinstance(events[0], EndpointEjected)
    assert events[0].reason == "health check: status 503"


@in_virtual_time
async def test_hanging_check_delays_no_call(fleet: Fleet) -> None:
    """The others are asked at the same time, and the next round begins as ever."""
    hosts = ["http://hung.example", *HOSTS]
    async with APIClient(hosts, transport=fleet.upstream, load_balancing=checked()) as api:
        with record_events(api) as events:
            await asyncio.sleep(20)
        (out,) = (event for event in events if isinstance(event, EndpointEjected))
    assert (out.endpoint.host, out.reason) == ("hung.example", "health check: no answer within 1 s")
    pauses = [later - earlier for earlier, later in zip(fleet.checks(), fleet.checks()[1:], strict=False)]
    assert all(6 <= pause <= 6.5 for pause in pauses)  # the round lasts as long as the hung one is waited for


@in_virtual_time
async def test_checks_failing_everywhere_ignored(fleet: Fleet) -> None:
    """Then the check is wrong, or everything is: calls go everywhere."""
    fleet.sick = {"a.example", "b.example", "c.example"}
    async with APIClient(HOSTS, transport=fleet.upstream, load_balancing=checked()) as api:
        await asyncio.sleep(60)
        assert len(await fleet.hosts(api)) == 3


@in_virtual_time
async def test_checks_are_beside_the_chain(fleet: Fleet) -> None:
    """A check uses no circuit, middleware, credentials or attempt events, and starts at the root path."""
    seen: list[str] = []

    async def note(request: Any, call_next: Any) -> Any:
        seen.append(request.url.path)
        return await call_next(request)

    fleet.sick = {"a.example"}
    bases = [f"{host}/v1" for host in HOSTS]
    async with APIClient(
        bases,
        transport=fleet.upstream,
        load_balancing=checked(),
        auth=BearerAuth("secret"),
        headers={"X-Key": "secret"},
        middleware=[note],
        attempt_middleware=[note],
    ) as api:
        with record_events(api) as events:
            await asyncio.sleep(60)
        assert not api.circuits
    assert seen == []
    assert not any(isinstance(event, AttemptStarted) for event in events)
    assert len(fleet.checks()) > 10
    assert {request.path for request in fleet.upstream.requests} == {"/health"}
    assert not any("secret" in value for r in fleet.upstream.requests for value in r.headers.values())


@in_virtual_time
async def test_check_path_is_sent_as_written(fleet: Fleet) -> None:
    """Escapes in the path and the query of a check stay, as in a call."""
    target = "/health?probe=a%2Fb%26"
    async with APIClient(HOSTS, transport=fleet.upstream, load_balancing=checked(HealthCheck(path=target))) as api:
        await api.get("/users")
        await asyncio.sleep(60)
    assert {r.url.raw_path_qs for r in fleet.upstream.requests if r.path == "/health"} == {target}


@in_virtual_time
async def test_checks_inherit_no_deadline(fleet: Fleet) -> None:
    """They belong to the client, which lives on."""
    api = APIClient(HOSTS, transport=fleet.upstream, load_balancing=checked())
    with deadline(after=1):
        await api.get("/users")
    await asyncio.sleep(60)
    assert len(fleet.checks()) > 10
    await api.close()


@in_virtual_time
async def test_checks_live_as_long_as_client(fleet: Fleet) -> None:
    """A client that was only built runs no task, and a closed one leaves none."""
    async with assert_no_leaks():
        api = APIClient(HOSTS, transport=fleet.upstream, load_balancing=checked())
        await asyncio.sleep(60)
        assert fleet.checks() == []
        await api.get("/users")
        await asyncio.sleep(1)
        assert len(fleet.checks()) == 1
        await api.close()
        await api.close()
        await asyncio.sleep(60)
        assert len(fleet.checks()) == 1


async def test_close_ends_running_check() -> None:
    """Over a real socket: nothing is waited for, nothing is left."""
    async with FaultServer() as first, FaultServer() as second, assert_no_leaks():
        first.route("GET", "/health", hold())
        check = HealthCheck(interval=1, timeout=60)
        api = APIClient([first.url, second.url], load_balancing=checked(check))
        await api.get("/")
        await soon(first.wait_for_hits(1))
        await soon(api.close())
        with pytest.raises(ClientClosedError):
            await api.get("/")


async def test_checks_find_recovered_endpoint() -> None:
    """Over real sockets: it is out while its checks fail, though no call ever met it."""
    async with FaultServer() as first, FaultServer() as second:
        first.route("GET", "/health", wire_reply(503))
        check = HealthCheck(interval=0.01, timeout=0.5, rise=1, fall=1)
        async with APIClient([first.url, second.url], load_balancing=checked(check)) as api:
            change = next_change(api)
            await soon(change)
            assert [(await api.get("/")).url.port for _ in range(3)] == [second.port] * 3
            change = next_change(api)
            first.route("GET", "/health", wire_reply(204))
            await soon(change)
            assert {(await api.get("/")).url.port for _ in range(2)} == {first.port, second.port}


def next_change(api: APIClient) -> asyncio.Future[Event]:
    """The next endpoint that is taken out or comes back."""
    change: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

    def listen(event: Event) -> None:
        if isinstance(event, EndpointEjected | EndpointRestored) and not change.done():
            change.set_result(event)

    api.subscribe(listen)
    return change


# --- resolution ---


class Registry:
    """A source of endpoints that may fail."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[float] = []

    async def __call__(self) -> Any:
        self.asked.append(asyncio.get_running_loop().time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await asyncio.sleep(answer if isinstance(answer, float) else 0.1)
        if isinstance(answer, Exception):
            raise answer
        return answer


def resolved(fleet: Fleet, registry: Registry, base: Any = HOSTS[0], **options: Any) -> APIClient:
    balancing = LoadBalancing(strategy="round_robin", slow_start=0, resolve=registry, resolve_interval=30)
    return APIClient(base, transport=fleet.upstream, load_balancing=balancing, **options)


@in_virtual_time
async def test_last_resolution_wins(fleet: Fleet) -> None:
    """It is asked at first use and then every 30 s. Until its first answer the given endpoints are used."""
    registry = Registry(HOSTS[:2], HOSTS[1:])
    async with resolved(fleet, registry) as api:
        assert await fleet.hosts(api) == {"a.example"}
        await asyncio.sleep(1)
        assert await fleet.hosts(api) == {"a.example", "b.example"}
        await asyncio.sleep(35)
        assert await fleet.hosts(api) == {"b.example", "c.example"}
        await asyncio.sleep(300)
    pauses = [later - earlier for earlier, later in zip(registry.asked, registry.asked[1:], strict=False)]
    assert len(pauses) > 8
    assert all(30 <= pause <= 33.2 for pause in pauses)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (OSError("token=secret"), "OSError"),
        ([], "the list of endpoints is empty; give at least one base URL"),
        (["https://c.example"], "differ in their scheme"),
        (5, "the endpoints are int; give a list of base URLs"),
        (3600.0, "TimeoutError"),
    ],
    ids=["error", "empty", "another scheme", "no list", "no answer"],
)
def test_failed_resolution_keeps_endpoints(trouble: Any, told: str) -> None:
    """The last good endpoints stay, and an event names the reason without foreign text."""

    async def scenario(fleet: Fleet) -> None:
        async with resolved(fleet, Registry(HOSTS[:2], trouble, HOSTS[1:])) as api:
            with record_events(api) as events:
                await asyncio.sleep(40)
                assert await fleet.hosts(api) == {"a.example", "b.example"}
                await asyncio.sleep(80)
                assert await fleet.hosts(api) == {"b.example", "c.example"}
        told_of = [event for event in events if isinstance(event, EndpointsResolved)]
        assert [event.ok for event in told_of[:3]] == [True, False, True]
        assert told in told_of[1].detail
        assert "secret" not in told_of[1].detail.replace("what is secret", "")
        assert told_of[1].endpoints == (A, B)
        assert told_of[2].endpoints == (B, C)

    run_virtual(scenario(Fleet()))


@in_virtual_time
async def test_removed_endpoint_is_not_checked(fleet: Fleet) -> None:
    """Checks follow the current endpoints."""
    balancing = checked()
    async with APIClient(HOSTS, transport=fleet.upstream, load_balancing=balancing) as api:
        await asyncio.sleep(12)
        api.set_endpoints(HOSTS[1:])
        await turns()
        before = len(fleet.checks())
        await asyncio.sleep(60)
        assert len(fleet.checks()) == before
        assert len(fleet.checks("b.example")) > before


@in_virtual_time
async def test_unreachable_check_harms_no_call(fleet: Fleet) -> None:
    """All checks fail, and the calls succeed."""
    fleet.upstream.route("GET", "/health", fail("connect"))
    async with APIClient(HOSTS, transport=fleet.upstream, load_balancing=checked(), retry=None) as api:
        await asyncio.sleep(60)
        assert len(await fleet.hosts(api)) == 3
        fleet.upstream.script(fail("connect"))
        await failure(api.get("/users"))


def test_checks_are_not_retried() -> None:
    """A check is one request, with any settings of the client."""

    async def scenario(fleet: Fleet) -> None:
        fleet.sick = {"a.example"}
        retry = Retry(max_attempts=5, backoff=lambda _: 0.0)
        async with APIClient(HOSTS, transport=fleet.upstream, load_balancing=checked(), retry=retry):
            await asyncio.sleep(1)
        assert len(fleet.checks()) == 1

    run_virtual(scenario(Fleet()))


# --- names ---


async def test_addresses_of_a_name_are_endpoints() -> None:
    """Port and path are those of the name."""
    assert "http://127.0.0.1:8080/v1" in await resolve_dns("http://localhost:8080/v1")()
    assert await resolve_dns("http://[::1]:8080")() == ["http://[::1]:8080"]


async def test_resolved_name_serves_calls() -> None:
    """The name itself serves until its addresses are known, and they do from then on."""
    async with FaultServer() as server:
        name = f"http://localhost:{server.port}"
        async with APIClient(name, load_balancing=LoadBalancing(resolve=resolve_dns(name))) as api:
            known: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
            api.subscribe(lambda event: None if known.done() else known.set_result(event))
            event = await soon(known)
            assert isinstance(event, EndpointsResolved)
            assert (event.ok, Endpoint.of(server.url) in event.endpoints) == (True, True)
            assert (await soon(api.get("/"))).status == 200


def test_https_name_addresses_refused() -> None:
    """A certificate does not name addresses."""
    with pytest.raises(ConfigurationError, match="is https, whose certificate names the host"):
        resolve_dns("https://localhost")
