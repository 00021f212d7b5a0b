"""Retries: what may be repeated, how often, when and with what. The server counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import tenacity
from tests.behaviour.support import ends_after, failure, soon

from resilient_client import (
    APIClient,
    APIConnectionError,
    Call,
    CircuitBreaker,
    ConfigurationError,
    ConnectionSettings,
    ErrorKind,
    InternalServerError,
    NotFoundError,
    Retry,
    RetryBudget,
    Timeout,
)
from resilient_client._core.events import Event, RetryScheduled
from resilient_client.testing._fault_server import FaultServer, refused_url
from resilient_client.testing._wire import Step
from resilient_client.testing.faults import (
    close_idle,
    drop,
    garbage,
    hang_before_headers,
    reply,
    reset,
    reset_body,
    truncate,
    truncated_coding,
)

EAGER = Retry(max_attempts=3, backoff=lambda _: 0.0)
"""Three attempts, no pause."""
NO_TOKENS = RetryBudget(max_extra_load=0, initial=0, min_per_second=0)
"""A budget that allows no retry at all."""


@pytest.fixture
async def api(server: FaultServer) -> AsyncIterator[APIClient]:
    """A client that retries at once, however many calls fail."""
    async with APIClient(server.url, retry=EAGER, circuit_breaker=None) as api:
        yield api


# --- how often ---


@pytest.mark.parametrize(
    "fault", [drop(), reset(), truncate(), reset_body(), garbage(), truncated_coding(), reply(503)]
)
async def test_three_attempts_are_three_requests(server: FaultServer, api: APIClient, fault: Step) -> None:
    """N attempts are N requests on the wire, one record each, and the error is that of the last."""
    server.script(fault)
    error = await failure(api.get("/"))
    assert (server.hits, error.attempts) == (3, 3)
    assert [record.number for record in error.history] == [1, 2, 3]
    assert {record.kind for record in error.history} == {error.kind}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
@pytest.mark.one_loop
async def test_idempotent_method_is_repeated(server: FaultServer, api: APIClient, method: str) -> None:
    """The methods of RFC 9110 section 9.2.2 are repeated by default."""
    server.script(drop())
    await failure(api.request(method, "/"))
    assert server.hits == 3


@pytest.mark.parametrize("method", ["POST", "PATCH", "MKCOL"])
@pytest.mark.parametrize("fault", [drop(), reset(), reply(503), truncate()])
@pytest.mark.one_loop
async def test_other_method_is_sent_once(server: FaultServer, api: APIClient, method: str, fault: Step) -> None:
    """What the server may have acted on is not repeated, and the error names the remedy."""
    server.script(fault)
    error = await failure(api.request(method, "/", json={"amount": 5}))
    assert (server.hits, error.attempts) == (1, 1)
    assert error.maybe_processed
    assert "idempotency_key='auto'" in str(error)


@pytest.mark.parametrize("options", [{"idempotency_key": "k-1"}, {"headers": {"Idempotency-Key": "k-1"}}])
@pytest.mark.one_loop
async def test_post_with_key_is_repeated(server: FaultServer, api: APIClient, options: dict[str, Any]) -> None:
    """A key makes a POST repeatable, whichever way it was given."""
    server.script(drop())
    await failure(api.post("/", json={"amount": 5}, **options))
    assert [request.headers["Idempotency-Key"] for request in server.requests] == ["k-1"] * 3


@pytest.mark.one_loop
async def test_automatic_key_is_per_call(server: FaultServer, api: APIClient) -> None:
    """``"auto"`` makes up one key a call."""
    server.script(drop())
    for _ in range(2):
        error = await failure(api.post("/", json={"amount": 5}, idempotency_key="auto"))
        assert error.request is not None
        assert error.request.idempotency_key == server.requests[-1].headers["Idempotency-Key"]
    keys = [request.headers["Idempotency-Key"] for request in server.requests]
    assert [keys[:3], keys[3:]] == [[keys[0]] * 3, [keys[3]] * 3]
    assert keys[0] != keys[3]


@pytest.mark.parametrize(("method", "idempotent", "hits"), [("POST", True, 3), ("GET", False, 1)])
@pytest.mark.one_loop
async def test_idempotent_option_beats_method(
    server: FaultServer, api: APIClient, method: str, idempotent: bool, hits: int
) -> None:
    """``idempotent=`` overrides the method both ways."""
    server.script(drop())
    await failure(api.request(method, "/", idempotent=idempotent))
    assert server.hits == hits


@pytest.mark.one_loop
async def test_unsent_post_is_repeated() -> None:
    """A refused connection sent nothing, so any method may be tried again."""
    async with APIClient(refused_url(), retry=EAGER) as api:
        error = await failure(api.post("/", json={"amount": 5}))
    assert (error.attempts, len(error.history)) == (3, 3)
    assert [record.sent for record in error.history] == [False] * 3
    assert error.maybe_processed is False


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 501])
@pytest.mark.one_loop
async def test_unretryable_status_is_raised(server: FaultServer, api: APIClient, status: int) -> None:
    """Only the statuses of the settings are retried."""
    server.script(reply(status))
    await failure(api.get("/"))
    assert server.hits == 1


@pytest.mark.one_loop
async def test_success_keeps_history_of_failures(server: FaultServer, api: APIClient) -> None:
    """A call that succeeded after failures shows them in its history."""
    server.script(drop(), reply(503), reply(text="done"))
    response = await api.get("/")
    assert (response.text, response.attempts, server.hits) == ("done", 3, 3)
    assert [record.kind for record in response.history] == [ErrorKind.DISCONNECTED, ErrorKind.SERVER_ERROR, None]


@pytest.mark.one_loop
async def test_last_error_is_raised(server: FaultServer, api: APIClient) -> None:
    """Never ``tenacity.RetryError``, never an earlier failure."""
    server.script(drop(), reply(503), reply(404))
    assert type(await failure(api.get("/"))) is NotFoundError


@pytest.mark.parametrize("fault", [drop(), reset(), reply(503), truncate(), close_idle("reply")])
@pytest.mark.parametrize("retry", [None, Retry(max_attempts=1)])
async def test_without_retry_one_request(server: FaultServer, fault: Step, retry: Retry | None) -> None:
    """``retry=None`` and ``max_attempts=1`` mean exactly one wire request, for an idempotent method too."""
    server.script(fault)
    async with APIClient(server.url, retry=retry, raise_for_status=False) as api:
        await api.run(Call.get("/"))
    assert server.hits == 1


# --- stale connections ---


@pytest.mark.virtual_time
async def test_stale_connection_is_repeated_for_free(server: FaultServer) -> None:
    """A stale kept-alive connection costs neither backoff nor token, but is an attempt in the history."""
    server.script(close_idle("request"))
    patient = Retry(max_attempts=2, backoff=lambda _: 5.0)
    async with APIClient(server.url, retry=patient, retry_budget=NO_TOKENS) as api:
        await api.get("/")
        with ends_after(0):
            response = await api.get("/")
    assert (response.attempts, server.hits, server.connections) == (2, 3, 2)
    assert [record.reused for record in response.history] == [True, False]


async def test_lost_fresh_connection_uses_budget(server: FaultServer) -> None:
    """The control: the same loss on a new connection is a failure like any other."""
    server.script(drop())
    async with APIClient(server.url, retry=EAGER, retry_budget=NO_TOKENS) as api:
        error = await failure(api.get("/"))
    assert server.hits == 1
    assert "budget" in str(error)


@pytest.mark.parametrize(
    ("method", "retry"), [("POST", EAGER), ("GET", None), ("GET", Retry(max_attempts=1))], ids=["post", "none", "one"]
)
async def test_stale_connection_is_not_repeated(server: FaultServer, method: str, retry: Retry | None) -> None:
    """A POST on a stale connection may have been processed, and ``retry=None`` is one request."""
    server.script(close_idle("request"))
    async with APIClient(server.url, retry=retry) as api:
        await api.get("/")
        error = await failure(api.request(method, "/"))
    assert (error.kind, error.attempts, server.hits) == (ErrorKind.DISCONNECTED, 1, 2)


async def test_error_body_frees_the_pool(server: FaultServer) -> None:
    """An 8 MB error body and a pool of one: three attempts go through, and 64 KiB are kept."""
    server.script(reply(503, body=bytes(8 << 20)))
    async with APIClient(server.url, retry=EAGER, connection=ConnectionSettings(pool_size=1), timeout=3) as api:
        error = await failure(api.get("/"))
    assert isinstance(error, InternalServerError)
    assert (server.hits, len(error.response.content), error.response.truncated) == (3, 65536, True)


@pytest.mark.parametrize(
    "wait",
    [
        tenacity.wait_none(),
        tenacity.wait_fixed(0),
        tenacity.wait_random_exponential(multiplier=0.001, max=0.005),
        tenacity.wait_exponential(multiplier=0.001, max=0.002),
        tenacity.wait_chain(tenacity.wait_fixed(0), tenacity.wait_fixed(0.001)),
        tenacity.wait_fixed(0) + tenacity.wait_incrementing(start=0, increment=0.001),
    ],
    ids=lambda wait: type(wait).__name__,
)
@pytest.mark.one_loop
async def test_any_tenacity_wait_is_a_backoff(server: FaultServer, wait: Callable[[Any], float]) -> None:
    """``backoff`` takes what tenacity's ``wait=`` takes."""
    server.script(drop())
    async with APIClient(server.url, retry=Retry(max_attempts=4, backoff=wait)) as api:
        await failure(api.get("/"))
    assert server.hits == 4


