"""What the fan-out says of calls that it ended itself, or never made.

A client leaves word on the cancellation of a call of how far it had come (``_core.cancellation``). Where there is no
such word, the request may have been sent.
"""

from __future__ import annotations

from resilient_client._core.call import Call, route_of
from resilient_client._core.cancellation import annotation_of
from resilient_client._core.errors import APIError, CallCancelledError, DeadlineExceededError
from resilient_client._core.kinds import Stage


def too_late(call: Call[object]) -> DeadlineExceededError:
    """A call that had no turn before the deadline."""
    text = "the deadline of the fan-out was over before this call had its turn"
    return DeadlineExceededError(f"{_label(call)}: {text}", stage=Stage.LOCAL)


def cut_off() -> DeadlineExceededError:
    """What may have been left of an async iterable at the deadline."""
    text = "the deadline of the fan-out was over before its iterable gave another call, or said that there are no more"
    return DeadlineExceededError(text, stage=Stage.LOCAL)


def never_made(call: Call[object], reason: str) -> CallCancelledError:
    """A call that had no turn before the fan-out stopped."""
    error = CallCancelledError(f"{_label(call)}: never made, because {reason}")
    error.dropped = True
    return error


def dropped(call: Call[object], reason: str, cancellation: BaseException) -> APIError:
    """A call in flight that the fan-out dropped when it stopped."""
    error = CallCancelledError(f"{_label(call)}: dropped, because {reason}", maybe_processed=True)
    error.dropped = True
    return _informed(error, cancellation)


def overdue(call: Call[object], cancellation: BaseException) -> APIError:
    """A call in flight whose client did not end it at the deadline, so the fan-out did."""
    text = f"{_label(call)}: the deadline of the fan-out was over, and this call went on"
    return _informed(DeadlineExceededError(text, maybe_processed=True), cancellation)


def cancelled_from_within(call: Call[object], cancellation: BaseException) -> APIError:
    """A call that ended in a cancellation which nobody outside asked for."""
    text = "cancelled from within: something this call awaited was cancelled, the fan-out was not"
    error = _informed(CallCancelledError(f"{_label(call)}: {text}", maybe_processed=True), cancellation)
    error.__cause__ = cancellation
    return error


def _informed(error: APIError, cancellation: BaseException) -> APIError:
    if (word := annotation_of(cancellation)) is not None:
        error.maybe_processed = word.maybe_processed
        error.stage = word.stage
        error.request = word.request
        error.attempts = word.attempts
        error.elapsed = word.elapsed
        error.history = word.history
    return error


def _label(call: Call[object]) -> str:
    return f"{call.method} {route_of(call.path)}"
