"""What happens in a client, told to whoever subscribed. Past tense, one object an event.

Events are only made when somebody listens. A listener that raises is logged and never harms a call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

from typing_extensions import dataclass_transform

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.kinds import ErrorKind
from resilient_client._core.record import AttemptRecord

_log = logging.getLogger("resilient_client.events")


@dataclass_transform(kw_only_default=True)
class _Record:
    """What a dataclass would be; twenty of those would be a tenth of what importing this library takes."""

    _names: ClassVar[frozenset[str]] = frozenset()
    _defaults: ClassVar[dict[str, object]] = {}

    def __init_subclass__(cls) -> None:
        own = cls.__annotations__
        cls._names |= own.keys()
        cls._defaults = cls._defaults | {name: getattr(cls, name) for name in own if hasattr(cls, name)}

    def __init__(self, **attributes: Any) -> None:
        told = self._defaults | attributes
        if told.keys() != self._names:
            names, wrong = (", ".join(sorted(some)) for some in (self._names, self._names ^ told.keys()))
            raise TypeError(f"{type(self).__name__} takes {names}; missing or unknown: {wrong}")
        self.__dict__.update(told)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]  # attributes need not be hashable

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Event(_Record):
    """The base of all events. Each takes its attributes as keywords; ``vars(event)`` is a dict of them.

    Attributes:
        client: The name of the client.
        at: Loop time.
    """

    client: str
    at: float


class CallEvent(Event):
    """The base of events that belong to one call.

    Attributes:
        method: In upper case.
        route: The path as the caller wrote it, without the query.
        tags: The caller's labels.
    """

    method: str
    route: str
    tags: Mapping[str, str] = MappingProxyType({})


class AttemptStarted(CallEvent):
    """An attempt is about to be made. One that is then refused here is told as ``CallRejected`` and counts for nothing.

    Attributes:
        number: Counted from 1.
        endpoint: Who is called.
    """

    number: int
    endpoint: Endpoint


class AttemptFinished(CallEvent):
    """An attempt came to its end; ``record`` holds everything about it.

    Not every one counts: one refused here (``CIRCUIT_OPEN``, ``REJECTED``) is in no history and no number of attempts.
    """

    record: AttemptRecord


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


class RetryRefused(CallEvent):
    """A retryable failure is given back instead: attempts, budget or time are used up, or a repeat is not safe.

    Attributes:
        number: The number of the attempt that failed.
        reason: Why there is no further one.
    """

    number: int
    reason: str


class HedgeStarted(CallEvent):
    """One more attempt was started without a pause: the answer takes long, or an attempt failed beside another.

    Attributes:
        waited: Seconds since the first attempt of this step of the retry began.
        reason: Why, in a few words.
    """

    waited: float
    reason: str


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


class CallRejected(CallEvent):
    """An attempt was refused on our side; nothing was sent.

    Attributes:
        reason: By what: ``circuit_open``, ``bulkhead_full`` or ``rate_limited``.
        endpoint: Who would have been called.
    """

    reason: str
    endpoint: Endpoint


class CallCoalesced(CallEvent):
    """A call joined the flight of one that is alike; no request of its own is made.

    Attributes:
        waiters: How many wait for that flight now, this one included.
    """

    waiters: int


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


class TokenRefreshed(Event):
    """Credentials were renewed, or could not be.

    Attributes:
        ok: Whether there are new ones.
        detail: Why not, or ``""``.
    """

    ok: bool
    detail: str = ""


class EndpointPaused(Event):
    """A reply asked to slow down: all callers of its endpoint are held back.

    Attributes:
        endpoint: Who answered.
        seconds: For how long from now.
    """

    endpoint: Endpoint
    seconds: float


class CircuitEvent(Event):
    """The base of what happens to circuits.

    Attributes:
        endpoint: Whose circuit.
    """

    endpoint: Endpoint


class CircuitOpened(CircuitEvent):
    """The endpoint is left alone.

    Attributes:
        retry_after: Seconds until it is tried again.
    """

    retry_after: float | None


class CircuitHalfOpened(CircuitEvent):
    """A few probes are let through."""


class CircuitClosed(CircuitEvent):
    """The endpoint is well again."""


class EndpointEjected(Event):
    """One of several endpoints is passed over from now on, as long as the others can spare it.

    Attributes:
        endpoint: Which.
        reason: Why, in a few words.
    """

    endpoint: Endpoint
    reason: str


class EndpointRestored(Event):
    """It is chosen again, slowly at first.

    Attributes:
        endpoint: Which.
    """

    endpoint: Endpoint


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
