"""Equal calls share one flight, and nothing else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any

import pytest
from tests.behaviour.support import TIME_LIMIT, cancelled, client, failure, in_use, soon, turns, with_server

from resilient_client import (
    APIClient,
    APIError,
    Call,
    CallCancelledError,
    CircuitBreaker,
    CircuitState,
    Endpoint,
    ErrorKind,
    Failure,
    Fallback,
    Handler,
    InvalidRequestError,
    Request,
    Response,
    Retry,
    Stage,
    Timeout,
    deadline,
)
from resilient_client.events import AttemptStarted, CallCoalesced, CallFinished, Event
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import Step
from resilient_client.testing.faults import echo, garbage, hang_before_headers, hold, redirect, reply


def coalescing(server: FaultServer, **options: Any) -> APIClient:
    return client(server, coalesce=True, **options)


async def begun(*calls: Awaitable[Any]) -> list[asyncio.Task[Any]]:
    """The calls as tasks, each of which has found its flight."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    await turns()
    return tasks  # type: ignore[return-value]  # futures made of coroutines are tasks


async def hits_of(server: FaultServer, *calls: Awaitable[Any]) -> int:
    """Return how many requests these calls cause when they begin before any is answered."""
    gate = hold(echo())
    server.script(gate)
    tasks = await begun(*calls)
    gate.release()
    await soon(asyncio.gather(*tasks))
    return server.hits


def users(api: APIClient, method: str = "GET", path: str = "/users", **options: Any) -> Awaitable[Any]:
    """Make the call that most tests repeat, with other options where given."""
    return api.request(method, path, **{"params": {"page": 1}, "headers": {"X-Tenant": "a"}, **options})


# --- who shares ---


@pytest.mark.parametrize(("coalesce", "hits"), [(True, 1), (False, 100)])
async def test_hundred_equal_calls_are_one_request(server: FaultServer, coalesce: bool, hits: int) -> None:
    """Coalesced, one request serves all. As a negative control, without it each call sends its own."""
    async with client(server, coalesce=coalesce) as api:
        assert await hits_of(server, *(users(api) for _ in range(100))) == hits


@pytest.mark.parametrize(
    "other",
    [
        {"params": {"page": 2}},
        {"path": "/users/"},
        {"method": "HEAD"},
        {"headers": {"X-Tenant": "b"}},
        {"headers": {"X-Tenant": "a", "Authorization": "Bearer b"}},
        {"headers": [("X-Tenant", "a"), ("X-Tenant", "a")]},
        {"tags": {"priority": "batch"}},
        {"retry": Retry(max_attempts=2)},
        {"timeout": Timeout(attempt=3)},
        {"idempotent": False},
        {"idempotency_key": "auto"},
        {"content": b"a query in a body"},
        {"coalesce": False},
    ],
    ids=str,
)
@pytest.mark.one_loop
async def test_different_requests_do_not_share(server: FaultServer, other: dict[str, Any]) -> None:
    """Everything that may change the reply, or how it is fetched, starts another flight."""
    async with coalescing(server) as api:
        assert await hits_of(server, users(api), users(api, **other)) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"headers": {"x-tenant": "a"}},
        {"response_model": dict[str, Any]},
        {"timeout": 7},
        {"timeout": Timeout(attempt=10)},
        {"raise_for_status": False},
        {"fallback": Fallback([])},
    ],
    ids=str,
)
@pytest.mark.one_loop
async def test_different_decoding_shares(server: FaultServer, other: dict[str, Any]) -> None:
    """Decoding and waiting are up to each caller and do not prevent sharing."""
    async with coalescing(server) as api:
        assert await hits_of(server, users(api), users(api, **other)) == 1


@pytest.mark.parametrize("other", [{"method": "POST"}, {"idempotent": False}, {"content": b"query"}], ids=str)
async def test_unsafe_call_never_shares(server: FaultServer, other: dict[str, Any]) -> None:
    """Only GET and HEAD without a body share, unless the caller declares them not idempotent."""
    async with coalescing(server) as api:
        assert await hits_of(server, users(api, **other), users(api, **other)) == 2


async def test_views_share_equal_calls(server: FaultServer) -> None:
    """Views with equal headers share with their client, and views with other headers do not."""
    async with coalescing(server) as api:
        alike, other = api.with_options(timeout=9), api.with_options(headers={"Authorization": "Bearer b"})
        assert await hits_of(server, users(api), users(alike), users(other), users(other)) == 2


