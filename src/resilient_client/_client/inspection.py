"""What a client shows of itself while it lives: events, circuits, endpoints, budgets; and what may be changed there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import ConfigurationError
from resilient_client._core.events import Listener
from resilient_client._policies.balancing.endpoint import EndpointState
from resilient_client._policies.circuit.circuit import Circuit
from resilient_client._policies.limits.bulkhead import Permits
from resilient_client._policies.retry.budget import RetryTokens

if TYPE_CHECKING:
    from resilient_client._client.runtime import Runtime


class Inspection:
    """The base of a client that lets people look at its engine."""

    __slots__ = ()

    _runtime: Runtime

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tell ``listener`` of every event of this client; see ``resilient_client.events``.

        It is called synchronously and must not block; if it raises, that is logged and the call goes on.

        Returns:
            What ends the subscription.
        """
        return self._runtime.events.subscribe(listener)

    @property
    def circuits(self) -> Mapping[Endpoint, Circuit]:
        """The circuits by endpoint; empty when the pattern is off."""
        circuits = self._runtime.circuits
        return MappingProxyType({}) if circuits is None else circuits

    @property
    def bulkheads(self) -> Mapping[Endpoint, Permits]:
        """The permits by endpoint; empty when the pattern is off."""
        bulkheads = self._runtime.bulkheads
        return MappingProxyType({}) if bulkheads is None else bulkheads

    @property
    def endpoints(self) -> Mapping[Endpoint, EndpointState]:
        """How each endpoint fares now, in order; empty for a client that was not given a list of them."""
        endpoints = self._runtime.endpoints
        return MappingProxyType({}) if endpoints is None else endpoints.states()

    def set_endpoints(self, base_urls: Sequence[str]) -> None:
        """Have these endpoints from the next attempt on; attempts on their way are left to end.

        What is known of those that stay is kept; new ones start slowly. Views have them, too.

        Raises:
            ConfigurationError: There is none, one is wrong, comes twice, or differs in scheme or path from the first
                ones; or this client was not given a list of endpoints.
        """
        if self._runtime.endpoints is None:
            raise ConfigurationError("this client was built for one base URL; build it with a list, even of one URL")
        self._runtime.endpoints.replace(base_urls)

    @property
    def retry_budgets(self) -> Mapping[Endpoint, RetryTokens]:
        """The retry tokens by upstream, to be looked at: ``available(loop.time())``; empty when the budget is off."""
        budgets = self._runtime.budgets
        return MappingProxyType({}) if budgets is None else budgets