@pytest.mark.one_loop
async def test_backoff_function_gets_attempt_number(server: FaultServer) -> None:
    """``attempt_number`` counts from 1, as tenacity's does."""
    server.script(drop())
    seen: list[int] = []

    def backoff(state: tenacity.RetryCallState) -> float:
        seen.append(state.attempt_number)
        return 0.0

    async with APIClient(server.url, retry=Retry(max_attempts=4, backoff=backoff)) as api:
        await failure(api.get("/"))
    assert seen == [1, 2, 3]


@pytest.mark.parametrize(
    "garbage_", ["1", None, -1.0, float("nan"), object()], ids=["text", "None", "negative", "nan", "object"]
)
@pytest.mark.one_loop
async def test_backoff_function_invalid_result(server: FaultServer, garbage_: Any) -> None:
    """The error says that it is the backoff, and what it must give."""
    server.script(drop())
    async with APIClient(server.url, retry=Retry(backoff=lambda _: garbage_)) as api:
        with pytest.raises(ConfigurationError, match=r"backoff of Retry gave .* seconds, 0 or more"):
            await api.get("/")
    assert server.hits == 1


@pytest.mark.virtual_time
async def test_cancellation_during_backoff(server: FaultServer, api: APIClient) -> None:
    """A caller need not sit out our backoff."""
    server.script(drop())
    paused = asyncio.Event()

    def listener(event: Event) -> None:
        if isinstance(event, RetryScheduled):
            paused.set()

    api.subscribe(listener)
    task = asyncio.create_task(api.get("/", retry=Retry(backoff=lambda _: 5.0)))
    await soon(paused.wait())
    await asyncio.sleep(0)
    task.cancel()
    with ends_after(0), pytest.raises(asyncio.CancelledError):
        await task
    assert server.hits == 1


async def test_circuit_refusal_keeps_last_error(server: FaultServer) -> None:
    """The refusal of our own circuit never hides what the server did."""
    server.script(drop())
    breaker = CircuitBreaker(minimum_calls=2, failure_ratio=1)
    async with APIClient(
        server.url, retry=Retry(max_attempts=5, backoff=lambda _: 0.0), circuit_breaker=breaker
    ) as api:
        error = await failure(api.get("/"))
    assert type(error) is APIConnectionError
    assert (error.kind, error.attempts, server.hits) == (ErrorKind.DISCONNECTED, 2, 2)
    assert "circuit" in str(error)


@pytest.mark.virtual_time
async def test_timed_out_attempt_is_retried(server: FaultServer) -> None:
    """The end of one attempt is not the end of the call."""
    server.script(hang_before_headers(), reply(text="done"))
    async with APIClient(server.url, retry=EAGER, timeout=Timeout(total=5, attempt=0.2)) as api:
        response = await soon(api.get("/"))
    assert (response.text, response.attempts, server.hits) == ("done", 2, 2)
