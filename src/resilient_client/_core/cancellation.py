"""Annotations on a ``CancelledError`` that record how far the cancelled call had come.

A cancellation passes through a client unchanged, and does not become an outcome. A fan-out, however, turns the calls
that it drops into outcomes. Its caller needs to know what those calls had sent, so the client attaches that to the
cancellation.
"""

from __future__ import annotations

from resilient_client._core.errors import CallCancelledError

_ANNOTATION = "_resilient_client_error"


def annotate_cancellation(cancellation: BaseException, error: CallCancelledError) -> None:
    """Attach ``error``, the state of the cancelled call. Of nested calls, the outermost overwrites the others."""
    setattr(cancellation, _ANNOTATION, error)


def annotation_of(cancellation: BaseException) -> CallCancelledError | None:
    """Return and remove the annotation, if there is one. Removing it avoids a reference cycle of the two errors."""
    error: CallCancelledError | None = cancellation.__dict__.pop(_ANNOTATION, None)
    return error
