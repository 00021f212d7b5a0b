"""The upstream in memory: what it answers, what it remembers, and that the client above it is the real one."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from resilient_client import (
    APIClient,
    APIConnectionError,
    APITimeoutError,
    BearerAuth,
    Call,
    CircuitOpenError,
    ConnectionSettings,
    DeadlineExceededError,
    InternalServerError,
    ResponseTooLargeError,
    Retry,
    Timeout,
)
from resilient_client.core.kinds import ErrorKind, Stage
from resilient_client.testing import MockRequest, MockUpstream, fail, faults, reply, run_virtual
from resilient_client.testing.scripted import ScriptedFailure

STEADY = Retry(max_attempts=3, backoff={"kind": "fixed", "initial": 1.0})


def now() -> float:
    return asyncio.get_running_loop().time()


def using(
    upstream: MockUpstream, main: Callable[[APIClient], Awaitable[Any]], base: str = "https://api.example.com", **o: Any
) -> Any:
    """Run ``main`` in virtual time with a client on ``upstream``."""

    async def run() -> Any:
        async with APIClient(base, transport=upstream, **({"retry": STEADY} | o)) as api:
            return await main(api)

    return run_virtual(run())


def scripted(*steps: Any) -> MockUpstream:
    upstream = MockUpstream()
    upstream.script(*steps)
    return upstream


# -- the chain above it is the real one ----------------------------------------------------------------------------


def test_script_of_failures_then_a_reply_is_retried_to_success() -> None:
    """The retry of production runs over the script: three steps, three attempts."""
    upstream = scripted(reply(503), fail("disconnected"), reply(json={"id": 1}))
    response = using(upstream, lambda api: api.get("/"))
    assert (response.json(), response.attempts, upstream.hits) == ({"id": 1}, 3, 3)


def test_script_without_retry_meets_the_first_failure() -> None:
    """The negative control: without retry the first step is the outcome."""
    upstream = scripted(reply(503), reply())
    with pytest.raises(InternalServerError):
        using(upstream, lambda api: api.get("/"), retry=None)
    assert upstream.hits == 1


def test_backoff_between_attempts_takes_virtual_time_only() -> None:
    """The time of each request is that of the loop, so pauses can be asserted exactly."""
    upstream = scripted(reply(503))
    with pytest.raises(InternalServerError):
        using(upstream, lambda api: api.get("/"))
    assert [request.at for request in upstream.requests] == [0.0, 1.0, 2.0]


def test_deadline_during_silence_ends_exactly_on_time() -> None:
    """A silence is ended by the client's own deadline, to the microsecond."""
    upstream = scripted(fail("timeout"))

    async def main(api: APIClient) -> float:
        with pytest.raises(DeadlineExceededError):
            await api.get("/", timeout=Timeout(total=0.5, attempt=None))
        return now()

    assert using(upstream, main) == 0.5


def test_circuit_over_failures_opens_and_spares_the_upstream() -> None:
    """Once the circuit is open, nothing is sent any more."""
    upstream = scripted(reply(503))

    async def main(api: APIClient) -> None:
        for _ in range(50):
            with pytest.raises((InternalServerError, CircuitOpenError)):
                await api.get("/", retry=None)

    using(upstream, main)
    assert upstream.sends == upstream.hits < 50


def test_auth_refreshes_after_a_401_and_sends_the_new_token() -> None:
    """Credentials are applied to each request that is received."""
    tokens = iter(["old", "new"])

    async def provider() -> str:
        return next(tokens)

    upstream = scripted(reply(401), reply())
    using(upstream, lambda api: api.get("/"), auth=BearerAuth(provider))
    assert [request.headers["Authorization"] for request in upstream.requests] == ["Bearer old", "Bearer new"]


def test_redirect_is_followed_within_its_attempt() -> None:
    """A hop is a request of its own, with the number of its attempt."""
    upstream = MockUpstream()
    upstream.route("GET", "/old", reply(302, headers={"Location": "/new"}))
    upstream.route("GET", "/new", reply(text="here"))
    assert using(upstream, lambda api: api.get("/old")).text == "here"
    assert [(request.path, request.attempt) for request in upstream.requests] == [("/old", 1), ("/new", 1)]


def test_reply_decodes_into_the_model() -> None:
    """Models go in by ``json=`` and come out by ``response_model``."""

    @dataclass
    class User:
        id: int

    upstream = scripted(reply(json=[User(1), User(2)]))
    assert using(upstream, lambda api: api.get("/", response_model=list[User])) == [User(1), User(2)]


def test_pool_of_two_bounds_what_the_upstream_sees() -> None:
    """The places of the pool are real, and ``peak`` tells how many requests were there at once."""
    upstream = MockUpstream(connection=ConnectionSettings(pool_size=2))
    upstream.script(reply(delay=1.0))
    using(upstream, lambda api: api.gather(Call.get("/") for _ in range(6)))
    assert (upstream.peak, upstream.hits, upstream.active) == (2, 6, 0)


