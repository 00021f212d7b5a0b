"""Passes the events of one client to its listeners.

Each listener gets the types that it subscribed to, or all. An exception in a listener never affects a call. It is
logged once per type of error and of event: a listener that fails on each event would otherwise fill the log.
"""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from resilient_client._core.events import Event

logging.getLogger("resilient_client").addHandler(logging.NullHandler())  # a library prints nothing by itself
_log = logging.getLogger("resilient_client.events")
_MAX_LOGGED: Final = 100  # kinds of failure that are logged: the types of errors need not be a fixed set

Listener: TypeAlias = Callable[[Event], object]


class Events:
    """The listeners of one client.

    Attributes:
        listeners_of: The listeners by type of event. Look a type up before an event is built: for a type that no
            listener wants, the entry is empty, and the lookup is all that an unwanted event costs.
    """

    __slots__ = ("_logged", "_subscriptions", "listeners_of")

    def __init__(self) -> None:
        self._subscriptions: list[_Subscription] = []
        self._logged: set[tuple[int, type, type]] = set()  # listener, error, event
        self.listeners_of = _ListenersByType(self._subscriptions)

    def subscribe(self, listener: Callable[[Any], object], *types: type[Event]) -> Callable[[], None]:
        """Pass events to ``listener`` from now on. It is called synchronously and must not block.

        Args:
            listener: Called with each event.
            types: The types of event that it wants, subclasses included. None: all.

        Returns:
            A function that ends this subscription. It may be called twice.
        """
        subscription = _Subscription(listener, types or (Event,))
        self._subscriptions.append(subscription)
        self.listeners_of.clear()

        def unsubscribe() -> None:
            self._subscriptions[:] = [known for known in self._subscriptions if known is not subscription]
            self._logged = {kind for kind in self._logged if kind[0] != id(listener)}  # another may get its id
            self.listeners_of.clear()

        return unsubscribe

    def emit(self, event: Event) -> None:
        """Pass the event to the listeners of its type. Look into ``listeners_of`` before the event is built."""
        for listener in self.listeners_of[type(event)]:
            try:
                returned = listener(event)
                if returned is not None and inspect.iscoroutine(returned):
                    returned.close()  # otherwise Python would warn that it was never awaited
                    raise TypeError("the listener is async, and is not awaited; give a plain function")
            except Exception as error:
                self._log_once(listener, event, error)

    def _log_once(self, listener: Listener, event: Event, error: Exception) -> None:
        kind = id(listener), type(error), type(event)
        if kind in self._logged or len(self._logged) >= _MAX_LOGGED:
            return
        self._logged.add(kind)
        try:
            _log.exception(
                "a listener failed on %s with %s; the call goes on, and further failures of this kind are not logged",
                type(event).__name__,
                type(error).__name__,
                extra={"event": "listener_failed"},
            )
        except Exception:  # of a log handler, which may be the listener's failure in the first place
            if logging.raiseExceptions:  # as logging does with handlers that fail
                traceback.print_exc()


class _Subscription(NamedTuple):
    listener: Listener
    types: tuple[type[Event], ...]


class _ListenersByType(dict[type[Event], tuple[Listener, ...]]):
    """Finds the listeners of a type when it is first emitted, in the order of their subscriptions.

    A dict, so that the lookup of each event costs no function of Python. Its entries are dropped when a subscription
    begins or ends.
    """

    __slots__ = ("_subscriptions",)

    def __init__(self, subscriptions: list[_Subscription]) -> None:
        super().__init__()
        self._subscriptions = subscriptions

    def __missing__(self, event: type[Event]) -> tuple[Listener, ...]:
        found = tuple(listener for listener, types in self._subscriptions if issubclass(event, types))
        self[event] = found
        return found
