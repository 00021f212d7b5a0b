"""Circuits are bounded: the least recently used closed circuit is evicted, any other is kept."""

import random
import tracemalloc

import pytest

from resilient_client._core.endpoint import Endpoint
from resilient_client._policies.circuit.circuit import CircuitState
from resilient_client._policies.circuit.registry import Circuits
from resilient_client._settings.circuit_breaker import CircuitBreaker

SETTINGS = CircuitBreaker(minimum_calls=1, half_open_probes=1)


def make(limit=3, on_transition=None):
    return Circuits(SETTINGS, random.Random(7), on_transition, limit)


def fail(circuit, now=0.0):
    circuit.try_admit(now).failure(now, 0.1)


def test_use_twice_is_the_same_circuit():
    """An endpoint has one circuit."""
    circuits = make()
    assert circuits.use("a") is circuits.use("a") is circuits["a"]


def test_ports_of_one_host_have_separate_circuits():
    """An unhealthy service does not affect one on another port of its host."""
    circuits = make()
    fail(circuits.use(("http", "host", 8001)))
    assert circuits.use(("http", "host", 8002)).would_admit(0.0)


def test_getitem_of_an_unknown_key_raises_and_creates_nothing():
    """Looking is not using: only the chain creates circuits."""
    circuits = make()
    with pytest.raises(KeyError):
        circuits["a"]
    assert len(circuits) == 0


def test_limit_reached_drops_the_least_recently_used():
    """The circuit whose last use is longest ago makes room."""
    circuits = make()
    for key in ("a", "b", "c", "a", "d"):
        circuits.use(key)
    assert set(circuits) == {"c", "a", "d"}


def test_limit_under_many_keys_holds():
    """However many endpoints are called, the number of circuits stays at the limit."""
    circuits = make(limit=50)
    for key in range(5000):
        circuits.use(key)
    assert list(circuits) == list(range(4950, 5000))


@pytest.mark.parametrize("state", [state for state in CircuitState if state is not CircuitState.CLOSED])
def test_limit_reached_keeps_a_circuit_that_is_not_closed(state):
    """Open, half-open and forced circuits are never dropped."""
    circuits = make()
    kept = circuits.use("kept")
    match state:
        case CircuitState.FORCED_OPEN:
            kept.force_open()
        case CircuitState.FORCED_CLOSED:
            kept.force_close()
        case CircuitState.OPEN:
            fail(kept)
        case CircuitState.HALF_OPEN:
            fail(kept)
            kept.try_admit(100.0)
    for key in range(10):
        circuits.use(key)
    assert circuits["kept"] is kept
    assert kept.state is state
    assert len(circuits) == 3


def test_limit_reached_by_open_circuits_grows_and_shrinks_again():
    """When nothing may be dropped the mapping grows, and returns to the limit once circuits close."""
    circuits = make()
    for key in range(6):
        fail(circuits.use(key))
    assert len(circuits) == 6
    for circuit in circuits.values():
        circuit.reset()
    circuits.use("new")
    assert len(circuits) == 3


def test_evicted_circuit_ignores_attempts_in_flight():
    """A circuit that is no longer visible reports nothing."""
    seen = []
    circuits = make(limit=1, on_transition=lambda *change: seen.append(change))
    ticket = circuits.use("a").try_admit(0.0)
    circuits.use("b")
    ticket.failure(1.0, 0.1)
    assert seen == []


def test_on_transition_names_the_endpoint():
    """The listener gets the endpoint, the circuit, both states and the time."""
    seen = []
    circuits = make(on_transition=lambda *change: seen.append(change))
    fail(circuits.use("a"), now=3.0)
    assert seen == [("a", circuits["a"], CircuitState.CLOSED, CircuitState.OPEN, 3.0)]


def test_iteration_survives_uses():
    """Users may iterate over the circuits while calls go on using them."""
    circuits = make()
    for key in ("a", "b", "c"):
        circuits.use(key)
    assert [circuits.use(key) for key in circuits] == list(circuits.values())


def test_ten_thousand_circuits_take_under_a_kilobyte_each():
    """This includes keys, mapping and full windows, with every other circuit open."""
    count, settings = 10_000, CircuitBreaker(window=30)
    tracemalloc.start()
    try:
        circuits = Circuits(settings, random.Random(7), lambda *_: None)
        for number in range(count):
            circuit = circuits.use(Endpoint("https", f"host-{number}.example.com", 443))
            for call in range(10):
                ticket = circuit.try_admit(call * 3.0)
                settle = ticket.failure if number % 2 else ticket.success
                settle(call * 3.0, 0.1)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(circuits) == count
    assert sum(circuit.state is CircuitState.OPEN for circuit in circuits.values()) == count / 2
    assert held / count < 1000
