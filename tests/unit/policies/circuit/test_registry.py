"""Circuits are bounded: the least recently used idle one is evicted, a busy one only if all are, a forced one never."""

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


FORCED = (CircuitState.FORCED_OPEN, CircuitState.FORCED_CLOSED)
BREAK_ENDS = 1.25  # at the latest, with the jitter
IDLE = BREAK_ENDS + SETTINGS.window


def bring(circuit, state):
    """Bring a circuit into a state, at time 0: its break has begun, or its probe has been sent after it."""
    match state:
        case CircuitState.FORCED_OPEN:
            circuit.force_open()
        case CircuitState.FORCED_CLOSED:
            circuit.force_close()
        case CircuitState.OPEN:
            fail(circuit)
        case CircuitState.HALF_OPEN:
            fail(circuit, now=-2.0)
            circuit.try_admit(0.0)
    assert circuit.state is state


@pytest.mark.parametrize("state", [state for state in CircuitState if state is not CircuitState.CLOSED])
def test_limit_reached_keeps_a_circuit_that_is_busy(state):
    """A circuit in its break, with a probe or forced stays, however many closed ones are used after it."""
    circuits = make()
    kept = circuits.use("kept", 0.0)
    bring(kept, state)
    for key in range(10):
        circuits.use(key, IDLE - 0.3)
    assert circuits["kept"] is kept
    assert kept.state is state
    assert len(circuits) == 3


@pytest.mark.parametrize("state", [CircuitState.OPEN, CircuitState.HALF_OPEN])
def test_limit_reached_drops_what_was_not_asked_for_a_window(state):
    """The circuit of a dead origin that no attempt has asked in the window after its break goes like a closed one."""
    circuits = make()
    bring(circuits.use("dead", 0.0), state)
    for key in ("a", "b", "c"):
        circuits.use(key, IDLE)
    assert set(circuits) == {"a", "b", "c"}


@pytest.mark.parametrize("apart", [0.001, 100.0])
def test_limit_holds_under_many_dead_origins(apart):
    """However many endpoints fail, at once or over time, the number of circuits stays at the limit."""
    circuits = make(limit=300)
    for key in range(3000):
        fail(circuits.use(key, key * apart), key * apart)
    assert len(circuits) == 300
    assert 2999 in circuits


def test_limit_reached_by_busy_circuits_spares_the_forced():
    """When every circuit is busy, one that the endpoint's failures opened goes, and the forced ones stay."""
    circuits = make(limit=4)
    circuits.use("off").force_open()
    circuits.use("on").force_close()
    for key in range(20):
        fail(circuits.use(key, 0.0))
        assert len(circuits) == min(4, key + 3)
    assert {"off", "on", 19} < set(circuits)


def test_limit_reached_by_forced_circuits_grows_and_shrinks_again():
    """Circuits forced by hand are as many as they are. The mapping returns to the limit once they are reset."""
    circuits = make()
    for key in range(6):
        circuits.use(key).force_open()
    assert len(circuits) == 6
    for circuit in circuits.values():
        circuit.reset()
    circuits.use("new")
    assert len(circuits) == 3


def test_evicted_open_circuit_reports_nothing_and_starts_over():
    """Its eviction is not a recovery: no event. The endpoint starts with a closed circuit."""
    seen = []
    circuits = make(limit=1, on_transition=lambda *change: seen.append(change[3]))
    fail(circuits.use("dead", 0.0))
    circuits.use("other", IDLE)
    assert seen == [CircuitState.OPEN]
    assert circuits.use("dead", IDLE).state is CircuitState.CLOSED


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