def test_reply_above_the_size_limit_is_an_error() -> None:
    """The size limit of production applies."""
    upstream = MockUpstream(connection=ConnectionSettings(max_response_size=10))
    upstream.script(reply(content=b"x" * 11))
    with pytest.raises(ResponseTooLargeError):
        using(upstream, lambda api: api.get("/"))


def test_stale_connection_is_repeated_at_once() -> None:
    """A stale connection is nobody's fault: repeated without a pause, where a fresh one would wait."""
    upstream = scripted(fail("disconnected", reused=True), fail("disconnected"), reply())
    using(upstream, lambda api: api.get("/"))
    assert [request.at for request in upstream.requests] == [0.0, 0.0, 1.0]


def test_upstream_shared_by_clients_on_several_loops_goes_on() -> None:
    """An upstream outlives clients and loops: the script goes on where it was."""
    upstream = scripted(reply(201), reply(202))
    statuses = [using(upstream, lambda api: api.get("/")).status for _ in range(3)]
    assert statuses == [201, 202, 202]


# -- bodies of requests --------------------------------------------------------------------------------------------


async def _pieces() -> Any:
    yield b"pie"
    yield b"ces"


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({"json": {"a": 1}}, b'{"a":1}'),
        ({"content": b"bytes"}, b"bytes"),
        ({"content": "text"}, b"text"),
        ({"content": b"x" * 200_000}, b"x" * 200_000),
        ({"data": {"a": "1"}}, b"a=1"),
        ({"content": io.BytesIO(b"file")}, b"file"),
        ({"content": [b"it", b"er"]}, b"iter"),
        ({"content": _pieces}, b"pieces"),
        ({}, b""),
    ],
    ids=["json", "bytes", "text", "large", "form", "file", "iterable", "factory", "none"],
)
def test_request_body_of_any_kind_arrives_whole_each_time(options: dict[str, Any], body: bytes) -> None:
    """Every kind of body is received as bytes, by the repeat as by the first attempt."""
    upstream = scripted(reply(503), reply())
    using(upstream, lambda api: api.put("/", **options))
    assert [request.body for request in upstream.requests] == [body, body]


def test_request_body_from_a_path_arrives_whole(tmp_path: Path) -> None:
    """A file named by its path is read for each attempt."""
    path = tmp_path / "upload"
    path.write_bytes(b"from disk")
    upstream = scripted(reply(503), reply())
    using(upstream, lambda api: api.put("/", content=path))
    assert [request.body for request in upstream.requests] == [b"from disk"] * 2


def test_request_body_multipart_carries_its_boundary() -> None:
    """Parts arrive encoded, under the boundary that the header names."""
    upstream = scripted(reply())
    using(upstream, lambda api: api.post("/", data={"note": "hi"}, files={"file": ("a.txt", b"hello", "text/plain")}))
    [request] = upstream.requests
    boundary = request.headers["Content-Type"].removeprefix("multipart/form-data; boundary=").encode()
    assert request.body.count(b"--" + boundary) == 3
    assert b'filename="a.txt"' in request.body


def test_request_body_one_shot_is_never_sent_twice() -> None:
    """What can be produced once is spent by the first attempt; there is no second."""
    upstream = scripted(reply(503), reply())
    with pytest.raises(InternalServerError):
        using(upstream, lambda api: api.put("/", content=iter([b"once"])))
    assert [request.body for request in upstream.requests] == [b"once"]


def test_request_body_one_shot_survives_a_refused_connection() -> None:
    """What was never sent is not spent."""
    upstream = scripted(fail("connect"), reply())
    using(upstream, lambda api: api.put("/", content=iter([b"once"])))
    assert ([request.body for request in upstream.requests], upstream.sends) == ([b"once"], 2)


# -- replies -------------------------------------------------------------------------------------------------------


def test_reply_in_pieces_streams_with_its_silences() -> None:
    """Pieces come one by one, and a number is a silence of that many seconds."""
    upstream = scripted(reply(content=[b"a", 2.0, b"b"]))

    async def main(api: APIClient) -> list[tuple[bytes, float]]:
        async with api.stream("GET", "/") as stream:
            return [(piece, now()) async for piece in stream.iter_bytes()]

    assert using(upstream, main) == [(b"a", 0.0), (b"b", 2.0)]


def test_reply_in_pieces_without_streaming_is_one_body() -> None:
    """The same reply, read by a plain call, is whole after its silences."""
    upstream = scripted(reply(content=[b"a", 2.0, b"b"]))
    assert using(upstream, lambda api: api.get("/")).content == b"ab"


