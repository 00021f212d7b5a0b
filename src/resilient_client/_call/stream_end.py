"""How a stream ends, once: closed by its reader, failed, cut off at its deadline, or deleted unclosed.

An open stream holds a connection, a slot of the pool and maybe a permit. A reader that never comes back must not keep
them: at the deadline of the call they are released, whether anything still refers to the stream or not.
"""

from __future__ import annotations

from collections.abc import Callable

from resilient_client._core.cancellation import client_closed
from resilient_client._core.context import CallContext
from resilient_client._core.deadline import RESOLUTION, SharedTimer
from resilient_client._core.errors import APIError, DeadlineExceededError
from resilient_client._core.kinds import Stage
from resilient_client._core.request import Request
from resilient_client._core.response import Response


class StreamEnd:
    """What has to be done when a stream ends. Does not refer to the stream, so that Python can delete it unclosed.

    Attributes:
        context: The call of the stream.
        ended: Whether the stream has ended.
        ends_at: The loop time of its end. A moment after the deadline, so that a read under way reports it first.
        unreported: The error of a stream that was cut off between two reads, until the next read raises it.
    """

    __slots__ = ("_loop", "_on_end", "_request", "_response", "_timer", "context", "ended", "ends_at", "unreported")

    def __init__(self, response: Response, request: Request, on_end: Callable[[Exception | None], None]) -> None:
        """Take over the open body of ``response``; see ``StreamResponse``."""
        context = request.context
        timer = context.client.timer
        self.context: CallContext | None = context
        self.ended = False
        self.unreported: APIError | None = None
        self.ends_at = context.deadline + 3 * RESOLUTION
        self._loop = timer.loop
        self._response: Response | None = response
        self._request = request
        self._on_end: Callable[[Exception | None], None] | None = on_end
        self._timer: SharedTimer | None = None
        if response.open_body is not None:
            self._timer = timer
            timer.add(self)

    def end(self, failure: Exception | None) -> None:
        """End the stream: report it, and release what it holds. Further calls do nothing."""
        on_end, self._on_end = self._on_end, None
        response, self._response = self._response, None
        self.ended = True
        self.body_ended()
        try:
            if on_end is not None:
                on_end(failure)
        finally:
            if response is not None:
                response.close_body()

    def body_ended(self) -> None:
        """The body was read to its end: nothing is held any more, so there is nothing to cut off."""
        timer, self._timer = self._timer, None
        self.context = None  # the heap of the timer may hold this object for long
        if timer is not None:
            timer.remove(self)

    def fire(self) -> None:
        """Cut the stream off at its deadline."""
        if self._timer is not None:
            self.unreported = self.deadline_exceeded()
            self.end(self.unreported)

    def abort(self) -> None:
        """End the stream because the client is closed. The next read, or the one under way, raises the error."""
        if self._timer is not None:
            self.unreported = client_closed(self._request.label, Stage.BODY, sent=True)
            self.end(self.unreported)

    def deleted(self) -> None:
        """End the stream because nothing refers to it any more. May be called in any thread."""
        if not self.ended:
            try:
                self._loop.call_soon_threadsafe(self.end, None)
            except RuntimeError:
                pass  # the loop is closed, and its connections with it

    def deadline_exceeded(self) -> APIError:
        """The error of a stream that was not read in time."""
        context = self._request.context
        total = context.deadline - context.started
        return DeadlineExceededError(
            f"the call was not done after {total:.3g} s, stuck in stage body",
            stage=Stage.BODY,
            label=self._request.label,
        )
