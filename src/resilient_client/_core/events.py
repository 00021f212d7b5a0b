"""The events that a client emits to its listeners. Their names are in the past tense.

An event is only built if a listener wants its type (``_core.listeners``). The classes are written out: twenty
dataclasses would take a tenth of this library's import time. They take their values by position as well as by keyword,
because Python calls a class by position in half the time.
"""

from __future__ import annotations

from collections.abc import Mapping

from resilient_client._core.causes import HedgeCause, RefusalCause, RejectionCause
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.record import AttemptRecord


class Event:
    """The base of all events. ``vars(event)`` is a dict of its attributes, in the order in which it takes them.

    Attributes:
        client: The name of the client.
        at: Loop time.
    """

    def __init__(self, client: str, at: float) -> None:
        self.client = client
        self.at = at

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]  # the values, such as tags, need not be hashable

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class CallEvent(Event):
    """The base of events that belong to one call.

    Attributes:
        method: In upper case.
        route: The path as the caller wrote it, without the query.
        tags: The caller's labels for the call.
        call_id: The id of the call, the same in all of its events. Unique among all processes.
        upstream: The endpoint that the call is addressed to. An attempt may go to another one.
        attempt: The number of the latest attempt, counted from 1, or ``None`` before the first.
        request_id: The id that the server gave the request of that attempt (``X-Request-Id`` and the like), or ``None``
            if it sent none.
    """

    call_id = ""
    upstream: Endpoint | None = None
    attempt: int | None = None
    request_id: str | None = None

    def __init__(self, client: str, at: float, method: str, route: str, tags: Mapping[str, str]) -> None:
        self.client = client  # not by super(): most events are built here
        self.at = at
        self.method = method
        self.route = route
        self.tags = tags


class AttemptStarted(CallEvent):
    """An attempt is about to be made.

    If it is then rejected on our side, a ``CallRejected`` follows, and the attempt is not counted.

    Attributes:
        number: Counted from 1.
        endpoint: The endpoint to be called.
    """

    def __init__(
        self,
        client: str,
        at: float,
        method: str,
        route: str,
        tags: Mapping[str, str],
        number: int,
        endpoint: Endpoint,
    ) -> None:
        super().__init__(client, at, method, route, tags)
        self.number = number
        self.endpoint = endpoint


class AttemptFinished(CallEvent):
    """An attempt ended. ``record`` describes it.

    An attempt that was rejected on our side (``CIRCUIT_OPEN``, ``REJECTED``) is reported, too. It is not part of the
    history or of the number of attempts.
    """

    def __init__(
        self,
        client: str,
        at: float,
        method: str,
        route: str,
        tags: Mapping[str, str],
        record: AttemptRecord,
    ) -> None:
        super().__init__(client, at, method, route, tags)
        self.record = record


class RetryScheduled(CallEvent):
    """Another attempt will follow.

    Attributes:
        number: The number of the attempt that failed.
        delay: Seconds until the next attempt.
        reason: Why there is another attempt, in a few words.
        kind: The kind of that failure.
    """

    def __init__(
        self,
        client: str,
        at: float,
        method: str,
        route: str,
        tags: Mapping[str, str],
        number: int,
        delay: float,
        reason: str,
        kind: ErrorKind,
    ) -> None:
        super().__init__(client, at, method, route, tags)
        self.number = number
        self.delay = delay
        self.reason = reason
        self.kind = kind


class RetryRefused(CallEvent):
    """A retryable failure is not retried: attempts, budget or time are used up, or a repeat is not safe.

    Not emitted after the last of two attempts or more: ``CallFinished.attempts`` tells enough.

    Attributes:
        number: The number of the attempt that failed.
        reason: Why there is no further attempt, in words.
        cause: The same as a value.
    """

    def __init__(
        self,
        client: str,
        at: float,
        method: str,
        route: str,
        tags: Mapping[str, str],
        number: int,
        reason: str,
        cause: RefusalCause,
    ) -> None:
        super().__init__(client, at, method, route, tags)
        self.number = number
        self.reason = reason
        self.cause = cause


class HedgeStarted(CallEvent):
    """Another attempt was started without a pause: a response is late, or one of several parallel attempts failed.

    Attributes:
        waited: Seconds since the first attempt of this step of the retry began.
        reason: Why the hedge was started, in a few words.
        cause: The same as a value.
    """

    def __init__(
        self,
        client: str,
        at: float,
        method: str,
        route: str,
        tags: Mapping[str, str],
        waited: float,
        reason: str,
        cause: HedgeCause,
    ) -> None:
        super().__init__(client, at, method, route, tags)
        self.waited = waited
        self.reason = reason
        self.cause = cause


class CallFinished(CallEvent):
    """A call ended.

    Attributes:
        status: The status of the response, or ``None`` without a response.
        kind: The kind of failure, or ``None`` for a success.
        attempts: The number of attempts started.
        elapsed: Seconds the call took.
    """

    def __init__(
        self,
        client: str,
        at: float,
        method: str,
        route: str,
        tags: Mapping[str, str],
        status: int | None,
        kind: ErrorKind | None,
        attempts: int,
        elapsed: float,
    ) -> None:
        super().__init__(client, at, method, route, tags)
        self.status = status
        self.kind = kind
        self.attempts = attempts
        self.elapsed = elapsed


