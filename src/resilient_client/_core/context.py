"""What the calls of a client share, and what the attempts of a call share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from resilient_client._core.attempt import Attempt
from resilient_client._core.call import IDEMPOTENT_METHODS, Call, route_of
from resilient_client._core.clock import clock_of
from resilient_client._core.deadline import SharedTimer
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.events import CallEvent, Events

if TYPE_CHECKING:
    import asyncio

    from resilient_client._core.response import Response
    from resilient_client._settings.call_settings import CallSettings


class ClientContext:
    """What middlewares and transports see of a client: its name, and where time, randomness and events come from.

    Attributes:
        name: The name of the client, for events.
        events: Emits events to the listeners.
        rng: The random generator; everything random is drawn from it.
        loop_time: The loop's time in seconds, for deadlines.
        clock: The time in seconds, for short durations.
        timer: Fires the timeouts of all calls; belongs to the client's event loop.
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
        """Take the time from ``loop``."""
        self.loop_time = loop.time
        self.clock = clock_of(loop)
        self.timer = SharedTimer(loop)


class CallContext:
    """What the attempts of one call share, from the start of the call to its end.

    Attributes:
        call: What the caller asked for.
        client: What the call shares with the other calls of its client.
        settings: The settings in force.
        started: Loop time of the start.
        started_clock: The same moment on ``client.clock``.
        deadline: Loop time at which the call ends; infinity means never.
        streaming: Whether the body is left to the caller (``stream``).
        upstream: The endpoint the call is addressed to, for which its retry budget is kept. Set with the request.
        idempotency_key: The one key of all attempts, or ``None``. Set with the request.
        history: The attempts, in order; those that were rejected here, before anything was sent, are not in it.
        open_response: The latest response whose body is still open, until the caller owns it.
        advice: Why there was no further attempt, and what would change that; ``""`` if that is plain.
    """

    upstream: Endpoint
    idempotency_key: str | None = None
    open_response: Response | None = None
    advice = ""

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
    def attempts(self) -> int:
        """Attempts started so far."""
        return len(self.history)

    @property
    def elapsed(self) -> float:
        """Seconds since the start of the call."""
        return self.client.clock() - self.started_clock

    @property
    def idempotent(self) -> bool:
        """Whether a repeat is harmless: because the caller says so, by a key, or by the method."""
        stated = self.call.given.get("idempotent")
        if stated is None:
            return self.idempotency_key is not None or self.call.method in IDEMPOTENT_METHODS
        return stated

    def close_open_response(self) -> None:
        """Close a body that an earlier attempt left open: it holds a connection, and maybe a permit."""
        if self.open_response is not None:
            response, self.open_response = self.open_response, None
            response.close_body()

    def emit(self, event: Callable[..., CallEvent], **fields: object) -> None:
        """Emit an event of this call; costs nothing without listeners."""
        client, call = self.client, self.call
        if client.events.active:
            tags = dict(call.given.get("tags") or {})
            route = route_of(call.path)
            client.events.emit(
                event(client=client.name, at=client.loop_time(), method=call.method, route=route, tags=tags, **fields)
            )