def test_reply_silent_for_longer_than_idle_is_a_timeout() -> None:
    """The idle timeout runs in memory as on a socket."""
    upstream = scripted(reply(content=[b"a", 2.0, b"b"]))
    with pytest.raises(APITimeoutError, match="silent for idle=1 s in stage body"):
        using(upstream, lambda api: api.get("/"), retry=None, timeout=Timeout(idle=1))


def test_reply_delay_takes_that_long() -> None:
    """``delay`` stands before the head of the reply."""
    upstream = scripted(reply(delay=3.0))

    async def main(api: APIClient) -> float:
        await api.get("/")
        return now()

    assert using(upstream, main) == 3.0


def test_failure_delay_takes_that_long() -> None:
    """``delay`` stands before the failure, too."""
    upstream = scripted(fail("connect", delay=3.0))

    async def main(api: APIClient) -> float:
        with pytest.raises(APIConnectionError):
            await api.get("/", retry=None)
        return now()

    assert using(upstream, main) == 3.0


@pytest.mark.parametrize(
    ("failure", "kind", "stage", "maybe_processed"),
    [
        (fail("dns"), ErrorKind.DNS, Stage.DNS, False),
        (fail("pool"), ErrorKind.POOL, Stage.POOL, False),
        (fail("timeout", stage="dns"), ErrorKind.TIMEOUT, Stage.DNS, False),
        (fail("timeout", stage="send"), ErrorKind.TIMEOUT, Stage.SEND, True),
        (fail("timeout", stage="body"), ErrorKind.TIMEOUT, Stage.BODY, True),
        (fail("disconnected", stage="send"), ErrorKind.DISCONNECTED, Stage.SEND, True),
        (fail("protocol", stage="body"), ErrorKind.PROTOCOL, Stage.BODY, True),
    ],
    ids=lambda value: f"{value!r}" if isinstance(value, ScriptedFailure) else None,
)
def test_failure_at_a_stage_is_met_as_that(
    failure: ScriptedFailure, kind: ErrorKind, stage: Stage, maybe_processed: bool
) -> None:
    """What the contract cannot bring about on a loopback socket has the facts of its kind and stage, too."""
    with pytest.raises(APIConnectionError) as caught:
        using(scripted(failure), lambda api: api.get("/"), retry=None)
    error = caught.value
    assert (error.kind, error.stage, error.maybe_processed) == (kind, stage, maybe_processed)
    assert error.history[0].sent is maybe_processed


@pytest.mark.parametrize("wrap", [False, True], ids=["function", "async function"])
def test_function_as_a_step_answers_by_the_request(wrap: bool) -> None:
    """A step may be a function of the request, plain or async."""

    def plain(request: MockRequest) -> Any:
        return reply(json={"id": request.path_params["id"], "page": request.query["page"]})

    async def later(request: MockRequest) -> Any:
        return plain(request)

    upstream = MockUpstream()
    upstream.route("GET", "/users/{id}", later if wrap else plain)
    response = using(upstream, lambda api: api.get("/users/{id}", path_params={"id": "a/b"}, params={"page": 2}))
    assert response.json() == {"id": "a/b", "page": "2"}


def test_function_that_waits_holds_the_request_at_the_upstream() -> None:
    """While an async step waits, the client is in stage headers: the request was received."""

    async def never(_request: MockRequest) -> Any:
        await asyncio.Event().wait()

    with pytest.raises(APITimeoutError, match="stage headers"):
        using(scripted(never), lambda api: api.get("/", retry=None))


def test_function_that_fails_its_assertion_fails_the_test() -> None:
    """An assertion in a step comes out of the call as it is."""

    def check(request: MockRequest) -> Any:
        assert request.json() == {"a": 2}, "not what was agreed"
        return reply()

    with pytest.raises(AssertionError, match="not what was agreed"):
        using(scripted(check), lambda api: api.post("/", json={"a": 1}))


@pytest.mark.parametrize(
    ("answer", "error"), [(200, TypeError), (None, TypeError), (fail("dns"), ValueError)], ids=["int", "None", "dns"]
)
def test_function_with_an_impossible_answer_is_told_so(answer: Any, error: type[Exception]) -> None:
    """A function returns a reply or a failure that can still happen; anything else is an error with the remedy."""
    with pytest.raises(error, match="a step of the MockUpstream returned"):
        using(scripted(lambda _request: answer), lambda api: api.get("/"))


# -- routes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/users/me", "literal"),
        ("/users/7", "one name"),
        ("/users/7/pets", "script"),
        ("/users/a%2Fb", "one name"),
        ("/files/x.json", "inside"),
        ("/caf%C3%A9", "encoded"),
    ],
)
def test_route_that_fits_best_answers(path: str, answer: str) -> None:
    """The route with the fewest names wins, a name stands for one segment, and the script takes the rest."""
    upstream = scripted(reply(text="script"))
    upstream.route("GET", "/users/{id}", reply(text="one name"))
    upstream.route("GET", "/users/me", reply(text="literal"))
    upstream.route("GET", "/files/{name}.json", reply(text="inside"))
    upstream.route("get", "/café", reply(text="encoded"))
    assert using(upstream, lambda api: api.get(path)).text == answer


