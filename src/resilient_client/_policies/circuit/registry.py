"""The circuits of all endpoints: one each, made when first asked for, bounded in number.

It decides only which circuits are kept. It never judges an endpoint (``_policies.circuit.circuit`` does) and knows
nothing of its keys but that they are hashable. The circuit middleware and the balancer ask it for an
endpoint's circuit; people read it as a mapping (``api.circuits``).
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from types import MethodType
from typing import Final, TypeAlias, TypeVar

from resilient_client._policies.circuit.circuit import Circuit, CircuitState
from resilient_client._settings.circuit_breaker import CircuitBreaker

K = TypeVar("K", bound=Hashable)

OnEndpointTransition: TypeAlias = Callable[[K, Circuit, CircuitState, CircuitState, float | None], None]
"""As ``OnTransition``, with the endpoint in front."""

_LOOKS: Final = 100  # circuits examined for room when one is made, so that making one costs the same always


class Circuits(Mapping[K, Circuit]):
    """A mapping of endpoints to circuits, which people may read and the chain extends.

    Above ``limit`` the least recently used closed circuit is dropped: it forgets, and what its last attempts
    bring home is ignored. An open, half-open or forced circuit knows something worth keeping and is never
    dropped, so if there is little else the number grows beyond ``limit``, and shrinks again as they close.

    Args:
        settings: What every circuit goes by.
        rng: The source of jitter, shared by all.
        on_transition: Called after each change of state of any circuit; it must not raise.
        limit: The number of circuits kept.
    """

    __slots__ = ("_circuits", "_latest", "_latest_key", "_limit", "_on_transition", "_rng", "_settings")

    def __init__(
        self,
        settings: CircuitBreaker,
        rng: random.Random,
        on_transition: OnEndpointTransition[K] | None = None,
        limit: int = 10_000,
    ) -> None:
        self._settings = settings
        self._rng = rng
        self._on_transition = on_transition
        self._limit = limit
        self._circuits: OrderedDict[K, Circuit] = OrderedDict()  # the least recently used first
        self._latest_key: K | None = None
        self._latest: Circuit | None = None

    def for_endpoint(self, key: K) -> Circuit:
        """The circuit of this endpoint, made if there is none; counts as a use, unlike ``circuits[key]``."""
        if key is self._latest_key and self._latest is not None:
            return self._latest  # the same upstream again, the usual case: no hashing, no reordering
        circuit = self._circuits.get(key)
        if circuit is None:
            circuit = self._make(key)
        else:
            self._circuits.move_to_end(key)
        self._latest_key, self._latest = key, circuit
        return circuit

    def would_admit(self, key: K, now: float) -> bool:
        """Whether this endpoint's circuit would admit an attempt at ``now``; true without a circuit."""
        circuit = self._circuits.get(key)
        return circuit is None or circuit.would_admit(now)

    def rejects_for(self, key: K, now: float) -> float:
        """Seconds from ``now`` in which this endpoint's circuit is sure to refuse; 0 without a circuit."""
        circuit = self._circuits.get(key)
        return 0.0 if circuit is None else circuit.rejects_for(now)

    def __getitem__(self, key: K) -> Circuit:
        return self._circuits[key]

    def __iter__(self) -> Iterator[K]:
        return iter(tuple(self._circuits))  # a copy: calls made while iterating reorder the original

    def __len__(self) -> int:
        return len(self._circuits)

    def _make(self, key: K) -> Circuit:
        self._make_room()
        # The key bound as the first argument, in a third of the memory of a partial.
        report = None if self._on_transition is None else MethodType(self._on_transition, key)
        circuit = self._circuits[key] = Circuit(self._settings, self._rng, report)
        return circuit

    def _make_room(self) -> None:
        for _ in range(_LOOKS):
            if len(self._circuits) < self._limit:
                return
            key, circuit = self._circuits.popitem(last=False)
            if circuit.state is CircuitState.CLOSED:
                circuit.reset()  # attempts on their way must not open, and report, what nobody can see
            else:
                self._circuits[key] = circuit