class CallFailed(CallFinished):
    """A call ended with a failure: with an error, or with a response whose status is one.

    A listener of ``CallFinished`` receives it, too. A listener of ``CallFailed`` alone costs a successful call nothing.

    Attributes:
        stage: How far the failing attempt had come.
        error: One line about the failure.
        reason: Why there was no further attempt, or ``""`` if there is nothing to explain.
    """

    kind: ErrorKind

    def __init__(
        self,
        client: str,
        at: float,
        method: str,
        route: str,
        tags: Mapping[str, str],
        status: int | None,
        kind: ErrorKind,
        attempts: int,
        elapsed: float,
        stage: Stage,
        error: str,
        reason: str = "",
    ) -> None:
        super().__init__(client, at, method, route, tags, status, kind, attempts, elapsed)
        self.stage = stage
        self.error = error
        self.reason = reason


class CallCancelled(CallEvent):
    """The caller cancelled the call. That is not an outcome: neither ``CallFinished`` nor ``CallFailed`` follows.

    The attempt in flight, if any, has no ``AttemptFinished``.

    Attributes:
        attempts: The number of attempts started.
        elapsed: Seconds until the cancellation.
        stage: How far the latest attempt had come.
        maybe_processed: Whether the server may have acted.
    """

    def __init__(
        self,
        client: str,
        at: float,
        method: str,
        route: str,
        tags: Mapping[str, str],
        attempts: int,
        elapsed: float,
        stage: Stage,
        maybe_processed: bool,
    ) -> None:
        super().__init__(client, at, method, route, tags)
        self.attempts = attempts
        self.elapsed = elapsed
        self.stage = stage
        self.maybe_processed = maybe_processed


class CallRejected(CallEvent):
    """An attempt was rejected on our side. Nothing was sent.

    Attributes:
        cause: The policy that rejected it.
        endpoint: The endpoint that would have been called.
    """

    def __init__(
        self,
        client: str,
        at: float,
        method: str,
        route: str,
        tags: Mapping[str, str],
        cause: RejectionCause,
        endpoint: Endpoint,
    ) -> None:
        super().__init__(client, at, method, route, tags)
        self.cause = cause
        self.endpoint = endpoint


class CallCoalesced(CallEvent):
    """A call joined an identical call in flight, and sends no request of its own.

    Attributes:
        waiters: The number of calls that share the request now, this one included.
        flight_id: The ``call_id`` of the call that began the flight. The events of the attempts carry it.
    """

    def __init__(
        self,
        client: str,
        at: float,
        method: str,
        route: str,
        tags: Mapping[str, str],
        waiters: int,
        flight_id: str = "",
    ) -> None:
        super().__init__(client, at, method, route, tags)
        self.waiters = waiters
        self.flight_id = flight_id


class FallbackUsed(CallEvent):
    """A failed call used its fallback, successfully or not. Emitted after the ``CallFinished`` of the call.

    Attributes:
        kind: The kind of failure of the call.
        ok: Whether the fallback supplied a value.
        detail: Why the fallback failed, in one word, or ``""`` if it did not.
    """

    def __init__(
        self,
        client: str,
        at: float,
        method: str,
        route: str,
        tags: Mapping[str, str],
        kind: ErrorKind,
        ok: bool,
        detail: str = "",
    ) -> None:
        super().__init__(client, at, method, route, tags)
        self.kind = kind
        self.ok = ok
        self.detail = detail


class TokenRefreshed(Event):
    """Credentials were renewed, or renewing them failed.

    Attributes:
        ok: Whether there are new credentials.
        detail: Why there are none, or ``""``.
    """

    def __init__(self, client: str, at: float, ok: bool, detail: str = "") -> None:
        super().__init__(client, at)
        self.ok = ok
        self.detail = detail


class EndpointPaused(Event):
    """A response asked to slow down, so all calls to its endpoint are held back.

    Attributes:
        endpoint: The endpoint that sent the response.
        seconds: The length of the pause, from now.
    """

    def __init__(self, client: str, at: float, endpoint: Endpoint, seconds: float) -> None:
        super().__init__(client, at)
        self.endpoint = endpoint
        self.seconds = seconds


class CircuitEvent(Event):
    """The base of the events of circuits.

    Attributes:
        endpoint: The endpoint that the circuit protects.
    """

    def __init__(self, client: str, at: float, endpoint: Endpoint) -> None:
        super().__init__(client, at)
        self.endpoint = endpoint


class CircuitOpened(CircuitEvent):
    """A circuit opened: its endpoint gets no more attempts for now.

    Attributes:
        retry_after: Seconds until the endpoint is tried again, or ``None`` if that is not known.
    """

    def __init__(self, client: str, at: float, endpoint: Endpoint, retry_after: float | None) -> None:
        super().__init__(client, at, endpoint)
        self.retry_after = retry_after


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

    def __init__(self, client: str, at: float, endpoint: Endpoint, reason: str) -> None:
        super().__init__(client, at)
        self.endpoint = endpoint
        self.reason = reason


class EndpointRestored(Event):
    """An ejected endpoint is chosen again, rarely at first.

    Attributes:
        endpoint: The endpoint that was restored.
    """

    def __init__(self, client: str, at: float, endpoint: Endpoint) -> None:
        super().__init__(client, at)
        self.endpoint = endpoint


class EndpointsResolved(Event):
    """The endpoints were resolved again. If that failed, the previous ones stay in use.

    Attributes:
        ok: Whether resolving succeeded.
        endpoints: The endpoints in use now.
        detail: Why resolving failed, or ``""``.
    """

    def __init__(self, client: str, at: float, ok: bool, endpoints: tuple[Endpoint, ...], detail: str = "") -> None:
        super().__init__(client, at)
        self.ok = ok
        self.endpoints = endpoints
        self.detail = detail