def test_route_under_a_base_path_is_the_path_on_the_wire() -> None:
    """A route sees what the upstream would see, base path included."""
    upstream = MockUpstream()
    upstream.route("GET", "/v1/users", reply(text="yes"))
    assert using(upstream, lambda api: api.get("/users"), "https://api.example.com/v1").text == "yes"


def test_request_without_a_script_names_what_is_scripted() -> None:
    """Nothing is answered by default; the error says what is."""
    upstream = MockUpstream()
    upstream.route("GET", "/users/{id}", reply())
    with pytest.raises(AssertionError, match=r"scripted for POST /users/1; scripted is: GET /users/\{id\}$"):
        using(upstream, lambda api: api.post("/users/1"))


# -- what it holds the test to -------------------------------------------------------------------------------------


def test_assert_all_used_with_a_step_left_names_it() -> None:
    """A step that never answered is named."""
    upstream = scripted(reply(503), fail("dns"), reply(201))
    using(upstream, lambda api: api.get("/", raise_for_status=False), retry=None)
    with pytest.raises(AssertionError, match=r"the script has not used fail\('dns'\); .* reply\(201\)"):
        upstream.assert_all_used()


def test_assert_all_used_after_the_last_step_is_content() -> None:
    """Every step has answered, the last one twice."""
    upstream = scripted(reply(503), reply())
    using(upstream, lambda api: api.gather(Call.get("/") for _ in range(2)))
    upstream.assert_all_used()


def test_assert_all_used_tells_of_requests_that_a_fan_out_swallowed() -> None:
    """``gather`` makes outcomes of errors, so an unscripted request is told of once more here."""
    upstream = MockUpstream()
    using(upstream, lambda api: api.gather([Call.get("/nowhere")]))
    with pytest.raises(AssertionError, match="nothing is scripted for GET /nowhere"):
        upstream.assert_all_used()


def test_assert_called_gives_the_requests() -> None:
    """The requests that fit are handed over, to look into."""
    upstream = scripted(reply())
    using(upstream, lambda api: api.post("/orders/7", json={"n": 1}))
    [order] = upstream.assert_called("POST", "/orders/{id}", times=1)
    assert order.json() == {"n": 1}


@pytest.mark.parametrize(("method", "times"), [("GET", None), ("POST", 2), ("POST", 0)])
def test_assert_called_otherwise_lists_what_was_received(method: str, times: int | None) -> None:
    """The message holds what was expected and all that came."""
    upstream = scripted(reply())
    using(upstream, lambda api: api.post("/orders"))
    with pytest.raises(AssertionError, match=r"(?s)expected .* of \w+ /orders, received \d.*  POST /orders"):
        upstream.assert_called(method, "/orders", times=times)


async def test_wait_for_hits_wakes_on_arrival() -> None:
    """A test can wait for a request to be in the hands of the upstream."""
    upstream = scripted(fail("timeout"))
    async with APIClient("https://api.example.com", transport=upstream) as api, asyncio.timeout(5):
        call = asyncio.create_task(api.get("/"))
        await upstream.wait_for_hits(1)
        assert upstream.active == 1
        call.cancel()
        await asyncio.wait((call,))
    assert upstream.active == 0


# -- what cannot be scripted ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fail("disconnect"), "give one of dns, connect"),  # type: ignore[arg-type]
        (lambda: fail("server_error"), r"or a reply\(\)"),  # type: ignore[arg-type]
        (lambda: fail("dns", stage="body"), "cannot strike at stage body; it can at dns"),
        (lambda: reply(100), "must be a final one"),
        (lambda: reply(content=[fail("dns")]), "cannot strike at stage body"),
        (lambda: MockUpstream().script(), "at least one step"),
        (lambda: MockUpstream().route("GET", "users", reply()), "a route is a path"),
        (lambda: MockUpstream().route("GET", "/users?page=1", reply()), "a route is a path"),
    ],
)
def test_step_that_cannot_be_is_refused_with_the_remedy(make: Callable[[], object], message: str) -> None:
    """What cannot happen on a network cannot be scripted; the error says what can."""
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("step", [faults.drop(), faults.hold(), 503, MockRequest], ids=["fault", "hold", "int", "type"])
def test_step_of_another_kind_is_refused(step: Any) -> None:
    """A fault of the ``FaultServer`` is no step here, and the error says so at once."""
    with pytest.raises(TypeError, match=r"give reply\(...\), fail\(...\) or a function"):
        MockUpstream().script(step)
