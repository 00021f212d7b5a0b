"""How far a cancelled call had come: word left on its cancellation, for whoever cancelled it on purpose.

A cancellation passes through a client as it is and is no outcome. But a fan-out that drops calls makes outcomes of
them, and owes its caller the truth about what was sent.
"""

from __future__ import annotations

from resilient_client._core.errors import CallCancelledError

_ANNOTATION = "_resilient_client_word"


def annotate_cancellation(cancellation: BaseException, word: CallCancelledError) -> None:
    """Tell with ``cancellation`` what is known of the call that it ends; the outermost call has the last word."""
    setattr(cancellation, _ANNOTATION, word)


def annotation_of(cancellation: BaseException) -> CallCancelledError | None:
    """What was told, if anything; can be had once, so that the two do not keep each other alive."""
    word: CallCancelledError | None = cancellation.__dict__.pop(_ANNOTATION, None)
    return word
