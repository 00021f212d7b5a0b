"""Annotations on a ``CancelledError`` that record how far the cancelled call had come.

A cancellation passes through a client unchanged, and does not become an outcome. A fan-out, however, turns the calls
that it drops into outcomes. Its caller needs to know what those calls had sent, so the client attaches that to the
cancellation.
"""

from __future__ import annotations

from resilient_client._core.errors import CallCancelledError
from resilient_client._core.kinds import Stage

_ANNOTATION = "_resilient_client_error"


def annotate_cancellation(cancellation: BaseException, error: CallCancelledError) -> None:
    """Attach ``error``, the state of the cancelled call. Of nested calls, the outermost overwrites the others."""
    setattr(cancellation, _ANNOTATION, error)


def client_closed(label: str, stage: Stage | None = None, *, sent: bool = False) -> CallCancelledError:
    """The error of a call in flight whose client, or the session given to it, is closed.

    Args:
        label: Names the request.
        stage: How far the call had come; ``None`` before the transport was entered.
        sent: Whether the request was sent, so that the server may have acted on it.
    """
    return CallCancelledError(
        "the client, or the session given to it, was closed before the reply was complete; "
        "keep it open until its calls have returned, or close it with close(grace=SECONDS)",
        stage=stage or Stage.LOCAL,
        maybe_processed=sent,
        label=label,
    )


def annotation_of(cancellation: BaseException) -> CallCancelledError | None:
    """Return and remove the annotation, if there is one. Removing it avoids a reference cycle of the two errors."""
    error: CallCancelledError | None = cancellation.__dict__.pop(_ANNOTATION, None)
    return error
