"""What happens in a client, told to whoever subscribed. Past tense, one slotted object an event.

Events are only made when somebody listens. A listener that raises is logged and never harms a call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from resilient_client.core.attempts import AttemptRecord
from resilient_client.core.endpoint import Endpoint
from resilient_client.core.kinds import ErrorKind

_log = logging.getLogger("resilient_client.events")


@dataclass(slots=True, kw_only=True)
class Event:
    """The base of all events.

    Attributes:
        client: The name of the client.
        at: Loop time.
    """

    client: str
    at: float


@dataclass(slots=True, kw_only=True)
class CallEvent(Event):
    """The base of events that belong to one call.

    Attributes:
        method: In upper case.
        route: The path as the caller wrote it, without the query.
        tags: The caller's labels.
    """

    method: str
    route: str
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class AttemptStarted(CallEvent):
    """An attempt is about to be made. One that is then refused here is told as ``CallRejected`` and counts for nothing.

    Attributes:
        number: Counted from 1.
        endpoint: Who is called.
    """

    number: int
    endpoint: Endpoint


@dataclass(slots=True, kw_only=True)
class AttemptFinished(CallEvent):
    """An attempt came to its end; ``record`` holds everything about it.

    Not every one counts: one refused here (``CIRCUIT_OPEN``, ``REJECTED``) is in no history and no number of attempts.
    """

    record: AttemptRecord


@dataclass(slots=True, kw_only=True)
class RetryScheduled(CallEvent):
    """Another attempt will follow.

    Attributes:
        number: The number of the attempt that failed.
        delay: Seconds until the next.
        reason: Why, in a few words.
    """

    number: int
    delay: float
    reason: str


@dataclass(slots=True, kw_only=True)
class RetryRefused(CallEvent):
    """A retryable failure is given back instead: attempts, budget or time are used up, or a repeat is not safe.

    Attributes:
        number: The number of the attempt that failed.
        reason: Why there is no further one.
    """

    number: int
    reason: str


@dataclass(slots=True, kw_only=True)
class HedgeStarted(CallEvent):
    """One more attempt was started without a pause: the answer takes long, or an attempt failed beside another.

    Attributes:
        waited: Seconds since the first attempt of this step of the retry began.
        reason: Why, in a few words.
    """

    waited: float
    reason: str


@dataclass(slots=True, kw_only=True)
class CallFinished(CallEvent):
    """A call came to its end.

    Attributes:
        status: The status of the reply, or ``None`` when none came.
        kind: What went wrong, or ``None`` for a success.
        attempts: How many were started.
        elapsed: Seconds it took.
    """

    status: int | None
    kind: ErrorKind | None
    attempts: int
    elapsed: float


@dataclass(slots=True, kw_only=True)
class CallRejected(CallEvent):
    """An attempt was refused on our side; nothing was sent.

    Attributes:
        reason: By what: ``circuit_open``, ``bulkhead_full`` or ``rate_limited``.
        endpoint: Who would have been called.
    """

    reason: str
    endpoint: Endpoint


@dataclass(slots=True, kw_only=True)
class CallCoalesced(CallEvent):
    """A call joined the flight of one that is alike; no request of its own is made.

    Attributes:
        waiters: How many wait for that flight now, this one included.
    """

    waiters: int


@dataclass(slots=True, kw_only=True)
class FallbackUsed(CallEvent):
    """A call that failed was given its fallback, or should have been. Follows its ``CallFinished``.

    Attributes:
        kind: What went wrong with the call.
        ok: Whether there was a fallback to be had.
        detail: Why not, in one word, or ``""``.
    """

    kind: ErrorKind
    ok: bool
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class TokenRefreshed(Event):
    """Credentials were renewed, or could not be.

    Attributes:
        ok: Whether there are new ones.
        detail: Why not, or ``""``.
    """

    ok: bool
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class EndpointPaused(Event):
    """A reply asked to slow down: all callers of its endpoint are held back.

    Attributes:
        endpoint: Who answered.
        seconds: For how long from now.
    """

    endpoint: Endpoint
    seconds: float


@dataclass(slots=True, kw_only=True)
class CircuitEvent(Event):
    """The base of what happens to circuits.

    Attributes:
        endpoint: Whose circuit.
    """

    endpoint: Endpoint


@dataclass(slots=True, kw_only=True)
class CircuitOpened(CircuitEvent):
    """The endpoint is left alone.

    Attributes:
        retry_after: Seconds until it is tried again.
    """

    retry_after: float | None


@dataclass(slots=True, kw_only=True)
class CircuitHalfOpened(CircuitEvent):
    """A few probes are let through."""


@dataclass(slots=True, kw_only=True)
class CircuitClosed(CircuitEvent):
    """The endpoint is well again."""


@dataclass(slots=True, kw_only=True)
class EndpointEjected(Event):
    """One of several endpoints is passed over from now on, as long as the others can spare it.

    Attributes:
        endpoint: Which.
        reason: Why, in a few words.
    """

    endpoint: Endpoint
    reason: str


@dataclass(slots=True, kw_only=True)
class EndpointRestored(Event):
    """It is chosen again, slowly at first.

    Attributes:
        endpoint: Which.
    """

    endpoint: Endpoint


@dataclass(slots=True, kw_only=True)
class EndpointsResolved(Event):
    """The endpoints were asked for anew, or could not be had: then the last ones stay.

    Attributes:
        ok: Whether they could be had.
        endpoints: Those in force now.
        detail: Why not, or ``""``.
    """

    ok: bool
    endpoints: tuple[Endpoint, ...]
    detail: str = ""


Listener: TypeAlias = Callable[[Event], object]


class Events:
    """The listeners of one client."""

    __slots__ = ("_listeners", "active")

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self.active = False

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tell ``listener`` of every event from now on, synchronously; it must not block.

        Returns:
            What ends the subscription; may be called twice.
        """
        self._listeners = (*self._listeners, listener)
        self.active = True

        def unsubscribe() -> None:
            self._listeners = tuple(known for known in self._listeners if known is not listener)
            self.active = bool(self._listeners)

        return unsubscribe

    def emit(self, event: Event) -> None:
        """Tell everybody. Callers look at ``active`` first, so that nobody pays for unheard events."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                _log.exception("a listener failed on %s; the call goes on", type(event).__name__)