async def test_clients_do_not_share(server: FaultServer) -> None:
    """Another client may have other credentials."""
    async with coalescing(server) as one, coalescing(server) as two:
        assert await hits_of(server, users(one), users(two)) == 2


@pytest.mark.parametrize("where", ["view", "call"])
@pytest.mark.one_loop
async def test_coalescing_per_view_or_call(server: FaultServer, where: str) -> None:
    """The default is off. Calls that enable it share with each other and with no other call."""
    async with client(server) as api:
        view = api.with_options(coalesce=True) if where == "view" else api
        option = {} if where == "view" else {"coalesce": True}
        calls = [users(view, **option), users(view, **option), users(api), users(api)]
        assert await hits_of(server, *calls) == 3


async def test_sequential_calls_do_not_share(server: FaultServer) -> None:
    """No answer is kept: the next call makes its own request."""
    async with coalescing(server) as api:
        for _ in range(3):
            await soon(users(api))
    assert server.hits == 3


async def test_coalescing_is_not_for_streams(server: FaultServer) -> None:
    """It is refused as an option of a stream, and ignored as a setting of the client."""
    async with coalescing(server) as api:
        with pytest.raises(InvalidRequestError, match="a stream takes no coalesce"):
            async with api.stream("GET", "/", coalesce=True):
                pass
        async with api.stream("GET", "/") as one, api.stream("GET", "/") as two:
            assert (one.status, two.status) == (200, 200)
    assert server.hits == 2


@pytest.mark.one_loop
def test_coalescing_in_explain() -> None:
    """The link stands between the caller's middlewares and retry, for calls that coalesce only."""

    async def custom(request: Request, call_next: Handler) -> Response:
        return await call_next(request)

    api = APIClient("http://127.0.0.1", middleware=[custom])
    usual = [link.name for link in api.explain("GET", "/").chain]
    assert "coalesce" not in usual
    chain = [link.name for link in api.explain("GET", "/", coalesce=True).chain]
    assert chain[:4] == ["deadline", "custom", "coalesce", "retry"]
    assert [name for name in chain if name != "coalesce"] == usual
    assert "coalesce                            call     True" in str(api.explain("GET", "/", coalesce=True))


# --- who the caller is ---

_token: ContextVar[str] = ContextVar("_token", default="nobody")


class OfTheCaller:
    """Takes the credentials from where a web framework keeps the current user."""

    async def apply(self, request: Request) -> None:
        request.headers["Authorization"] = _token.get()

    async def refresh(self, _rejected: Response) -> bool:
        return False


async def of_the_caller(request: Request, call_next: Handler) -> Response:
    request.headers["Authorization"] = _token.get()
    return await call_next(request)


async def asked_by(api: APIClient, token: str) -> str:
    _token.set(token)
    sent: str = (await users(api)).json()["headers"]["authorization"]
    return sent


async def test_middleware_credentials_do_not_share(server: FaultServer) -> None:
    """What stands in the headers when the flight is chosen belongs to the key."""
    server.script(echo())
    async with coalescing(server, middleware=[of_the_caller]) as api:
        found = await soon(asyncio.gather(*(asked_by(api, token) for token in ("ada", "ada", "grace"))))
    assert (found, server.hits) == (["ada", "ada", "grace"], 2)


@pytest.mark.parametrize("place", ["auth", "attempt_middleware"])
async def test_flight_has_no_context_variables(server: FaultServer, place: str) -> None:
    """Credentials that only an attempt would find in its context are not found: no caller acts as another."""
    server.script(echo())
    settings: dict[str, Any] = {"auth": OfTheCaller()} if place == "auth" else {place: [of_the_caller]}
    async with coalescing(server, **settings) as api:
        found = await soon(asyncio.gather(*(asked_by(api, token) for token in ("ada", "grace"))))
    assert found == ["nobody", "nobody"]


# --- who leaves, and when ---


async def test_cancelled_leader_leaves_flight_running(server: FaultServer) -> None:
    """The call that started the flight is a waiter like all others."""
    gate = hold(reply(json=1))
    server.script(gate)
    async with coalescing(server) as api:
        leader, *others = await begun(*(users(api) for _ in range(5)))
        await soon(server.wait_for_hits(1))
        await cancelled([leader])
        gate.release()
        assert [answer.json() for answer in await soon(asyncio.gather(*others))] == [1] * 4
    assert leader.cancelled()
    assert server.hits == 1


