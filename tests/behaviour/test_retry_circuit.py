"""The rule of retries under a circuit: none is waited or paid for that the circuit is sure to refuse."""

from __future__ import annotations

from tests.behaviour.support import client, failure, soon

from resilient_client import APIClient, CircuitBreaker, Retry, RetryBudget
from resilient_client._core.events import Event, RetryScheduled
from resilient_client._settings.retry import Backoff
from resilient_client.testing._fault_server import FaultServer
from resilient_client.testing._observe import record_events
from resilient_client.testing.faults import reply

ONE_TOKEN = RetryBudget(initial=1, ratio=0, min_per_second=0)


def fixed(seconds: float) -> Retry:
    return Retry(max_attempts=2, backoff=Backoff(kind="fixed", initial=seconds, maximum=seconds))


async def test_refused_retry_returns_its_token(server: FaultServer) -> None:
    """Forced open during the pause and reset afterwards: the one token still pays for a retry."""
    server.script(reply(503), reply(503), reply(200))
    async with client(server, retry=fixed(0.01), retry_budget=ONE_TOKEN) as api:

        def force(event: Event) -> None:
            if isinstance(event, RetryScheduled):
                circuit.force_open()

        await api.get("/", retry=None, raise_for_status=False)
        (circuit,) = api.circuits.values()
        end = api.subscribe(force)
        assert "not retried further" in str(await failure(api.get("/")))
        end()
        circuit.reset()
        server.script(reply(503), reply(200))
        assert (await soon(api.get("/"))).attempts == 2


async def test_open_circuit_skips_backoff(server: FaultServer) -> None:
    """The first failure opens the circuit for longer than the pause: the call ends at once and says why."""
    server.script(reply(503))
    breaker = CircuitBreaker(minimum_calls=1, break_duration=60)
    async with client(server, retry=fixed(20), circuit_breaker=breaker, timeout=50) as api:
        with record_events(api) as events:
            error = await failure(api.get("/"))
    assert f"not retried: the circuit of {server.url} is open for another " in str(error)
    assert not any(isinstance(event, RetryScheduled) for event in events)
    assert server.hits == 1


async def test_retry_after_break_is_sent(server: FaultServer) -> None:
    """Negative control: a circuit whose break ends within the pause lets the retry pass as a probe."""
    server.script(reply(503), reply(200))
    breaker = CircuitBreaker(minimum_calls=1, break_duration=0.01)
    async with client(server, retry=fixed(0.05), circuit_breaker=breaker) as api:
        assert (await soon(api.get("/"))).attempts == 2


async def test_retry_in_metrics_only_mode(server: FaultServer) -> None:
    """Negative control: in mode metrics_only an open circuit ends no retries."""
    server.script(reply(503), reply(200))
    breaker = CircuitBreaker(minimum_calls=1, mode="metrics_only")
    async with client(server, retry=fixed(0.01), circuit_breaker=breaker) as api:
        assert (await soon(api.get("/"))).attempts == 2


async def test_retry_with_circuit_forced_open(server: FaultServer) -> None:
    """Nobody knows for how long, so the error does not say."""
    server.script(reply(503))

    def force(_: Event) -> None:
        for circuit in api.circuits.values():
            circuit.force_open()

    async with APIClient(server.url, retry=fixed(0.01)) as api:
        api.subscribe(force)
        error = await failure(api.get("/"))
    assert f"not retried: the circuit of {server.url} is open" in str(error)
    assert "for another" not in str(error)
