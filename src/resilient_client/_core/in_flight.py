"""The calls of a client that have not ended: how long they have been running, and where they wait.

Found through the timeouts in force, because every call has one as long as it waits for anything. So nothing is kept
per call for this, and a call that is never listed pays nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from resilient_client._core.attempt import Attempt
from resilient_client._core.call import route_of
from resilient_client._core.context import CallContext
from resilient_client._core.deadline import SharedTimer
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.kinds import Stage


class CallInFlight(NamedTuple):
    """A call that has not ended.

    Attributes:
        client: The name of the client.
        method: In upper case.
        route: The path as the caller wrote it, without the query.
        endpoint: Where the latest attempt was sent, or would be sent.
        age: Seconds since the start of the call.
        attempts: The number of attempts started.
        stage: Where the call waits. ``LOCAL`` before anything is sent, and between two attempts.
        waits_for: What it waits for, in a few words out of a small fixed set.
    """

    client: str
    method: str
    route: str
    endpoint: Endpoint
    age: float
    attempts: int
    stage: Stage
    waits_for: str

    def __str__(self) -> str:
        return (
            f"{self.method} {self.route} to {self.endpoint}: for {self.age:.3g} s, in stage {self.stage}, "
            f"waits for {self.waits_for}; attempts: {self.attempts}"
        )


def contexts_in_flight(timer: SharedTimer) -> list[CallContext]:
    """The contexts of the calls that have a timeout, the oldest call first. Takes time in proportion to their number.

    A flight that calls share is listed as well, because it has a context of its own.
    """
    contexts = {id(timeout.context): timeout.context for timeout in timer.timeouts() if timeout.context is not None}
    return sorted(contexts.values(), key=lambda context: context.started)


def call_in_flight(context: CallContext) -> CallInFlight:
    """Describe a call that has not ended."""
    running = next((attempt for attempt in context.history if attempt.timeout is not None), None)
    latest = context.history[-1] if context.history else None
    stage, waits_for = _place(running, latest, context)
    seen = running or latest
    endpoint = context.upstream if seen is None else seen.redirected_to or seen.endpoint
    return CallInFlight(
        context.client.name,
        context.call.method,
        route_of(context.call.path),
        endpoint,
        context.elapsed,
        context.attempts,
        stage,
        waits_for,
    )


def _place(running: Attempt | None, latest: Attempt | None, context: CallContext) -> tuple[Stage, str]:
    if running is not None:
        renewing = running.stage is Stage.LOCAL and not running.reauthenticated  # after a 401, before the resend
        if renewing or (running.trace is None and not running.sent):
            return Stage.LOCAL, "a permit or slot" if running.queued else "credentials or a middleware"
        stage = Stage.HEADERS if running.trace is None else running.trace.stage()
        return stage, "a connection" if not stage.maybe_processed else "the server"
    if latest is None:
        return Stage.LOCAL, "a shared flight or a middleware"
    if context.streaming and latest.kind is None:
        return Stage.BODY, "its reader or the server"
    return Stage.LOCAL, "the next attempt or a fallback"
