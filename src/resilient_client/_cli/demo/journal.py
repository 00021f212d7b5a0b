"""The events of the client in words. Many of the same sort within a second become one entry with a count."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from resilient_client._cli.demo.timetable import Condition
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.kinds import ErrorKind
from resilient_client.events import (
    CallEvent,
    CallFinished,
    CallRejected,
    CircuitClosed,
    CircuitEvent,
    CircuitHalfOpened,
    CircuitOpened,
    Event,
    RetryRefused,
    RetryScheduled,
)

FOLD: Final = 1.0
"""Seconds in which entries of one sort become one."""

_NUMBER = re.compile(r"[\d.]+")


class Entry:
    """Something that happened, once or many times in a moment.

    Attributes:
        at: Seconds from the start, of the first time.
        upstream: Where.
        mark: What sort of news, in one character: ``*`` an upstream changed, ``!`` a circuit did, ``~`` a retry,
            ``x`` a failure that is given back, ``-`` a call refused without sending.
        text: What, in words.
        count: How many times.
    """

    __slots__ = ("at", "count", "mark", "text", "upstream")

    def __init__(self, at: float, upstream: str, mark: str, text: str, count: int = 1) -> None:
        self.at = at
        self.upstream = upstream
        self.mark = mark
        self.text = text
        self.count = count


class Journal:
    """Keeps the entries in the order of their first times; ``hear`` is made for ``api.subscribe``."""

    def __init__(self, urls: dict[str, str], started: float) -> None:
        """Begin at ``started`` (loop time); ``urls`` are those of the upstreams, by name."""
        self.entries: list[Entry] = []
        self._started = started
        self._urls = urls
        self._names = {Endpoint.of(url): name for name, url in urls.items()}
        self._latest: dict[tuple[str, str], Entry] = {}

    def condition(self, at: float, upstream: str, condition: Condition) -> None:
        """Note what has become of an upstream, ``at`` seconds after the start."""
        words = "well again" if condition is Condition.WELL else condition.value
        self.entries.append(Entry(at, upstream, "*", words))

    def hear(self, event: Event) -> None:
        """Note an event, if it is one worth a line."""
        words = _words(event)
        if words is None:
            return
        at = event.at - self._started
        upstream = self._names[event.endpoint] if isinstance(event, CircuitEvent) else _tag(event, "upstream")
        sort = (upstream, words.sort or "")
        latest = self._latest.get(sort)
        if words.sort and latest is not None and at - latest.at < FOLD:
            latest.count += 1
        else:
            text = words.text.replace(f" of {self._urls[upstream]}", "").replace(" of this upstream", "")
            self._latest[sort] = Entry(at, upstream, words.mark, text)
            self.entries.append(self._latest[sort])


class _Words(NamedTuple):
    """An event in words; those of one ``sort`` are alike, one of the sort ``""`` stands alone."""

    mark: str
    text: str
    sort: str = ""


def _words(event: Event) -> _Words | None:
    match event:
        case RetryScheduled(reason=reason, delay=delay):
            when = f"in {_seconds(delay)}" if delay else "at once"
            return _Words("~", f"{_tag(event, 'order')} {reason}; again {when}", f"again {reason}")
        case RetryRefused(reason=reason):
            return _Words("x", f"{_tag(event, 'order')} {reason}", _NUMBER.sub("", reason))
        case CallRejected():
            return _Words("-", f"{_tag(event, 'order')} refused by the open circuit: nothing sent", "refused")
        case CallFinished(kind=kind, attempts=attempts) if attempts > 1 and kind is not None:
            return _Words("x", f"{_tag(event, 'order')} failed after {attempts} attempts: {kind}", f"failed {kind}")
        case CallFinished(kind=ErrorKind.INVALID_RESPONSE):
            return _Words("x", f"{_tag(event, 'order')} the reply does not fit the model: invalid_response", "unfit")
        case CircuitOpened(retry_after=wait):
            return _Words("!", f"circuit OPEN for {_seconds(wait or 0)}: the upstream is left alone")
        case CircuitHalfOpened():
            return _Words("!", "circuit HALF-OPEN: a few probes may pass")
        case CircuitClosed():
            return _Words("!", "circuit CLOSED: well again, everything may pass")
        case _:
            return None


def _tag(event: Event, name: str) -> str:
    return event.tags[name] if isinstance(event, CallEvent) else ""


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"
