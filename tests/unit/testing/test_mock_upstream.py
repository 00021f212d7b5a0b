"""The upstream in memory: the client above it works as in production, and its requests arrive."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.unit.testing.support import now, scripted, using

from resilient_client import (
    APIClient,
    BearerAuth,
    Call,
    CircuitOpenError,
    ConnectionSettings,
    DeadlineExceededError,
    InternalServerError,
    ResponseTooLargeError,
    Timeout,
)
from resilient_client.testing import MockUpstream, fail, reply

# -- the client above it -------------------------------------------------------------------------------------------


def test_script_of_failures_then_a_reply_is_retried_to_success() -> None:
    """Three attempts take three steps of the script."""
    upstream = scripted(reply(503), fail("disconnected"), reply(json={"id": 1}))
    response = using(upstream, lambda api: api.get("/"))
    assert (response.json(), response.attempts, upstream.hits) == ({"id": 1}, 3, 3)


def test_script_without_retry_raises_the_first_failure() -> None:
    """Negative control: without retry the first step is the outcome."""
    upstream = scripted(reply(503), reply())
    with pytest.raises(InternalServerError):
        using(upstream, lambda api: api.get("/"), retry=None)
    assert upstream.hits == 1


def test_backoff_between_attempts_takes_virtual_time_only() -> None:
    """The time of each request is the loop's time, so pauses can be asserted exactly."""
    upstream = scripted(reply(503))
    with pytest.raises(InternalServerError):
        using(upstream, lambda api: api.get("/"))
    assert [request.at for request in upstream.requests] == [0.0, 1.0, 2.0]


def test_deadline_during_silence_ends_exactly_on_time() -> None:
    """The client's deadline ends a silence at its exact time."""
    upstream = scripted(fail("timeout"))

    async def main(api: APIClient) -> float:
        with pytest.raises(DeadlineExceededError):
            await api.get("/", timeout=Timeout(total=0.5, attempt=None))
        return now()

    assert using(upstream, main) == 0.5


def test_open_circuit_sends_nothing() -> None:
    """Once the circuit is open, no request is sent."""
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
    """A redirect hop is a separate request with the number of its attempt."""
    upstream = MockUpstream()
    upstream.route("GET", "/old", reply(302, headers={"Location": "/new"}))
    upstream.route("GET", "/new", reply(text="here"))
    assert using(upstream, lambda api: api.get("/old")).text == "here"
    assert [(request.path, request.attempt) for request in upstream.requests] == [("/old", 1), ("/new", 1)]


def test_reply_decodes_into_the_model() -> None:
    """``json=`` encodes models, and ``response_model`` decodes them."""

    @dataclass
    class User:
        id: int

    upstream = scripted(reply(json=[User(1), User(2)]))
    assert using(upstream, lambda api: api.get("/", response_model=list[User])) == [User(1), User(2)]


def test_pool_size_bounds_concurrent_requests() -> None:
    """The pool has its production limit, and ``peak`` is the highest number of concurrent requests."""
    upstream = MockUpstream(connection=ConnectionSettings(pool_size=2))
    upstream.script(reply(delay=1.0))
    using(upstream, lambda api: api.gather(Call.get("/") for _ in range(6)))
    assert (upstream.peak, upstream.hits, upstream.active) == (2, 6, 0)


def test_reply_above_the_size_limit_is_an_error() -> None:
    """The size limit applies in memory."""
    upstream = MockUpstream(connection=ConnectionSettings(max_response_size=10))
    upstream.script(reply(content=b"x" * 11))
    with pytest.raises(ResponseTooLargeError):
        using(upstream, lambda api: api.get("/"))


def test_stale_connection_is_repeated_at_once() -> None:
    """A request on a stale connection is repeated without a pause. On a new connection it would wait."""
    upstream = scripted(fail("disconnected", reused=True), fail("disconnected"), reply())
    using(upstream, lambda api: api.get("/"))
    assert [request.at for request in upstream.requests] == [0.0, 0.0, 1.0]


def test_upstream_is_shared_across_loops() -> None:
    """An upstream outlives clients and loops, and its script continues."""
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
    """Every kind of body is received as bytes, in the second attempt as in the first."""
    upstream = scripted(reply(503), reply())
    using(upstream, lambda api: api.put("/", **options))
    assert [request.body for request in upstream.requests] == [body, body]


def test_request_body_from_a_path_arrives_whole(tmp_path: Path) -> None:
    """A file given by its path is read for each attempt."""
    path = tmp_path / "upload"
    path.write_bytes(b"from disk")
    upstream = scripted(reply(503), reply())
    using(upstream, lambda api: api.put("/", content=path))
    assert [request.body for request in upstream.requests] == [b"from disk"] * 2


def test_request_body_multipart_carries_its_boundary() -> None:
    """Parts arrive encoded, with the boundary from the header."""
    upstream = scripted(reply())
    using(upstream, lambda api: api.post("/", data={"note": "hi"}, files={"file": ("a.txt", b"hello", "text/plain")}))
    [request] = upstream.requests
    boundary = request.headers["Content-Type"].removeprefix("multipart/form-data; boundary=").encode()
    assert request.body.count(b"--" + boundary) == 3
    assert b'filename="a.txt"' in request.body


def test_request_body_one_shot_is_never_sent_twice() -> None:
    """A body that can be produced only once is sent once, and there is no second attempt."""
    upstream = scripted(reply(503), reply())
    with pytest.raises(InternalServerError):
        using(upstream, lambda api: api.put("/", content=iter([b"once"])))
    assert [request.body for request in upstream.requests] == [b"once"]


def test_request_body_one_shot_survives_a_refused_connection() -> None:
    """A body that was never sent is still available for the next attempt."""
    upstream = scripted(fail("connect"), reply())
    using(upstream, lambda api: api.put("/", content=iter([b"once"])))
    assert ([request.body for request in upstream.requests], upstream.sends) == ([b"once"], 2)
