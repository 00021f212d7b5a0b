"""The events that a client emits to its subscribers. Their names are in the past tense.

Events are only built if there is a listener. An exception in a listener never affects a call. It is logged once per
type of error and of event: a listener that fails on each event would otherwise fill the log.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeAlias

from typing_extensions import dataclass_transform

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.kinds import ErrorKind
from resilient_client._core.record import AttemptRecord

logging.getLogger("resilient_client").addHandler(logging.NullHandler())  # a library prints nothing by itself
_log = logging.getLogger("resilient_client.events")
_MAX_LOGGED: Final = 100  # kinds of failure that are logged: the types of errors need not be a fixed set


@dataclass_transform(kw_only_default=True)
class _Record:
    """A minimal dataclass. Twenty real dataclasses would take a tenth of this library's import time."""

    _names: ClassVar[frozenset[str]] = frozenset()
    _defaults: ClassVar[dict[str, object]] = {}

    def __init_subclass__(cls) -> None:
        own = cls.__annotations__
        cls._names |= own.keys()
        cls._defaults = cls._defaults | {name: getattr(cls, name) for name in own if hasattr(cls, name)}

    def __init__(self, **attributes: Any) -> None:
        values = self._defaults | attributes
        if values.keys() != self._names:
            names, wrong = (", ".join(sorted(some)) for some in (self._names, self._names ^ values.keys()))
            raise TypeError(f"{type(self).__name__} takes {names}; missing or unknown: {wrong}")
        self.__dict__.update(values)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]  # the values, such as tags, need not be hashable

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Event(_Record):
    """The base of all events. Each event takes its attributes as keywords, and ``vars(event)`` is a dict of them.

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
        tags: The caller's labels for the call.
    """

    method: str
    route: str
    tags: Mapping[str, str] = MappingProxyType({})


class AttemptStarted(CallEvent):
    """An attempt is about to be made.

    If it is then rejected on our side, a ``CallRejected`` follows, and the attempt is not counted.

    Attributes:
        number: Counted from 1.
        endpoint: The endpoint to be called.
    """

    number: int
    endpoint: Endpoint


class AttemptFinished(CallEvent):
    """An attempt ended. ``record`` describes it.

    An attempt that was rejected on our side (``CIRCUIT_OPEN``, ``REJECTED``) is reported, too. It is not part of the
    history or of the number of attempts.
    """

    record: AttemptRecord


class RetryScheduled(CallEvent):
    """Another attempt will follow.

    Attributes:
        number: The number of the attempt that failed.
        delay: Seconds until the next attempt.
        reason: Why there is another attempt, in a few words.
    """

    number: int
    delay: float
    reason: str


class RetryRefused(CallEvent):
    """A retryable failure is not retried: attempts, budget or time are used up, or a repeat is not safe.

    Attributes:
        number: The number of the attempt that failed.
        reason: Why there is no further attempt.
    """

    number: int
    reason: str


class HedgeStarted(CallEvent):
    """Another attempt was started without a pause: a response is late, or one of several parallel attempts failed.

    Attributes:
        waited: Seconds since the first attempt of this step of the retry began.
        reason: Why the hedge was started, in a few words.
    """

    waited: float
    reason: str


class CallFinished(CallEvent):
    """A call ended.

    Attributes:
        status: The status of the response, or ``None`` without a response.
        kind: The kind of failure, or ``None`` for a success.
        attempts: The number of attempts started.
        elapsed: Seconds the call took.
    """

    status: int | None
    kind: ErrorKind | None
    attempts: int
    elapsed: float


class CallRejected(CallEvent):
    """An attempt was rejected on our side. Nothing was sent.

    Attributes:
        reason: The policy that rejected it: ``circuit_open``, ``bulkhead_full`` or ``rate_limited``.
        endpoint: The endpoint that would have been called.
    """

    reason: str
    endpoint: Endpoint


class CallCoalesced(CallEvent):
    """A call joined an identical call in flight, and sends no request of its own.

    Attributes:
        waiters: The number of calls that share the request now, this one included.
    """

    waiters: int