async def test_flight_ends_with_last_waiter(server: FaultServer) -> None:
    """All cancelled: the server sees its client go, and no task is left."""
    server.script(hang_before_headers())
    async with coalescing(server) as api:
        before = asyncio.all_tasks()
        tasks = await begun(*(users(api) for _ in range(5)))
        await soon(server.wait_for_hits(1))
        await cancelled(tasks)
        assert all(task.cancelled() for task in tasks)
        async with asyncio.timeout(TIME_LIMIT):
            while server.active:
                await asyncio.sleep(0)
        assert {task for task in asyncio.all_tasks() - before if "FaultServer" not in repr(task)} <= server._open.keys()
        assert in_use(api) == 0
        server.script(reply(json=2))
        assert (await soon(users(api))).json() == 2


async def test_call_during_flight_end_starts_anew(server: FaultServer) -> None:
    """A flight that has no waiters left cannot be joined."""
    server.script(hang_before_headers(), reply(json=2))
    async with coalescing(server) as api:
        (left,) = await begun(users(api))
        await soon(server.wait_for_hits(1))
        left.cancel()
        await asyncio.sleep(0)  # now it is cancelled, and not yet gone
        assert (await soon(users(api))).json() == 2


@pytest.mark.parametrize("patient", ["leader", "follower"])
@pytest.mark.parametrize("way", ["timeout", "deadline"])
@pytest.mark.virtual_time
async def test_each_waits_under_its_own_deadline(server: FaultServer, patient: str, way: str) -> None:
    """The call with the short deadline fails in time, leader or follower. The other gets the reply."""
    gate = hold(reply(json=1))
    server.script(reply(), gate)

    async def within(seconds: float) -> Any:
        if way == "timeout":
            return await users(api, timeout=seconds)
        with deadline(after=seconds):
            return await users(api)

    async with coalescing(server) as api:
        await soon(api.get("/"))  # what a first call makes, such as the session, takes its time
        times = (5.0, 0.25) if patient == "leader" else (0.25, 5.0)
        tasks = await begun(*map(within, times))
        await soon(server.wait_for_hits(2))
        late, done = tasks if patient == "follower" else reversed(tasks)
        error = await failure(late)
        assert not done.done()
        gate.release()
        assert (await soon(done)).json() == 1
    assert (error.kind, error.maybe_processed, error.attempts, len(error.history)) == (ErrorKind.DEADLINE, True, 1, 1)
    found = re.search(r"the call was not done after (.*) s, and left the flight that it shared", str(error))
    assert found is not None
    assert 0 < float(found[1]) <= 0.25  # what the call was given: a deadline() began a moment before it
    assert (error.history[0].kind, error.history[0].stage) == (ErrorKind.DEADLINE, Stage.SEND)
    assert 0 < error.history[0].elapsed < 1
    assert server.hits == 2


def test_flight_lasts_until_latest_deadline() -> None:
    """A later deadline extends a running attempt. At its end all calls know the stage in which it hung."""

    async def scenario(server: FaultServer) -> None:
        server.script(hang_before_headers())
        loop = asyncio.get_running_loop()
        async with coalescing(server) as api:
            (first,) = await begun(api.run(Call.get("/", timeout=0.15)))
            await server.wait_for_hits(1)
            (second,) = await begun(api.run(Call.get("/", timeout=0.4)))
            start = loop.time()
            early = await first
            assert loop.time() - start == pytest.approx(0.15, abs=0.01)
            late = await second
            assert loop.time() - start == pytest.approx(0.4, abs=0.01)
        assert [outcome.kind for outcome in (early, late)] == [ErrorKind.DEADLINE] * 2
        assert "the call was not done after 0.4 s, stuck in stage headers" in str(late.error)
        assert server.hits == 1

    with_server(scenario)


async def test_passed_deadline_joins_nothing(server: FaultServer) -> None:
    """A call past its deadline fails as usual, and nothing is sent for it."""
    async with coalescing(server) as api:
        with deadline(after=0):
            error = await failure(users(api))
    assert "the deadline had passed before the call began; nothing was sent" in str(error)
    assert server.hits == 0


