"""A fallback replaces an error of the kinds it names, and the failure still counts as a failure."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel
from tests.behaviour.support import client, failure, soon, with_server

from resilient_client import (
    APIClient,
    APIError,
    Call,
    CircuitBreaker,
    Endpoint,
    ErrorKind,
    Failure,
    Fallback,
    Handler,
    InvalidRequestError,
    Request,
    Response,
    Retry,
    RetryBudget,
    Success,
    Timeout,
)
from resilient_client._settings.fallback import NO_ANSWER
from resilient_client.events import CallFailed, CallFinished, Event, FallbackUsed
from resilient_client.testing import refused_url
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._wire import Step
from resilient_client.testing.faults import drop, garbage, hang_before_headers, hold, redirect, reply

pytestmark = pytest.mark.one_loop

VALUE = {"from": "here"}


class User(BaseModel):
    id: int


def used(events: list[Event]) -> list[tuple[ErrorKind, bool, str]]:
    return [(event.kind, event.ok, event.detail) for event in events if isinstance(event, FallbackUsed)]


# --- for which errors ---


def fails_with(kind: ErrorKind) -> Any:
    async def fail(_request: Request, _call_next: Handler) -> Response:
        raise APIError("as the test wants it", kind=kind)

    return fail


@pytest.mark.parametrize("kind", ErrorKind)
async def test_default_kinds_only(kind: ErrorKind) -> None:
    """Every kind either gives the value or raises, as the set of defaults says."""
    async with APIClient("http://127.0.0.1", attempt_middleware=[fails_with(kind)], fallback=Fallback(VALUE)) as api:
        if kind in NO_ANSWER:
            assert await soon(api.get("/")) is VALUE
        else:
            assert (await failure(api.get("/"))).kind is kind


@pytest.mark.parametrize("kind", ErrorKind)
async def test_named_kind_only(kind: ErrorKind) -> None:
    """Exactly the named kinds are replaced."""
    other = ErrorKind.TLS if kind is not ErrorKind.TLS else ErrorKind.DNS
    async with APIClient("http://127.0.0.1", attempt_middleware=[fails_with(kind)], retry=None) as api:
        assert await soon(api.get("/", fallback=Fallback(VALUE, kinds={kind}))) is VALUE
        assert (await failure(api.get("/", fallback=Fallback(VALUE, kinds={other})))).kind is kind


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (hang_before_headers(), ErrorKind.TIMEOUT),
        (drop(), ErrorKind.DISCONNECTED),
        (garbage(), ErrorKind.PROTOCOL),
        (reply(503), ErrorKind.SERVER_ERROR),
        (reply(429), ErrorKind.THROTTLED),
    ],
    ids=str,
)
@pytest.mark.virtual_time
async def test_fallback_for_server_failures(server: FaultServer, step: Step, kind: ErrorKind) -> None:
    """Each failure of the server is replaced by the value, and the outcome names the error."""
    server.script(step)
    limits = Timeout(total=5, attempt=0.1)
    async with client(server, timeout=limits, circuit_breaker=None, fallback=Fallback(VALUE)) as api:
        outcome = await soon(api.run(Call.get("/")))
    assert isinstance(outcome, Success)
    assert outcome.value is VALUE
    assert outcome.replaced is not None
    assert outcome.replaced.kind is kind


async def test_fallback_for_refused_connection() -> None:
    """A refused connection is replaced."""
    async with client(refused_url(), fallback=Fallback(VALUE)) as api:
        assert await soon(api.get("/")) is VALUE


async def test_fallback_for_open_circuit(server: FaultServer) -> None:
    """The failures behind fallbacks open the circuit, and its refusals are covered, too."""
    server.script(reply(503))
    async with client(server, circuit_breaker=CircuitBreaker(minimum_calls=2), fallback=Fallback(VALUE)) as api:
        for _ in range(5):
            assert await soon(api.get("/")) is VALUE
    assert server.hits == 2


@pytest.mark.parametrize("step", [reply(404), reply(302, headers={"Location": "https://elsewhere.example.com/"})])
async def test_fallback_hides_no_mistake(server: FaultServer, step: Step) -> None:
    """A 404 or a redirect to elsewhere is an answer about the call: it comes through."""
    server.script(step)
    async with client(server, fallback=Fallback(VALUE)) as api:
        assert (await failure(api.get("/"))).kind in {ErrorKind.CLIENT_ERROR, ErrorKind.REDIRECT}


async def test_fallback_for_invalid_response(server: FaultServer) -> None:
    """It stands around the decoding: a body that does not fit is covered when named, and only then."""
    server.script(reply(json={"id": "no number"}))
    covering = Fallback(User(id=0), kinds={ErrorKind.INVALID_RESPONSE})
    async with client(server) as api:
        user = await soon(api.get("/", response_model=User, fallback=covering))
        assert user == User(id=0)
        error = await failure(api.get("/", response_model=User, fallback=Fallback(User(id=0))))
    assert error.kind is ErrorKind.INVALID_RESPONSE


async def test_no_fallback_if_status_does_not_raise(server: FaultServer) -> None:
    """With ``raise_for_status=False`` the reply itself is returned."""
    server.script(reply(503))
    async with client(server, fallback=Fallback(VALUE), raise_for_status=False) as api:
        assert (await soon(api.get("/"))).status == 503


async def test_fallback_hides_no_bug(server: FaultServer) -> None:
    """An unexpected exception is raised unchanged, even if all kinds are named."""

    async def broken(_request: Request, _call_next: Handler) -> Response:
        raise KeyError("a bug")

    async with client(server, middleware=[broken], fallback=Fallback(VALUE, kinds=ErrorKind)) as api:
        with pytest.raises(KeyError):
            await api.get("/")
        assert isinstance(await api.run(Call.get("/")), Failure)


async def test_no_fallback_for_invalid_call(server: FaultServer) -> None:
    """What is wrong with the call itself is raised before anything is tried, also where all kinds are named."""
    async with client(server, fallback=Fallback(VALUE, kinds=ErrorKind)) as api:
        assert isinstance(await failure(api.get("/{id}")), InvalidRequestError)
    assert server.hits == 0


# --- in what form ---


async def test_fallback_value_is_given_as_it_is(server: FaultServer) -> None:
    """The same object is returned each time, neither copied nor decoded, for any model."""
    server.script(reply(503))
    async with client(server, fallback=Fallback(VALUE)) as api:
        assert await soon(api.get("/", response_model=User)) is VALUE
        assert await soon(api.get("/")) is VALUE


async def test_fallback_function_gets_the_error(server: FaultServer) -> None:
    """The function gets the complete error with its attempts and history."""
    server.script(reply(503))
    async with client(server, retry=Retry(max_attempts=2, backoff="fixed", statuses={503})) as api:
        value = await soon(api.get("/", fallback=Fallback(lambda error: (error.kind, error.attempts, error.history))))
    assert value[:2] == (ErrorKind.SERVER_ERROR, 2)  # type: ignore[index]  # a tuple in place of a Response
    assert len(value[2]) == 2  # type: ignore[index]  # as above


@pytest.mark.parametrize("awaitable", ["async function", "a function that gives a task"])
async def test_fallback_function_may_be_async(server: FaultServer, awaitable: str) -> None:
    """The result of an awaitable is the value."""
    server.script(reply(503))

    async def ask(error: APIError) -> str:
        await asyncio.sleep(0)
        return f"in place of {error.kind}"

    source = ask if awaitable == "async function" else lambda error: asyncio.ensure_future(ask(error))
    async with client(server, fallback=Fallback(source)) as api:
        assert await soon(api.get("/")) == "in place of server_error"


async def test_fallback_call_replaces_failed_call(server: FaultServer) -> None:
    """Another call of the same client is made, and its reply is marked as a fallback."""
    server.route("GET", "/", reply(503))
    server.route("GET", "/backup", reply(json={"id": 7}))
    async with client(server, headers={"X-Mine": "yes"}, fallback=Fallback(Call.get("/backup"))) as api:
        answer = await soon(api.get("/"))
        plain = await soon(api.get("/backup"))
    assert (answer.json(), answer.from_fallback) == ({"id": 7}, True)
    assert plain.from_fallback is False
    assert server.requests[1].headers["X-Mine"] == "yes"
    assert pickle.loads(pickle.dumps(answer)).from_fallback is True  # noqa: S301 -- our own bytes


async def test_fallback_call_uses_its_client(server: FaultServer) -> None:
    """The backup may be another service, with its own limits and credentials."""
    server.script(reply(json=1))
    async with client(server, headers={"X-Backup": "yes"}) as backup, client(refused_url()) as api:
        fallback = Fallback(Call.get("/", client=backup))
        assert await soon(api.get("/", response_model=int, fallback=fallback)) == 1
    assert server.requests[0].headers["X-Backup"] == "yes"


@pytest.mark.parametrize("own", [None, dict[str, int]])
async def test_fallback_call_inherits_model(server: FaultServer, own: object) -> None:
    """One generic fallback serves calls of any type. Its own model has precedence."""
    server.route("GET", "/", reply(503))
    server.route("GET", "/backup", reply(json={"id": 7}))
    backup: Call[Any] = Call.get("/backup", response_model=own)
    async with client(server, fallback=Fallback(backup)) as api:
        assert await soon(api.get("/", response_model=User)) == (User(id=7) if own is None else {"id": 7})


# --- where it is set ---


async def test_fallback_precedence(server: FaultServer) -> None:
    """The nearest wins, and ``None`` is a word like any other: the error is raised."""
    server.script(reply(503))
    async with client(server, fallback=Fallback("client"), circuit_breaker=None) as api:
        view = api.with_options(fallback=Fallback("view"))
        bare = api.with_options(fallback=None)
        assert [await api.get("/"), await view.get("/")] == ["client", "view"]
        assert await view.get("/", fallback=Fallback("call")) == "call"
        assert await bare.get("/", fallback=Fallback("call")) == "call"
        for call in (bare.get("/"), api.get("/", fallback=None)):
            assert (await failure(call)).kind is ErrorKind.SERVER_ERROR


async def test_invalid_fallback_refused(server: FaultServer) -> None:
    """A bare value would leave it open whether it is one: the error says how to write it."""
    async with client(server) as api:
        error = await failure(api.get("/", fallback=[]))  # type: ignore[arg-type]  # the point
    assert isinstance(error, InvalidRequestError)
    assert "fallback is of type list; give Fallback(...), or None" in str(error)
    assert server.hits == 0


async def test_fallback_is_not_for_streams(server: FaultServer) -> None:
    """It is refused as an option of a stream, and ignored as a setting of the client."""
    server.script(reply(503))
    async with client(server, fallback=Fallback(VALUE)) as api:
        with pytest.raises(InvalidRequestError, match="a stream takes no fallback"):
            async with api.stream("GET", "/", fallback=Fallback(VALUE)):
                pass
        assert server.hits == 0
        with pytest.raises(APIError, match="503"):
            async with api.stream("GET", "/"):
                pass


def test_fallback_is_explained() -> None:
    """``explain`` shows the fallback of a call, and the layer that set it."""
    api = APIClient("http://127.0.0.1", fallback=Fallback([]))
    text = str(api.explain("GET", "/"))
    assert "  call         fallback\n" in text
    assert "fallback                            client   <Fallback to a list>" in text
    assert "  call         fallback" not in str(api.explain("GET", "/", fallback=None))


# --- what it does not change ---


async def test_success_ignores_fallback(server: FaultServer) -> None:
    """No error, no fallback, no event."""
    asked: list[APIError] = []
    events: list[Event] = []
    async with client(server, fallback=Fallback(asked.append)) as api:
        api.subscribe(events.append)
        outcome = await api.run(Call.get("/"))
    assert (outcome.ok, outcome.from_fallback, asked, used(events)) == (True, False, [], [])


async def test_replaced_failure_still_counts(server: FaultServer) -> None:
    """A fallback mends the caller's day, not the statistics."""
    server.script(reply(503))
    events: list[Event] = []
    retry = Retry(max_attempts=4, backoff="fixed")
    budget = RetryBudget(initial=1, burst=1, min_per_second=0, max_extra_load=0)
    async with client(server, retry=retry, retry_budget=budget, fallback=Fallback(VALUE)) as api:
        api.subscribe(events.append)
        outcome = await soon(api.run(Call.get("/")))
        circuit = api.circuits[Endpoint("http", "127.0.0.1", server.port)]
        assert circuit.failure_ratio(asyncio.get_running_loop().time()) == 1.0
    assert (server.hits, outcome.attempts, len(outcome.history)) == (2, 2, 2)
    reported = [event for event in events if isinstance(event, CallFinished | FallbackUsed)]
    assert [type(event) for event in reported] == [CallFailed, FallbackUsed]
    assert reported[0].kind is ErrorKind.SERVER_ERROR
    assert used(events) == [(ErrorKind.SERVER_ERROR, True, "")]


