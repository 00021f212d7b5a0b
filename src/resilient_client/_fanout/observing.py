"""Who looks on while outcomes come in. An observer that fails harms no call: it is logged, once."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

from resilient_client._core.errors import InvalidRequestError
from resilient_client._core.outcome import Outcome

_log = logging.getLogger("resilient_client.fanout")

Observer: TypeAlias = Callable[[Outcome[Any]], object]


class Observers:
    """Those who are told of the outcomes of one fan-out."""

    __slots__ = ("_failed", "_observers")

    def __init__(self, *observers: Observer | None) -> None:
        self._observers = tuple(observer for observer in observers if observer is not None)
        self._failed = set[int]()

    def tell(self, outcome: Outcome[Any]) -> None:
        """Tell everybody."""
        for observer in self._observers:
            try:
                observer(outcome)
            except (Exception, CancelledError):  # nothing is awaited here: the latter is no cancellation of ours
                if id(observer) not in self._failed:
                    self._failed.add(id(observer))
                    _log.exception(
                        "%r failed on an outcome; the fan-out goes on, further failures are not logged", observer
                    )


def check_callback(on_outcome: object) -> None:
    """Complain about what cannot be called with an outcome, or would have to be awaited.

    Raises:
        InvalidRequestError: Saying what to give.
    """
    if on_outcome is None:
        return
    if not callable(on_outcome):
        raise InvalidRequestError(f"on_outcome is {on_outcome!r}; give a function of one outcome")
    if iscoroutinefunction(on_outcome) or iscoroutinefunction(type(on_outcome).__call__):
        raise InvalidRequestError(
            "on_outcome is async, but nobody awaits it; give a plain function, or use "
            "async for outcome in as_completed(calls)"
        )