@pytest.mark.virtual_time
async def test_silent_flights_open_circuit(server: FaultServer) -> None:
    """The end of a flight is a timeout like any other: a hung upstream is blamed, once a flight."""
    server.script(hang_before_headers())
    breaker = CircuitBreaker(minimum_calls=2)
    async with coalescing(server, timeout=0.05, circuit_breaker=breaker) as api:
        for _ in range(2):
            await soon(api.gather([Call.get("/")] * 5))
        circuit = api.circuits[Endpoint("http", "127.0.0.1", server.port)]
        assert circuit.state is CircuitState.OPEN
    assert server.hits == 2


async def test_closed_client_ends_flights(server: FaultServer) -> None:
    """All waiters fail as if each had sent its own request."""
    server.script(hang_before_headers())
    async with coalescing(server) as api:
        tasks = await begun(*(api.run(Call.get("/")) for _ in range(3)))
        await soon(server.wait_for_hits(1))
    outcomes = await soon(asyncio.gather(*tasks))
    assert all(isinstance(outcome, Failure) for outcome in outcomes)


# --- what each gets ---


async def test_each_waiter_has_its_own_reply(server: FaultServer) -> None:
    """Nothing mutable is shared between callers."""
    gate = hold(reply(json={"names": ["Ada"]}, headers={"X-Request-Id": "1"}))
    server.script(gate)
    async with coalescing(server) as api:
        calls = [users(api), users(api), users(api, response_model=dict[str, list[str]])] * 2
        tasks = await begun(*calls[:3], users(api, response_model=dict[str, list[str]]))
        gate.release()
        one, two, first, second = await soon(asyncio.gather(*tasks))
    assert one is not two
    assert (one.content, one.headers, one.request_id) == (two.content, two.headers, two.request_id)
    first["names"].append("Grace")
    assert second == {"names": ["Ada"]}
    one.status = 500
    assert two.status == 200
    for call in calls[3:]:
        call.close()  # type: ignore[attr-defined]  # a coroutine that is not wanted


@pytest.mark.virtual_time
async def test_each_waiter_has_its_own_history(server: FaultServer) -> None:
    """A retry serves all callers, and each has its own records, attempts and elapsed time."""
    gate = hold(reply(503))
    server.script(gate, reply(json=1))
    retry = Retry(max_attempts=3, backoff="fixed")
    async with coalescing(server, retry=retry.merge(Retry(backoff={"kind": "fixed", "initial": 0.01}))) as api:
        first, *rest = await begun(*(api.run(Call.get("/")) for _ in range(2)))
        await asyncio.sleep(0.05)
        rest += await begun(api.run(Call.get("/")))
        gate.release()
        outcomes = await soon(asyncio.gather(first, *rest))
    assert server.hits == 2
    assert [(outcome.attempts, [record.status for record in outcome.history]) for outcome in outcomes] == [
        (2, [503, 200])
    ] * 3
    assert len({id(record) for outcome in outcomes for record in outcome.history}) == 6
    assert outcomes[0].elapsed - outcomes[2].elapsed > 0.04
    assert outcomes[0].history[0].started >= 0 > outcomes[2].history[0].started


@pytest.mark.parametrize("step", [reply(503), garbage(), redirect("https://elsewhere.example.com/")], ids=str)
async def test_each_waiter_has_its_own_error(server: FaultServer, step: Step) -> None:
    """Each caller gets its own error object, and a note on one is not on the others."""
    gate = hold(step)
    server.script(gate)
    async with coalescing(server) as api:
        tasks = await begun(*(api.run(Call.get("/", key=key)) for key in "ab"))
        gate.release()
        one, two = (outcome.error for outcome in await soon(asyncio.gather(*tasks)))
    assert server.hits == 1
    assert type(one) is type(two)
    assert one is not two
    assert (str(one), one.kind, one.stage, one.retryable) == (str(two), two.kind, two.stage, two.retryable)
    one.add_note("of the first")
    assert not getattr(two, "__notes__", [])
    assert (one.attempts, two.attempts) == (1, 1)
    if getattr(one, "response", None) is not None:
        assert one.response is not two.response


