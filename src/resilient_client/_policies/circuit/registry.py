"""The circuits of all endpoints: one per endpoint, made on first use, bounded in number.

The registry decides only which circuits are kept. It never judges an endpoint (``_policies.circuit.circuit`` does) and
knows nothing of its keys but that they are hashable. The circuit middleware and the balancer ask it for the circuit of
an endpoint. Users read it as a mapping (``api.circuits``).
"""

from __future__ import annotations

import math
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

    Above ``limit`` the least recently used idle circuit is evicted: a closed one, or one that no attempt has asked in
    the whole window after its break. If the 100 least recently used ones all have a break or a probe, the next one goes
    nevertheless, because that many endpoints may fail at once. A forced circuit stays until it is reset, so only forced
    circuits can exceed ``limit``.

    An evicted circuit forgets what it counted, reports nothing, and ignores the results of its attempts in flight. The
    next attempt to its endpoint starts with a closed circuit.

    Args:
        settings: The settings of every circuit.
        rng: The random generator for jitter, shared by all circuits.
        on_transition: Called after each change of state of any circuit. It must not raise.
        limit: The number of circuits kept.
    """

    __slots__ = ("_now", "_on_transition", "_rng", "_settings")

    def __init__(
        self,
        settings: CircuitBreaker,
        rng: random.Random,
        on_transition: OnEndpointTransition[K] | None = None,
        limit: int = LIMIT,
    ) -> None:
        # The attempts still in flight must not open a circuit that is no longer visible, or report that they did.
        super().__init__(
            self._new, evictable=self._is_idle, on_evict=Circuit.retire, limit=limit, expendable=_is_not_forced
        )
        self._now = -math.inf
        self._settings = settings
        self._rng = rng
        self._on_transition = on_transition

    def use(self, key: K, now: float = -math.inf) -> Circuit:
        """Return the circuit of this endpoint, made if there is none. It counts as a use, unlike ``circuits[key]``.

        Args:
            key: The endpoint.
            now: The time, in seconds, by which a circuit is idle. Minus infinity: only closed ones are.
        """
        if key is self._latest_key and self._latest is not None:
            return self._latest
        self._now = now
        circuit = self._items.get(key)
        return self._add(key, self._new(key)) if circuit is None else self._touch(key, circuit)

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

    def _is_idle(self, circuit: Circuit) -> bool:
        return circuit.is_idle(self._now)


def _is_not_forced(circuit: Circuit) -> bool:
    return circuit.state not in (CircuitState.FORCED_OPEN, CircuitState.FORCED_CLOSED)
