"""The steps of a `MockUpstream`: replies with silences, failures, and functions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.testing.support import now, scripted, using

from resilient_client import (
    APIClient,
    APIConnectionError,
    APITimeoutError,
    Timeout,
)
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client.testing import MockRequest, MockUpstream, fail, reply
from resilient_client.testing._mock_steps import MockFailure


def test_reply_in_pieces_streams_with_its_silences() -> None:
    """Pieces arrive one by one, and a number is a silence of that many seconds."""
    upstream = scripted(reply(content=[b"a", 2.0, b"b"]))

    async def main(api: APIClient) -> list[tuple[bytes, float]]:
        async with api.stream("GET", "/") as stream:
            return [(piece, now()) async for piece in stream.iter_bytes()]

    assert using(upstream, main) == [(b"a", 0.0), (b"b", 2.0)]


def test_reply_in_pieces_without_streaming_is_one_body() -> None:
    """A plain call reads the same reply as one body."""
    upstream = scripted(reply(content=[b"a", 2.0, b"b"]))
    assert using(upstream, lambda api: api.get("/")).content == b"ab"


def test_reply_silent_for_longer_than_idle_is_a_timeout() -> None:
    """The idle timeout works in memory as on a socket."""
    upstream = scripted(reply(content=[b"a", 2.0, b"b"]))
    with pytest.raises(APITimeoutError, match="silent for idle=1 s in stage body"):
        using(upstream, lambda api: api.get("/"), retry=None, timeout=Timeout(idle=1))


def test_reply_delay_takes_that_long() -> None:
    """``delay`` is spent before the head of the reply."""
    upstream = scripted(reply(delay=3.0))

    async def main(api: APIClient) -> float:
        await api.get("/")
        return now()

    assert using(upstream, main) == 3.0


def test_failure_delay_takes_that_long() -> None:
    """``delay`` is spent before the failure."""
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
    ids=lambda value: f"{value!r}" if isinstance(value, MockFailure) else None,
)
def test_failure_has_kind_and_stage_of_its_step(
    failure: MockFailure, kind: ErrorKind, stage: Stage, maybe_processed: bool
) -> None:
    """Failures that the contract test cannot produce on a loopback socket have the right kind and stage, too."""
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
    """While an async step waits, the request was received and the client is in stage headers."""

    async def never(_request: MockRequest) -> Any:
        await asyncio.Event().wait()

    with pytest.raises(APITimeoutError, match="stage headers"):
        using(scripted(never), lambda api: api.get("/", retry=None))


def test_failed_assertion_in_a_function_propagates() -> None:
    """An assertion that fails in a step is raised unchanged from the call."""

    def check(request: MockRequest) -> Any:
        assert request.json() == {"a": 2}, "not what was agreed"
        return reply()

    with pytest.raises(AssertionError, match="not what was agreed"):
        using(scripted(check), lambda api: api.post("/", json={"a": 1}))


@pytest.mark.parametrize(
    ("answer", "error"), [(200, TypeError), (None, TypeError), (fail("dns"), ValueError)], ids=["int", "None", "dns"]
)
def test_function_with_an_impossible_answer_raises(answer: Any, error: type[Exception]) -> None:
    """A function must return a reply, or a failure that can happen after the request was received."""
    with pytest.raises(error, match="a step of the MockUpstream returned"):
        using(scripted(lambda _request: answer), lambda api: api.get("/"))
