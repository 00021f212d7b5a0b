"""Notifies observers of outcomes as they arrive. An observer that raises is logged once, and affects no call."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any, TypeAlias

from resilient_client._core.errors import InvalidRequestError
from resilient_client._core.outcome import Outcome
from resilient_client._core.validation import is_async, kind_of

_log = logging.getLogger("resilient_client.fanout")

Observer: TypeAlias = Callable[[Outcome[Any]], object]


class Observers:
    """The observers of one fan-out."""

    __slots__ = ("_failed", "_observers")

    def __init__(self, *observers: Observer | None) -> None:
        self._observers = tuple(observer for observer in observers if observer is not None)
        self._failed = set[int]()

    def notify(self, outcome: Outcome[Any]) -> None:
        """Call each observer with ``outcome``."""
        for observer in self._observers:
            try:
                observer(outcome)
            except (Exception, CancelledError):
                # Nothing is awaited here, so a CancelledError is not a cancellation of this task. The observer used the
                # result of something cancelled.
                if id(observer) not in self._failed:
                    self._failed.add(id(observer))
                    _log.exception(
                        "%r failed on an outcome; the fan-out goes on, further failures are not logged",
                        observer,
                        extra={"event": "outcome_callback_failed"},
                    )


def check_callback(on_outcome: object) -> None:
    """Check ``on_outcome``: ``None``, or a plain function.

    Raises:
        InvalidRequestError: It cannot be called, or would have to be awaited.
    """
    if on_outcome is None:
        return
    if not callable(on_outcome) or isinstance(on_outcome, type):
        raise InvalidRequestError(f"on_outcome is {kind_of(on_outcome)}; give a function of one outcome")
    if is_async(on_outcome):
        raise InvalidRequestError(
            "on_outcome is async, but is not awaited; give a plain function, or use "
            "async for outcome in as_completed(calls)"
        )
