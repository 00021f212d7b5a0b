"""The errors of calls that the fan-out ended, or never started.

A client annotates the cancellation of a call with how far the call had come (``_core.cancellation``). Without such an
annotation, the request may have been sent.
"""

from __future__ import annotations

from resilient_client._core.call import Call, route_of
from resilient_client._core.cancellation import annotation_of
from resilient_client._core.errors import APIError, CallCancelledError, DeadlineExceededError
from resilient_client._core.kinds import Stage


def too_late(call: Call[object]) -> DeadlineExceededError:
    """The error of a call that was not started before the deadline."""
    summary = "the deadline of the fan-out passed before this call was started"
    return DeadlineExceededError(summary, label=_label(call), stage=Stage.LOCAL)


def cut_off() -> DeadlineExceededError:
    """The error that stands for the rest of an async iterable at the deadline. There may be no rest."""
    summary = "the deadline of the fan-out passed before its iterable gave another call or ended"
    return DeadlineExceededError(summary, stage=Stage.LOCAL)


def not_started(call: Call[object], reason: str) -> CallCancelledError:
    """The error of a call that was not started before the fan-out stopped."""
    error = CallCancelledError(f"not started, because {reason}", label=_label(call))
    error.dropped = True
    return error


def dropped(call: Call[object], reason: str, cancellation: BaseException) -> APIError:
    """The error of a call in flight that the fan-out cancelled when it stopped."""
    error = CallCancelledError(f"dropped, because {reason}", label=_label(call), maybe_processed=True)
    error.dropped = True
    return _annotated(error, cancellation)


def overdue(call: Call[object], cancellation: BaseException) -> APIError:
    """The error of a call in flight that the fan-out cancelled, because its client did not end it at the deadline."""
    summary = "the deadline of the fan-out passed, and this call had not ended"
    return _annotated(DeadlineExceededError(summary, label=_label(call), maybe_processed=True), cancellation)


def cancelled_from_within(call: Call[object], cancellation: BaseException) -> APIError:
    """The error of a call that ended in a cancellation which came neither from the fan-out nor from its caller."""
    summary = "cancelled from within: something this call awaited was cancelled, the fan-out was not"
    error = _annotated(CallCancelledError(summary, label=_label(call), maybe_processed=True), cancellation)
    error.__cause__ = cancellation
    return error


def _annotated(error: APIError, cancellation: BaseException) -> APIError:
    """``error`` with what the client knows about the cancelled call."""
    if (annotation := annotation_of(cancellation)) is not None:
        error.maybe_processed = annotation.maybe_processed
        error.stage = annotation.stage
        error.request = annotation.request
        error.attempts = annotation.attempts
        error.elapsed = annotation.elapsed
        error.history = annotation.history
    return error


def _label(call: Call[object]) -> str:
    return f"{call.method} {route_of(call.path)}"
