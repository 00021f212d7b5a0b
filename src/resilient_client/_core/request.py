"""A request, one per attempt, and what the attempts of a call share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Protocol

from multidict import CIMultiDict
from yarl import URL

from resilient_client._core.body import Body
from resilient_client._core.call import IDEMPOTENT_METHODS, Call, route_of
from resilient_client._core.clock import clock_of
from resilient_client._core.deadline import SharedTimer
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.events import CallEvent, Events
from resilient_client._core.record import AttemptRecord
from resilient_client._core.types import Priority

if TYPE_CHECKING:
    import asyncio

    from resilient_client._settings.hedging import Hedging
    from resilient_client._settings.retry import Retry
    from resilient_client._settings.timeout import TimeLimits


class OpenBody(Protocol):
    """A body that is still on the wire."""

    async def read(self) -> bytes:
        """The next piece, decoded; ``b""`` at the end.

        Raises:
            APIError: It ended early, or is corrupt.
        """
        ...

    def close(self) -> None:
        """Give it up and its connection with it; never blocks, may be called twice."""
        ...


class RequestInfo:
    """What was asked, fit to be shown: no credentials, no query values. Frozen by convention, picklable.

    Attributes:
        method: In upper case.
        url: With query values redacted.
        route: The path as the caller wrote it, ``{placeholders}`` and all, without the query.
        headers: The headers as the caller gave them; all but harmless ones redacted.
        endpoint: Who was called.
        idempotency_key: The key sent along, or ``None``.
    """

    __slots__ = ("endpoint", "headers", "idempotency_key", "method", "route", "url")

    def __init__(
        self,
        method: str,
        url: str,
        route: str,
        headers: Mapping[str, str],
        endpoint: Endpoint,
        idempotency_key: str | None,
    ) -> None:
        self.method = method
        self.url = url
        self.route = route
        self.headers = headers
        self.endpoint = endpoint
        self.idempotency_key = idempotency_key

    def __repr__(self) -> str:
        return f"<RequestInfo {self.method} {self.url}>"


class ClientContext:
    """What the calls of one client share: its name, and where time, chance and listeners come from.

    Attributes:
        name: Of the client, for events.
        events: Where events go.
        rng: The source of chance.
        loop_time: The loop's time, for deadlines; in seconds.
        clock: Time for short durations; in seconds.
        timers: What wakes alarms; of the loop the client belongs to.
    """

    __slots__ = ("clock", "events", "loop_time", "name", "rng", "timer")

    def __init__(self, name: str, events: Events, rng: Random) -> None:
        self.name = name
        self.events = events
        self.rng = rng
        self.loop_time: Callable[[], float] = time.monotonic
        self.clock: Callable[[], float] = time.perf_counter
        self.timer: SharedTimer

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take time from ``loop``."""
        self.loop_time = loop.time
        self.clock = clock_of(loop)
        self.timer = SharedTimer(loop)


class CallContext:
    """What the attempts of one call share. Made at the edge, gone when the call ends; one call, one context.

    Attributes:
        call: What was asked.
        client: What it shares with the other calls of its client.
        limits: The timeouts in force.
        retry: The retry settings in force; ``None``: exactly one wire request.
        upstream: What the retry budget is kept for.
        started: Loop time of the start.
        started_clock: The same moment on ``client.clock``.
        deadline: Loop time of the end; infinity means none.
        attempts: Attempts started so far.
        records: One record for each.
        idempotency_key: One for all attempts, or ``None``.
        streaming: Whether the body is left to the caller (``stream``).
        open_stream: The reply that is still open, until the caller owns it.
        hedging: When a second attempt is started beside a slow one; ``None``: never.
        priority: Who goes first where calls wait for one another.
        advice: Why there was no further attempt, and what would change that; ``""`` if that is plain.
    """

    attempts = 0
    open_stream: OpenBody | None = None
    hedging: Hedging | None = None
    priority: Priority = "user"
    advice = ""

    def __init__(
        self,
        call: Call[object],
        client: ClientContext,
        limits: TimeLimits,
        retry: Retry | None,
        upstream: Endpoint,
        started: float,
        deadline: float = math.inf,
        idempotency_key: str | None = None,
        streaming: bool = False,
    ) -> None:
        self.call = call
        self.client = client
        self.limits = limits
        self.retry = retry
        self.upstream = upstream
        self.started = started
        self.started_clock = client.clock()
        self.deadline = deadline
        self.records: list[AttemptRecord] = []
        self.idempotency_key = idempotency_key
        self.streaming = streaming

    @property
    def idempotent(self) -> bool:
        """Whether a repeat is harmless: by the caller's word, a key, or the method."""
        word = self.call.given.get("idempotent")
        if word is None:
            return self.idempotency_key is not None or self.call.method in IDEMPOTENT_METHODS
        return word

    def emit(self, event: Callable[..., CallEvent], **fields: object) -> None:
        """Tell the listeners of something that happened to this call; costs nothing when there are none."""
        client, call = self.client, self.call
        if client.events.active:
            tags = dict(call.given.get("tags") or {})
            route = route_of(call.path)
            client.events.emit(
                event(client=client.name, at=client.loop_time(), method=call.method, route=route, tags=tags, **fields)
            )


class Request:
    """One attempt's request. Middlewares may change ``headers`` and ``url``: the next attempt gets its own.

    Attributes:
        method: In upper case.
        headers: Secret: they carry credentials.
        body: What to send, or ``None``.
        context: What the attempts of this call share.
        endpoint: Whom it goes to; follows ``url``.
        record: The record of the attempt it belongs to; there is none before the attempt middleware.
        redirected_from: The request whose redirect led to this one; ``None`` if none did.
    """

    record: AttemptRecord
    redirected_from: Request | None = None

    def __init__(
        self,
        method: str,
        url: URL,
        headers: CIMultiDict[str],
        body: Body | None,
        context: CallContext,
        record: AttemptRecord | None = None,
        endpoint: Endpoint | None = None,
    ) -> None:
        self.method = method
        self._url = url
        self.endpoint = endpoint or Endpoint.of(url)
        self.headers = headers
        self.body = body
        self.context = context
        if record is not None:
            self.record = record

    def copy(self) -> Request:
        """The same request with headers of its own."""
        record = getattr(self, "record", None)
        return Request(self.method, self._url, self.headers.copy(), self.body, self.context, record, self.endpoint)

    @property
    def url(self) -> URL:
        """Where it goes; absolute. Secret, too: its query may carry credentials."""
        return self._url

    @url.setter
    def url(self, url: URL) -> None:
        self._url = url
        self.endpoint = Endpoint.of(url)

    def place(self, url: URL, endpoint: Endpoint) -> None:
        """Let it go to ``url``, which lies at ``endpoint``: as setting ``url``, without looking for whose it is."""
        self._url = url
        self.endpoint = endpoint

    @property
    def label(self) -> str:
        """Method, origin and route: what an error message calls this request. No query, no path parameter.

        A redirected one is called by what its caller asked for, and by where that has led.
        """
        if self.redirected_from is not None:
            return f"{self.redirected_from.label}: redirected to {self._url.with_query(None)}"
        path = route_of(self.context.call.path)
        return f"{self.method} {path if '://' in path else f'{self.endpoint}{path}'}"

    def __repr__(self) -> str:
        return f"<Request {self.label}>"
