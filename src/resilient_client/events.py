"""The events of a client, for ``api.subscribe(listener)``: what each says stands in its docstring."""

from resilient_client.core.events import (
    AttemptFinished,
    AttemptStarted,
    CallEvent,
    CallFinished,
    CallRejected,
    CircuitClosed,
    CircuitEvent,
    CircuitHalfOpened,
    CircuitOpened,
    Event,
    HedgeStarted,
    Listener,
    RetryRefused,
    RetryScheduled,
    TokenRefreshed,
)

__all__ = [
    "AttemptFinished",
    "AttemptStarted",
    "CallEvent",
    "CallFinished",
    "CallRejected",
    "CircuitClosed",
    "CircuitEvent",
    "CircuitHalfOpened",
    "CircuitOpened",
    "Event",
    "HedgeStarted",
    "Listener",
    "RetryRefused",
    "RetryScheduled",
    "TokenRefreshed",
]
