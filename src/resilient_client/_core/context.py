"""The two contexts of a call: shared by all calls of a client, and shared by all attempts of a call."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from resilient_client._core.attempt import Attempt
from resilient_client._core.call import IDEMPOTENT_METHODS, Call, route_of
from resilient_client._core.call_id import new_call_id
from resilient_client._core.clock import clock_of
from resilient_client._core.deadline import SharedTimer
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.events import CallEvent, Event
from resilient_client._core.listeners import Events

if TYPE_CHECKING:
    import asyncio

    from resilient_client._core.causes import RefusalCause
    from resilient_client._core.response import Response
    from resilient_client._settings.call_settings import CallSettings


P = ParamSpec("P")


class ClientContext:
    """The part of a client that middlewares and transports see: name, clock, random generator and events.

    Attributes:
        name: The name of the client, for events.
        events: Emits events to the listeners.
        rng: The client's only source of randomness.
        loop_time: Returns the loop's time in seconds, for deadlines.
        clock: Returns the time in seconds, for short durations.
        timer: Fires the timeouts of all calls. It belongs to the client's event loop and is set by ``use_loop``.
    """

    __slots__ = ("clock", "events", "loop_time", "name", "rng", "timer")

    def __init__(self, name: str, events: Events, rng: Random) -> None:
        self.name = name
        self.events = events
        self.rng = rng
        self.loop_time: Callable[[], float] = time.monotonic
        self.clock: Callable[[], float] = time.perf_counter
        self.timer: SharedTimer

    def use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use the clocks of ``loop``, and a new timer on it."""
        self.loop_time = loop.time
        self.clock = clock_of(loop)
        self.timer = SharedTimer(loop)

    def emit(
        self, event: Callable[Concatenate[str, float, P], Event], at: float, *own: P.args, **named: P.kwargs
    ) -> None:
        """Emit an event of this client, unless no listener wants it. Then it is not even built.

        Args:
            event: The class of the event.
            at: Loop time.
            own: What it takes after the attributes of ``Event``.
            named: More of that, by name.
        """
        if self.events.listeners_of[event]:  # type: ignore[index]  # it is a class, whose __init__ is checked here
            self.events.emit(event(self.name, at, *own, **named))


class CallContext:
    """The state of one call, shared by its attempts from start to end.

    Attributes:
        call: The call as the caller described it.
        client: The context that the call shares with the other calls of its client.
        settings: The settings in force.
        started: Loop time of the start.
        started_clock: The same moment on ``client.clock``.
        deadline: Loop time at which the call times out. Infinity means never.
        streaming: Whether the caller reads the body (``stream``).
        upstream: The endpoint the call is addressed to. Its retry budget is used. Set once the request is built.
        idempotency_key: The one key of all attempts, or ``None``. Set once the request is built.
        history: The attempts, in order. An attempt that was rejected on our side, before anything was sent, is left
            out.
        open_response: The latest response whose body is still open, until the caller owns it.
        advice: Why there was no further attempt and what would change that. ``""`` if there is nothing to explain.
        not_retried: Why a retryable failure was not retried, or ``None``.
    """

    upstream: Endpoint
    idempotency_key: str | None = None
    open_response: Response | None = None
    advice = ""
    not_retried: RefusalCause | None = None
    _call_id = ""

    def __init__(
        self,
        call: Call[object],
        client: ClientContext,
        settings: CallSettings,
        started: float,
        deadline: float = math.inf,
        streaming: bool = False,
    ) -> None:
        self.call = call
        self.client = client
        self.settings = settings
        self.started = started
        self.started_clock = client.clock()
        self.deadline = deadline
        self.streaming = streaming
        self.history: list[Attempt] = []

    @property
    def call_id(self) -> str:
        """The id of the call. Made when it is first read, so a call that nothing observes has none."""
        if not self._call_id:
            self._call_id = new_call_id()
        return self._call_id

    @call_id.setter
    def call_id(self, call_id: str) -> None:
        self._call_id = call_id

    @property
    def attempts(self) -> int:
        """The number of attempts started so far."""
        return len(self.history)

    @property
    def elapsed(self) -> float:
        """Seconds since the start of the call."""
        return self.client.clock() - self.started_clock

    @property
    def idempotent(self) -> bool:
        """Whether a repeat is harmless: by the caller's ``idempotent``, else by a key or by the method."""
        stated = self.call.given.get("idempotent")
        if stated is None:
            return self.idempotency_key is not None or self.call.method in IDEMPOTENT_METHODS
        return stated

    def close_open_response(self) -> None:
        """Close the body that an earlier attempt left open. It holds a connection, and maybe a permit."""
        if self.open_response is not None:
            response, self.open_response = self.open_response, None
            response.close_body()

    def emit(
        self,
        event: Callable[Concatenate[str, float, str, str, Mapping[str, str], P], CallEvent],
        *own: P.args,
        **named: P.kwargs,
    ) -> None:
        """Emit an event of this call, unless no listener wants it. Then it is not even built.

        Args:
            event: The class of the event.
            own: What it takes after the attributes of ``CallEvent``.
            named: More of that, by name.
        """
        client, call = self.client, self.call
        if client.events.listeners_of[event]:  # type: ignore[index]  # it is a class, whose __init__ is checked here
            tags = call.given.get("tags")
            own_tags = dict(tags) if tags else {}  # a listener may keep and change them
            built = event(client.name, client.loop_time(), call.method, route_of(call.path), own_tags, *own, **named)
            built.call_id, built.upstream = self.call_id, self.upstream
            if self.history:
                latest = self.history[-1]
                built.attempt, built.request_id = latest.number, latest.request_id
            client.events.emit(built)