class FallbackUsed(CallEvent):
    """A failed call used its fallback, successfully or not. Emitted after the ``CallFinished`` of the call.

    Attributes:
        kind: The kind of failure of the call.
        ok: Whether the fallback supplied a value.
        detail: Why the fallback failed, in one word, or ``""`` if it did not.
    """

    kind: ErrorKind
    ok: bool
    detail: str = ""


class TokenRefreshed(Event):
    """Credentials were renewed, or renewing them failed.

    Attributes:
        ok: Whether there are new credentials.
        detail: Why there are none, or ``""``.
    """

    ok: bool
    detail: str = ""


class EndpointPaused(Event):
    """A response asked to slow down, so all calls to its endpoint are held back.

    Attributes:
        endpoint: The endpoint that sent the response.
        seconds: The length of the pause, from now.
    """

    endpoint: Endpoint
    seconds: float


class CircuitEvent(Event):
    """The base of the events of circuits.

    Attributes:
        endpoint: The endpoint that the circuit protects.
    """

    endpoint: Endpoint


class CircuitOpened(CircuitEvent):
    """A circuit opened: its endpoint gets no more attempts for now.

    Attributes:
        retry_after: Seconds until the endpoint is tried again, or ``None`` if that is not known.
    """

    retry_after: float | None


class CircuitHalfOpened(CircuitEvent):
    """A circuit lets a few probes through, to find out whether its endpoint has recovered."""


class CircuitClosed(CircuitEvent):
    """A circuit closed: its endpoint has recovered."""


class EndpointEjected(Event):
    """One of the client's endpoints is not chosen from now on, as long as enough others are left.

    Attributes:
        endpoint: The endpoint that was ejected.
        reason: Why it was ejected, in a few words.
    """

    endpoint: Endpoint
    reason: str


class EndpointRestored(Event):
    """An ejected endpoint is chosen again, rarely at first.

    Attributes:
        endpoint: The endpoint that was restored.
    """

    endpoint: Endpoint


class EndpointsResolved(Event):
    """The endpoints were resolved again. If that failed, the previous ones stay in use.

    Attributes:
        ok: Whether resolving succeeded.
        endpoints: The endpoints in use now.
        detail: Why resolving failed, or ``""``.
    """

    ok: bool
    endpoints: tuple[Endpoint, ...]
    detail: str = ""


Listener: TypeAlias = Callable[[Event], object]


class Events:
    """The listeners of one client."""

    __slots__ = ("_listeners", "_logged", "active")

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._logged: set[tuple[int, type, type]] = set()  # listener, error, event
        self.active = False

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Pass every event from now on to ``listener``. It is called synchronously and must not block.

        Returns:
            A function that ends the subscription. It may be called twice.
        """
        self._listeners = (*self._listeners, listener)
        self.active = True

        def unsubscribe() -> None:
            self._listeners = tuple(known for known in self._listeners if known is not listener)
            self._logged = {kind for kind in self._logged if kind[0] != id(listener)}  # another may get its id
            self.active = bool(self._listeners)

        return unsubscribe

    def emit(self, event: Event) -> None:
        """Pass the event to all listeners. Check ``active`` first, to avoid building events without listeners."""
        for listener in self._listeners:
            try:
                if inspect.iscoroutine(returned := listener(event)):
                    returned.close()  # otherwise Python would warn that it was never awaited
                    raise TypeError("the listener is async, and is not awaited; give a plain function")
            except Exception as error:
                self._log_once(listener, event, error)

    def _log_once(self, listener: Listener, event: Event, error: Exception) -> None:
        kind = id(listener), type(error), type(event)
        if kind in self._logged or len(self._logged) >= _MAX_LOGGED:
            return
        self._logged.add(kind)
        _log.exception(
            "a listener failed on %s with %s; the call goes on, and further failures of this kind are not logged",
            type(event).__name__,
            type(error).__name__,
        )