async def test_gather_tells_fallbacks_from_answers(server: FaultServer) -> None:
    """Each outcome says whether its value is a fallback and what it replaced. Other failures fail."""
    server.route("GET", "/good", reply(json=1))
    server.route("GET", "/bad", reply(503))
    server.route("GET", "/none", reply(404))
    async with client(server, fallback=Fallback(0)) as api:
        result = await soon(api.gather([Call.get(f"/{name}", response_model=int) for name in ("good", "bad", "none")]))
    good, bad, none = result
    assert (good.ok, good.from_fallback) == (True, False)
    assert isinstance(bad, Success)
    assert (bad.value, bad.from_fallback, bad.attempts) == (0, True, 1)
    assert bad.replaced is not None
    assert "503" in str(bad.replaced)
    assert "a fallback for server_error" in repr(bad)
    assert (none.ok, none.from_fallback) == (False, False)
    assert result.values == [1, 0]


# --- time ---


@pytest.mark.virtual_time
async def test_async_fallback_ends_at_deadline(server: FaultServer) -> None:
    """A fallback has the remaining time. After it the original error is raised and says so."""
    server.script(reply(503))
    ended: list[str] = []

    async def hangs(_error: APIError) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    async with client(server, timeout=0.2, fallback=Fallback(hangs)) as api:
        error = await failure(api.get("/"))
    assert error.kind is ErrorKind.SERVER_ERROR
    assert str(error).endswith("its fallback failed: no time was left for it")
    assert ended == ["ended"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.virtual_time
async def test_calls_in_fallback_end_at_deadline(server: FaultServer) -> None:
    """Calls of a fallback end with the call it stands in for, with any timeout of their own."""
    server.route("GET", "/", reply(503))
    server.route("GET", "/backup", hang_before_headers())
    async with client(server) as api, client(server) as other:
        for source in (Call.get("/backup", timeout=60), lambda _error: other.get("/backup", timeout=60)):
            error = await failure(api.get("/", timeout=0.2, fallback=Fallback(source)))
            assert error.kind is ErrorKind.SERVER_ERROR
            assert isinstance(error.__context__, APIError)
            assert error.__context__.kind is ErrorKind.DEADLINE


def test_fallback_after_deadline() -> None:
    """After the deadline a value or a plain function still serves. Nothing is awaited and nothing is sent."""
    begun: list[str] = []

    async def ask(_error: APIError) -> None:
        begun.append("async")

    async def scenario(server: FaultServer) -> None:
        server.script(hang_before_headers())
        async with client(server, timeout=0.05) as api:
            assert await api.get("/", fallback=Fallback(VALUE)) is VALUE
            assert await api.get("/", fallback=Fallback(lambda error: error.kind)) is ErrorKind.DEADLINE
            for late in (ask, lambda error: asyncio.ensure_future(ask(error)), Call.get("/backup")):
                error = await failure(api.get("/", fallback=Fallback(late)))
                assert error.kind is ErrorKind.DEADLINE
                assert "no time was left for it" in str(error)
        assert begun == []
        assert [request.path for request in server.requests] == ["/"] * 5

    with_server(scenario)


async def test_cancellation_passes_fallback(server: FaultServer) -> None:
    """A caller that is cancelled during its fallback sees the cancellation, and nothing goes on."""
    server.script(reply(503))
    begun = asyncio.Event()

    async def hangs(_error: APIError) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with client(server, fallback=Fallback(hangs)) as api:
        task = asyncio.create_task(api.run(Call.get("/")))
        await soon(begun.wait())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.virtual_time
async def test_call_dropped_in_its_fallback(server: FaultServer) -> None:
    """A fan-out that drops it says what was sent, as for any call."""
    server.route("GET", "/bad", reply(503))
    server.route("GET", "/good", reply(delay=0.05))

    async def hangs(_error: APIError) -> None:
        await asyncio.Event().wait()

    async with client(server, fallback=Fallback(hangs)) as api:
        result = await soon(api.gather([Call.get("/bad"), Call.get("/good")], successes=1))
    dropped = result[0]
    assert isinstance(dropped, Failure)
    assert (dropped.dropped, dropped.attempts, dropped.error.maybe_processed) == (True, 1, True)


# --- when it fails ---


async def test_failed_fallback_raises_original_error(server: FaultServer) -> None:
    """The error of the call is raised and names the failed fallback, without foreign text."""
    server.script(reply(503))
    events: list[Event] = []

    def lookup(_error: APIError) -> object:
        raise LookupError("s3cret")

    async with client(server, fallback=Fallback(lookup)) as api:
        api.subscribe(events.append)
        error = await failure(api.get("/"))
    assert error.kind is ErrorKind.SERVER_ERROR
    assert str(error).endswith("503 Service Unavailable; its fallback failed: LookupError")
    assert isinstance(error.__context__, LookupError)
    assert error.__cause__ is None
    assert used(events) == [(ErrorKind.SERVER_ERROR, False, "LookupError")]


async def test_failed_fallback_call_is_reported(server: FaultServer) -> None:
    """Our own errors hold no secrets, so the message has both."""
    server.route("GET", "/", reply(503))
    server.route("GET", "/backup", reply(404))
    async with client(server, fallback=Fallback(Call.get("/backup"))) as api:
        error = await failure(api.get("/"))
    assert "503" in str(error)
    assert f"its fallback failed: GET {server.url}/backup: the server answered 404" in str(error)


async def test_fallback_may_return_the_error(server: FaultServer) -> None:
    """A function that raises what it was given declines: the error is as if there were no fallback."""
    server.script(reply(503))

    def decline(error: APIError) -> object:
        raise error

    async with client(server, fallback=Fallback(decline)) as api:
        error = await failure(api.get("/"))
    assert str(error).endswith("503 Service Unavailable")
    assert error.__context__ is None


async def test_unfitting_fallback_reply_fails(server: FaultServer) -> None:
    """A fallback reply that does not fit the model is a failed fallback."""
    server.route("GET", "/", reply(503))
    server.route("GET", "/backup", reply(json=[]))
    async with client(server, fallback=Fallback(Call.get("/backup"))) as api:
        error = await failure(api.get("/", response_model=User))
    assert error.kind is ErrorKind.SERVER_ERROR
    assert "its fallback failed: the body of the reply 200" in str(error)


# --- no loops ---


def again(api: list[APIClient]) -> Callable[[APIError], Any]:
    return lambda _error: api[0].get("/backup")


@pytest.mark.parametrize("form", ["call", "function"])
async def test_fallback_is_not_nested(server: FaultServer, form: str) -> None:
    """A client whose upstream is dead asks its backup once: two requests, not a storm until the deadline."""
    server.script(reply(503))
    made: list[APIClient] = []
    source = Call.get("/backup") if form == "call" else again(made)
    async with client(server, fallback=Fallback(source), circuit_breaker=None) as api:
        made.append(api.with_options(headers={"X-View": "of the same client"}))
        await failure(api.get("/"))
        assert server.hits == 2
        await failure(api.get("/"))
    assert server.hits == 4


async def test_explicit_nested_fallback_is_used(server: FaultServer) -> None:
    """Only implicit fallbacks are left out inside a fallback. A chain may be written explicitly."""
    server.script(reply(503))

    async def second(_error: APIError) -> object:
        return await api.get("/second", fallback=Fallback("the last resort"))

    async with client(server, fallback=Fallback(second), circuit_breaker=None) as api:
        assert await soon(api.get("/")) == "the last resort"
    assert server.hits == 2


async def test_fallback_of_other_client_is_used(server: FaultServer) -> None:
    """The backup service's client keeps its own."""
    server.script(reply(503))
    async with (
        client(server, fallback=Fallback("of the other")) as other,
        client(server, fallback=Fallback(lambda _error: other.get("/other"))) as api,
    ):
        assert await soon(api.get("/")) == "of the other"


async def test_concurrent_fallbacks_do_not_mix(server: FaultServer) -> None:
    """Each call's function gets its own error, at the same time."""
    gate = hold(reply(503))
    server.script(gate)
    async with client(server, fallback=Fallback(lambda error: error.request.route)) as api:
        tasks = [asyncio.create_task(api.get(f"/{number}")) for number in range(20)]
        await soon(server.wait_for_hits(20))
        gate.release()
        assert await soon(asyncio.gather(*tasks)) == [f"/{number}" for number in range(20)]


async def test_redirected_fallback_call_counts(server: FaultServer) -> None:
    """The Call of a fallback goes through the whole chain, redirects included."""
    server.route("GET", "/", reply(503))
    server.route("GET", "/backup", redirect("/moved"))
    server.route("GET", "/moved", reply(json=1))
    async with client(server, fallback=Fallback(Call.get("/backup"))) as api:
        assert await soon(api.get("/", response_model=int)) == 1
