"""The public views of a running client: its events, circuits, bulkheads, endpoints and retry budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from resilient_client._client.arguments import checked_event_types, checked_listener
from resilient_client._core.call import Call
from resilient_client._core.context import CallContext
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.errors import ConfigurationError
from resilient_client._core.events import Event
from resilient_client._core.in_flight import CallInFlight, call_in_flight, contexts_in_flight
from resilient_client._policies.balancing.endpoint import EndpointState
from resilient_client._policies.circuit.circuit import Circuit
from resilient_client._policies.http.redaction import redact_url
from resilient_client._policies.limits.bulkhead import Permits
from resilient_client._policies.retry.budget import RetryTokens

if TYPE_CHECKING:
    from resilient_client._call.execute import Executor
    from resilient_client._client.runtime import Runtime


E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Event)


class Inspection:
    """The base class of a client with the properties that expose its runtime."""

    __slots__ = ()

    _executor: Executor
    _runtime: Runtime

    @overload
    def subscribe(self, listener: Callable[[Event], object], /) -> Callable[[], None]: ...

    @overload
    def subscribe(self, listener: Callable[[E], object], type_: type[E], /) -> Callable[[], None]: ...

    @overload
    def subscribe(
        self, listener: Callable[[E | F], object], type_: type[E], second: type[F], /
    ) -> Callable[[], None]: ...

    @overload  # a type checker cannot express the union of any number of types
    def subscribe(
        self,
        listener: Callable[..., object],
        type_: type[Event],
        second: type[Event],
        third: type[Event],
        /,
        *types: type[Event],
    ) -> Callable[[], None]: ...

    def subscribe(self, listener: Callable[..., object], /, *types: type[Event]) -> Callable[[], None]:
        """Pass the events of this client to ``listener``; see ``resilient_client.events``.

        The listener is called synchronously and must not block. If it raises, the call goes on, and the error is logged
        to ``resilient_client.events``, once per type of error and of event.

        Args:
            listener: A function of one event.
            types: The types of event to pass, such as ``CallFinished``. A base class such as ``CallEvent`` stands for
                all of its events. Events of types that no listener wants are not even built. Default: all types.

        Returns:
            A function that ends the subscription. It may be called twice.

        Raises:
            ConfigurationError: The listener is not a function of one event, or is async, or one of ``types`` is not a
                class of events.
        """
        return self._runtime.events.subscribe(checked_listener(listener), *checked_event_types(types))

    @property
    def circuits(self) -> Mapping[Endpoint, Circuit]:
        """The circuits by endpoint. Empty if circuit breaking is off."""
        circuits = self._runtime.circuits
        return MappingProxyType({}) if circuits is None else circuits

    @property
    def bulkheads(self) -> Mapping[Endpoint, Permits]:
        """The bulkhead permits by endpoint. Empty if bulkheads are off."""
        bulkheads = self._runtime.bulkheads
        return MappingProxyType({}) if bulkheads is None else bulkheads

    @property
    def endpoints(self) -> Mapping[Endpoint, EndpointState]:
        """The current state of each endpoint, in order. Empty for a client that was not built with a list of them."""
        endpoints = self._runtime.endpoints
        return MappingProxyType({}) if endpoints is None else endpoints.states()

    def set_endpoints(self, base_urls: Sequence[str]) -> None:
        """Replace the endpoints from the next attempt on. Attempts in flight continue to their end.

        Endpoints that remain keep their statistics, and new ones start slowly. The change also applies to views of this
        client.

        Raises:
            ConfigurationError: There is no URL, a URL is wrong or occurs twice, or its scheme or path differs from that
                of the first endpoints. Also raised if this client was not built with a list of endpoints.
        """
        if self._runtime.endpoints is None:
            raise ConfigurationError("this client was built for one base URL; build it with a list, even of one URL")
        self._runtime.endpoints.replace(base_urls)

    @property
    def retry_budgets(self) -> Mapping[Endpoint, RetryTokens]:
        """The retry tokens by upstream; read them with ``available(loop.time())``. Empty if the budget is off."""
        budgets = self._runtime.budgets
        return MappingProxyType({}) if budgets is None else budgets

    def in_flight(self) -> tuple[CallInFlight, ...]:
        """The calls of this client and its views that have not ended, the oldest first, and where each of them waits.

        Made anew each time, in time proportional to the number of calls. Call it in the thread of the client's event
        loop. A call that has only just started may be missing until it first waits. A flight that coalesced calls share
        is listed along with them.
        """
        return tuple(map(call_in_flight, self._contexts_in_flight()))

    def _contexts_in_flight(self) -> list[CallContext]:
        """The contexts of the calls that ``in_flight`` describes."""
        timer = getattr(self._runtime, "timer", None)  # there is none before the first use
        return [] if timer is None else contexts_in_flight(timer)

    def _redacted_url(self, call: Call[Any]) -> str:
        """The URL that ``call`` would be sent to, without secrets; with a list of endpoints, that of the first.

        Raises:
            InvalidRequestError: The call cannot be sent as it is.
        """
        request, _ = self._executor.begin(call)
        return redact_url(request.url)
