"""The circuits of all endpoints: one per endpoint, made on first use, bounded in number.

The registry decides only which circuits are kept. It never judges an endpoint (``_policies.circuit.circuit`` does) and
knows nothing of its keys but that they are hashable. The circuit middleware and the balancer ask it for the circuit of
an endpoint. Users read it as a mapping (``api.circuits``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from types import MethodType
from typing import TypeAlias, TypeVar

from resilient_client._policies.circuit.circuit import Circuit, CircuitState
from resilient_client._policies.registry import LIMIT, Registry
from resilient_client._settings.circuit_breaker import CircuitBreaker

K = TypeVar("K", bound=Hashable)

OnEndpointTransition: TypeAlias = Callable[[K, Circuit, CircuitState, CircuitState, float | None], None]
"""As ``OnTransition``, with the endpoint in front."""


class Circuits(Registry[K, Circuit]):
    """A mapping of endpoints to circuits.

    Above ``limit`` the least recently used closed circuit is evicted. It forgets what it counted, and the results of
    its attempts still in flight are ignored. An open, half-open or forced circuit knows something worth keeping and is
    never evicted. If there are too many of these, the number grows beyond ``limit`` until they close.

    Args:
        settings: The settings of every circuit.
        rng: The random generator for jitter, shared by all circuits.
        on_transition: Called after each change of state of any circuit. It must not raise.
        limit: The number of circuits kept.
    """

    __slots__ = ("_on_transition", "_rng", "_settings")

    def __init__(
        self,
        settings: CircuitBreaker,
        rng: random.Random,
        on_transition: OnEndpointTransition[K] | None = None,
        limit: int = LIMIT,
    ) -> None:
        # An evicted circuit is reset: the attempts still in flight must not open a circuit that is no longer visible,
        # or report that they did.
        super().__init__(self._new, evictable=_is_closed, on_evict=Circuit.reset, limit=limit)
        self._settings = settings
        self._rng = rng
        self._on_transition = on_transition

    def would_admit(self, key: K, now: float) -> bool:
        """Whether the circuit of this endpoint would admit an attempt at ``now``, true if there is none yet."""
        circuit = self._items.get(key)
        return circuit is None or circuit.would_admit(now)

    def rejects_for(self, key: K, now: float) -> float:
        """Seconds from ``now`` for which the circuit of this endpoint is sure to refuse, 0 if there is none yet."""
        circuit = self._items.get(key)
        return 0.0 if circuit is None else circuit.rejects_for(now)

    def _new(self, key: K) -> Circuit:
        # A bound method takes a third of the memory of a partial, and there may be 10,000.
        listener = None if self._on_transition is None else MethodType(self._on_transition, key)
        return Circuit(self._settings, self._rng, listener)


def _is_closed(circuit: Circuit) -> bool:
    return circuit.state is CircuitState.CLOSED
