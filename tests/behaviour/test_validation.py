"""Invalid arguments are refused with one clear sentence before anything is sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.behaviour.support import client, failure, soon

from resilient_client import (
    APIClient,
    BearerAuth,
    Call,
    ConfigurationError,
    ConnectionSettings,
    ErrorKind,
    Failure,
    Handler,
    InvalidRequestError,
    Request,
    Response,
    Retry,
    Timeout,
)
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing.faults import reply

pytestmark = pytest.mark.one_loop


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"retry": 3}, "retry is 3; give Retry(max_attempts=3), or None for no retries"),
        ({"circuit_breaker": False}, "circuit_breaker is False; give CircuitBreaker(...), or None"),
        ({"timeout": (3, 5)}, "timeout is of type tuple; give seconds, text such as '500ms'"),
        ({"follow_redirects": True}, "follow_redirects is True; give 'same-origin', 'any', or None"),
        ({"auth": "token"}, "auth is of type str; give BearerAuth(token)"),
        ({"auth": BearerAuth}, "auth is the class BearerAuth; give BearerAuth(token)"),
        ({"middleware": len}, "middleware is of type builtin_function_or_method; give a list"),
        ({"attempt_middleware": [5]}, "attempt_middleware[0] is of type int; give a list of async functions"),
        ({"transport": 5}, "transport is of type int; give an object with send and close"),
        ({"config": 5}, "config is of type int; give ClientConfig(...)"),
        ({"rng": 5}, "rng is of type int; give random.Random(seed)"),
        ({"name": 5}, "name is 5; give a text"),
        ({"headers": "X: 1"}, "headers is of type str; give a mapping"),
        ({"headers": {"Idempotency-Key": "one"}}, "would go out with every call"),
        ({"params": "a=1"}, "params is of type str; give a mapping"),
    ],
)
def test_invalid_client_option_names_remedy(value: dict[str, Any], message: str) -> None:
    """What cannot work is found when the client is built, and the remedy is named."""
    with pytest.raises(ConfigurationError) as caught:
        APIClient("https://api.example.com", **value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"idempotency_key": ""}, "idempotency_key is ''"),
        ({"idempotency_key": " "}, "idempotency_key is ' '"),
        ({"headers": {"Idempotency-Key": ""}}, "idempotency_key is ''"),
        ({"idempotent": "no"}, "idempotent is 'no'; give True or False"),
        ({"raise_for_status": "no"}, "raise_for_status is 'no'; give True or False"),
        ({"headers": ["X: 1"]}, "headers is of type list; give a mapping"),
        ({"path_params": 7}, "path_params is of type int"),
        ({"tags": ["a"]}, "tags is of type list"),
        ({"response_model": "User"}, "response_model 'User' is not a type"),
        ({"retry": 3}, "retry is 3; give Retry(max_attempts=3)"),
        ({"respone_model": int}, "did you mean 'response_model'?"),
    ],
)
async def test_invalid_call_option_sends_nothing(server: FaultServer, value: dict[str, Any], message: str) -> None:
    """An invalid call is not sent, and an empty key does not make a POST repeatable."""
    server.script(reply(503))
    async with client(server, retry=Retry()) as api:
        with pytest.raises(InvalidRequestError) as caught:
            await soon(api.post("/pay", **value))
    assert message in str(caught.value)
    assert server.hits == 0


@pytest.mark.parametrize("value", ["/pay?token=canary", None, {"path": "/pay"}])
async def test_send_of_non_call_refused(server: FaultServer, value: Any) -> None:
    """A path is not a call, because it has no method."""
    async with client(server) as api:
        with pytest.raises(InvalidRequestError) as caught:
            await soon(api.send(value))
        outcome = await soon(api.run(value))
    assert isinstance(outcome, Failure)
    assert str(outcome.error) == str(caught.value)
    message = "is not a call; give Call.get(path), or send it at once: api.get(path)"
    assert str(caught.value) == f"{type(value).__name__} {message}"
    assert server.hits == 0


@pytest.mark.parametrize("method", ["", "GET IT", 7, None])
def test_invalid_method_refused(method: Any) -> None:
    """The method is checked when the call is described."""
    with pytest.raises(InvalidRequestError, match=r"is not an HTTP token; give one such as 'GET'"):
        Call(method, "/pay")


def test_call_with_invalid_path_has_a_repr() -> None:
    """It is refused when it is sent, and its ``repr`` works before that."""
    assert repr(Call.get(7)) == "<Call GET int>"  # type: ignore[arg-type]  # the point


def test_invalid_proxy_is_not_shown() -> None:
    """The value may hold credentials."""
    with pytest.raises(ConfigurationError) as caught:
        ConnectionSettings(proxy=["http://user:canary@proxy:1"])  # type: ignore[arg-type]  # the point
    assert "canary" not in str(caught.value)


def test_timedelta_sets_total_timeout() -> None:
    """A ``timedelta`` is accepted as a duration."""
    assert APIClient("https://a.example", timeout=timedelta(seconds=3)).config.timeout == Timeout(total=3)  # type: ignore[arg-type]  # beyond the types


@pytest.mark.parametrize(
    ("settings", "in_force"),
    [(Timeout(attempt=60), (60, 60, 5)), (Timeout(connect=20), (30, 20, 20)), (Timeout(total=2), (2, 2, 2))],
)
def test_adapted_default_is_kept_in_client(settings: Timeout, in_force: tuple[float, ...]) -> None:
    """What one value lifted or clipped in the settings stays so when they are laid over the defaults."""
    timeout = APIClient("https://a.example", timeout=settings).config.timeout
    assert timeout is not None
    assert timeout.limits()[:3] == in_force


async def test_foreign_exception_outcome_hides_text(server: FaultServer) -> None:
    """The server may have acted on the attempt before, so the outcome must not say that it certainly did not."""
    server.script(reply(503))
    attempts = 0

    async def broken(request: Request, call_next: Handler) -> Response:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            raise KeyError("canary")
        return await call_next(request)

    call = Call.post("/pay", idempotency_key="auto")
    async with client(server, retry=Retry(backoff=lambda _: 0), attempt_middleware=[broken]) as api:
        outcome = await soon(api.run(call))
    assert isinstance(outcome, Failure)
    error = outcome.error
    assert (error.kind, error.maybe_processed, error.attempts, server.hits) == (ErrorKind.UNEXPECTED, True, 2, 1)
    assert error.request is not None
    assert "canary" not in str(error)
    assert isinstance(error.__cause__, KeyError)


async def test_valid_call_options_reach_the_server(server: FaultServer) -> None:
    """The control: with the right options the same call reaches the server and fails with its status."""
    server.script(reply(503))
    async with client(server) as api:
        assert (await failure(api.post("/pay", idempotency_key="7", idempotent=True))).kind is ErrorKind.SERVER_ERROR
    assert server.hits == 1
