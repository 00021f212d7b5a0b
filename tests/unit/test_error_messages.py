"""What errors say to those who read them."""

from __future__ import annotations

import pytest

from resilient_client import (
    APIClient,
    APIConnectionError,
    APIResponseValidationError,
    CircuitBreaker,
    InvalidRequestError,
    Retry,
)
from resilient_client.testing._fault_server import FaultServer, refused_url
from resilient_client.testing.faults import drop, reply

pytestmark = pytest.mark.one_loop


async def test_validation_error_names_the_call(server: FaultServer) -> None:
    """Like every other error, it begins with the method and the URL."""
    server.script(reply(json={"day": None}))
    async with APIClient(server.url) as api:
        with pytest.raises(APIResponseValidationError) as caught:
            await api.get("/deliveries/1", response_model=dict[str, str])
    assert str(caught.value).startswith(f"GET {server.url}/deliveries/1: the body of the reply 200 ")


async def test_failure_then_refusal_names_call_once(server: FaultServer) -> None:
    """The circuit's reason follows the failure without repeating to whom, or claiming that nothing was sent."""
    server.script(drop())
    breaker = CircuitBreaker(minimum_calls=1, half_open_probes=1)
    retry = Retry(max_attempts=3, backoff=lambda _: 0.0)
    async with APIClient(server.url, retry=retry, circuit_breaker=breaker) as api:
        with pytest.raises(APIConnectionError) as caught:
            await api.get("/deliveries/1")
    message = str(caught.value)
    assert (server.hits, caught.value.attempts, caught.value.maybe_processed) == (1, 1, True)
    assert message.count("/deliveries/1") == 1
    assert f"not retried: the circuit of {server.url} is open for another " in message
    assert "nothing was sent" not in message


async def test_refused_connection_names_reason() -> None:
    """Not in asyncio's, which show a Python tuple and keep the reason to themselves."""
    async with APIClient(refused_url(), retry=None) as api:
        with pytest.raises(APIConnectionError, match=r"cannot connect \(Connection refused\); nothing was sent$"):
            await api.get("/health")


async def test_unusable_response_model_refused(server: FaultServer) -> None:
    """The mistake is the caller's: it costs the upstream nothing and is told in our own terms."""

    class NoType:
        pass

    async with APIClient(server.url) as api:
        with pytest.raises(InvalidRequestError, match="response_model NoType is not a type that pydantic can check"):
            await api.post("/payments", json={}, response_model=NoType)
    assert server.hits == 0