async def test_notes_of_a_shared_error_are_copied(server: FaultServer) -> None:
    """What was noted in the flight stands on each copy, and later notes on one."""

    async def noted(_request: Request, _call_next: Handler) -> Response:
        error = APIError("as the test wants it", kind=ErrorKind.REJECTED)
        error.add_note("of the flight")
        raise error from KeyError("why")

    async with coalescing(server, attempt_middleware=[noted]) as api:
        one, two = await soon(asyncio.gather(failure(api.get("/")), failure(api.get("/"))))
    one.add_note("of the first")
    assert two.__notes__ == ["of the flight"]
    assert isinstance(two.__cause__, KeyError)


class OddError(Exception):
    """Cannot be copied: wants more than it keeps."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one + two)


@pytest.mark.parametrize("bug", [KeyError("a bug"), OddError(1, 2)], ids=["plain", "odd"])
async def test_bug_in_flight_reaches_all(server: FaultServer, bug: Exception) -> None:
    """An unexpected exception is raised unchanged."""

    async def broken(_request: Request, _call_next: Handler) -> Response:
        await asyncio.sleep(0)
        raise bug

    async with coalescing(server, attempt_middleware=[broken]) as api:
        tasks = await begun(*(api.get("/") for _ in range(2)))
        for task in tasks:
            with pytest.raises(type(bug)) as caught:
                await soon(task)
            assert caught.value.args == bug.args


async def test_flight_cancelled_inside_is_an_error(server: FaultServer) -> None:
    """A caller that was not cancelled does not see a ``CancelledError``."""

    async def awaits_the_cancelled(_request: Request, _call_next: Handler) -> Response:
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone
        raise AssertionError

    async with coalescing(server, attempt_middleware=[awaits_the_cancelled]) as api:
        for error in await soon(asyncio.gather(*(failure(api.get("/")) for _ in range(2)))):
            assert isinstance(error, CallCancelledError)
            assert "cancelled from within" in str(error)


async def test_each_waiter_has_its_own_fallback(server: FaultServer) -> None:
    """The flight fails once, and each caller applies its own fallback."""
    gate = hold(reply(503))
    server.script(gate)
    async with coalescing(server) as api:
        tasks = await begun(
            users(api, fallback=Fallback("a")),
            users(api, fallback=Fallback("b")),
            api.run(Call.get("/users", params={"page": 1}, headers={"X-Tenant": "a"})),
        )
        gate.release()
        first, second, third = await soon(asyncio.gather(*tasks))
    assert (first, second, third.kind, server.hits) == ("a", "b", ErrorKind.SERVER_ERROR, 1)


async def test_dropped_waiter_may_have_been_sent(server: FaultServer) -> None:
    """A fan-out drops the call, the server may still act, and the other callers go on."""
    gate = hold(reply(json=1))
    server.route("GET", "/slow", gate)
    async with coalescing(server) as api:
        (other,) = await begun(api.get("/slow"))
        await soon(server.wait_for_hits(1))
        result = await soon(api.gather([Call.get("/slow"), Call.get("/quick")], successes=1))
        gate.release()
        assert (await soon(other)).json() == 1
    dropped = result[0]
    assert isinstance(dropped, Failure)
    assert (dropped.dropped, dropped.attempts, dropped.error.maybe_processed) == (True, 1, True)
    assert dropped.history[0].kind is ErrorKind.CANCELLED


# --- events ---


async def test_events_once_per_call_and_attempt(server: FaultServer) -> None:
    """Followers are reported with the number of waiters, and attempts as they are on the wire."""
    gate = hold(reply())
    server.script(gate)
    events: list[Event] = []
    async with coalescing(server) as api:
        api.subscribe(events.append)
        tasks = await begun(*(users(api) for _ in range(3)))
        gate.release()
        await soon(asyncio.gather(*tasks))
    assert [event.waiters for event in events if isinstance(event, CallCoalesced)] == [2, 3]
    assert sum(isinstance(event, AttemptStarted) for event in events) == server.hits == 1
    assert [event.attempts for event in events if isinstance(event, CallFinished)] == [1, 1, 1]


@pytest.mark.virtual_time
async def test_gather_of_equal_calls_is_one_request(server: FaultServer) -> None:
    """A list with duplicates costs what its distinct calls cost."""
    server.script(reply(json=1, delay=0.02))
    async with coalescing(server) as api:
        result = await soon(api.gather([Call.get(f"/{number % 3}", response_model=int) for number in range(12)]))
    assert result.values == [1] * 12
    assert server.hits == 3
