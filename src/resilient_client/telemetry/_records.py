"""What a log record says about an event: its name, level, text and fields. Decides, and logs nothing.

Every value is plain (a text, a number, a list of texts), so that any formatter can write it. Events are redacted when
they are emitted. Here every text becomes one line of bounded length, too: some quote a server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from resilient_client._core import events
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.events import CallEvent, Event
from resilient_client._core.kinds import ErrorKind
from resilient_client._policies.http.redaction import redact_text
from resilient_client.telemetry import _names
from resilient_client.telemetry._names import EventName

_CALLERS_FAULT: Final = frozenset({ErrorKind.CLIENT_ERROR, ErrorKind.INVALID_REQUEST, ErrorKind.CANCELLED})
"""The kinds of a call that failed through no fault of an upstream."""

_LEVELS: Final = logging.getLevelNamesMapping()

Text = tuple[str, tuple[object, ...]]
"""A format for ``%`` and its arguments. Tools that group records use the format."""


class Record(NamedTuple):
    """How an event is logged.

    Attributes:
        name: The name of the event in ``_names``.
        logger: The logger.
        level: The level.
        other_level: The level if ``is_other`` says so.
        is_other: Decides that.
        text: Makes the message.
        fields: The names of the fields besides those of every record.
    """

    name: str
    logger: logging.Logger
    level: int
    other_level: int
    is_other: Callable[[Any], bool]
    text: Callable[[Any], Text]
    fields: tuple[str, ...]

    def level_of(self, event: Event) -> int:
        """The level at which ``event`` is logged."""
        return self.other_level if self.is_other(event) else self.level


_ALWAYS: Final[Mapping[str, object]] = dict.fromkeys(_names.COMMON_FIELDS)


def fields_of(record: Record, event: Event) -> dict[str, object]:
    """The fields of ``event``. Those that come from outside of it are empty: the span, and what was suppressed."""
    fields: dict[str, object] = {**_ALWAYS, "event": record.name, "client": _plain(event.client)}
    fields["upstream"] = _plain(upstream_of(event))
    source: object = event
    if isinstance(event, CallEvent):
        fields["method"], fields["route"], fields["call_id"] = event.method, _plain(event.route), event.call_id
        fields["tags"] = {_plain(name): _plain(value) for name, value in event.tags.items()} or None
        fields["attempt"], fields["request_id"] = event.attempt, _plain(event.request_id)
    if isinstance(event, events.AttemptFinished):
        source = event.record  # with hedges, it need not be the latest attempt
        fields["attempt"], fields["request_id"] = event.record.number, _plain(event.record.request_id)
    for name in record.fields:
        value = getattr(source, name)
        fields[name] = len(value) if name == "redirects" else _plain(value)  # their paths may hold parameters
    return fields


def suppressed_fields(client: str, upstream: Endpoint | None, event: str, count: int) -> dict[str, object]:
    """The fields of the last record of a client: ``count`` records about ``event`` were left out."""
    own = {"event": "records_suppressed", "client": _plain(client), "upstream": _plain(upstream), "suppressed": count}
    return {**_ALWAYS, **own, "suppressed_event": event}


def upstream_of(event: Event) -> Endpoint | None:
    """The origin that an event is about, or ``None`` if it is about none."""
    return event.upstream if isinstance(event, CallEvent) else getattr(event, "endpoint", None)


def _plain(value: Any) -> Any:
    """A value that any formatter can write."""
    kind = type(value)
    if value is None or kind is int or kind is bool:
        return value
    if kind is float:
        return round(value, 6)
    if kind is Endpoint:
        return _origin(value)
    if kind is tuple:
        return [_plain(item) for item in value]
    return redact_text(str(value))


_origin = lru_cache(maxsize=1_000)(str)  # of an endpoint: a record names up to three


def _label(event: CallEvent) -> str:
    """Method, origin and route, as error messages name a call."""
    route = redact_text(event.route)
    return f"{event.method} {route if '://' in route else f'{_plain(event.upstream)}{route}'}"


def _attempt_started(event: events.AttemptStarted) -> Text:
    return "%s: attempt %d to %s", (_label(event), event.number, _plain(event.endpoint))


def _attempt_finished(event: events.AttemptFinished) -> Text:
    record = event.record
    if record.kind is None:
        return "%s: attempt %d: status %s after %.3f s", (_label(event), record.number, record.status, record.elapsed)
    failure = redact_text(record.error)
    return "%s: attempt %d failed after %.3f s: %s", (_label(event), record.number, record.elapsed, failure)


def _retry_scheduled(event: events.RetryScheduled) -> Text:
    delay, reason = event.delay, redact_text(event.reason)
    return "%s: attempt %d failed (%s), the next one follows in %.3f s", (_label(event), event.number, reason, delay)


def _retry_refused(event: events.RetryRefused) -> Text:
    return "%s: no attempt after number %d: %s", (_label(event), event.number, redact_text(event.reason))


def _hedge_started(event: events.HedgeStarted) -> Text:
    return "%s: hedge after %.3f s: %s", (_label(event), event.waited, redact_text(event.reason))


def _call_finished(event: events.CallFinished) -> Text:
    return "%s: status %s after %.3f s, attempts: %d", (_label(event), event.status, event.elapsed, event.attempts)


def _call_failed(event: events.CallFailed) -> Text:
    what = redact_text("; ".join(filter(None, (event.error, event.reason))))
    return "%s: failed (%s) after %.3f s, attempts: %d: %s", (
        _label(event),
        str(event.kind),
        event.elapsed,
        event.attempts,
        what,
    )


def _call_cancelled(event: events.CallCancelled) -> Text:
    return "%s: cancelled in stage %s after %.3f s, attempts: %d", (
        _label(event),
        str(event.stage),
        event.elapsed,
        event.attempts,
    )


def _call_rejected(event: events.CallRejected) -> Text:
    return "%s: attempt to %s rejected: %s", (_label(event), event.endpoint, str(event.cause))


def _call_coalesced(event: events.CallCoalesced) -> Text:
    return "%s: joined the flight of call %s, waiters: %d", (_label(event), event.flight_id, event.waiters)


def _fallback_used(event: events.FallbackUsed) -> Text:
    if event.ok:
        return "%s: fallback used after %s", (_label(event), str(event.kind))
    return "%s: fallback failed after %s: %s", (_label(event), str(event.kind), redact_text(event.detail))


def _token_refreshed(event: events.TokenRefreshed) -> Text:
    if event.ok:
        return "credentials of client %s renewed", (_plain(event.client),)
    return "credentials of client %s not renewed: %s", (_plain(event.client), redact_text(event.detail))


def _endpoints_resolved(event: events.EndpointsResolved) -> Text:
    if event.ok:
        return "endpoints of client %s resolved: %d", (_plain(event.client), len(event.endpoints))
    return "endpoints of client %s not resolved: %s", (_plain(event.client), redact_text(event.detail))


def _circuit_opened(event: events.CircuitOpened) -> Text:
    if event.retry_after is None:
        return "circuit of %s opened", (event.endpoint,)
    return "circuit of %s opened, the next probe follows in %.3f s", (event.endpoint, event.retry_after)


def _endpoint_paused(event: events.EndpointPaused) -> Text:
    return "%s paused for %.3f s, as its response asks for", (event.endpoint, event.seconds)


def _about_endpoint(text: str) -> Callable[[Any], Text]:
    return lambda event: (text, (event.endpoint,))


def _endpoint_ejected(event: events.EndpointEjected) -> Text:
    return "%s ejected: %s", (event.endpoint, redact_text(event.reason))


def _never(_event: object) -> bool:
    return False


def _failed(event: Any) -> bool:
    return not event.ok


_IS_OTHER: Final[Mapping[str, Callable[[Any], bool]]] = {
    "call_failed": lambda event: event.kind in _CALLERS_FAULT,
    "fallback_used": _failed,
    "token_refreshed": _failed,
    "endpoints_resolved": _failed,
}

_TEXTS: Final[Mapping[str, Callable[[Any], Text]]] = {
    "call_finished": _call_finished,
    "call_failed": _call_failed,
    "call_cancelled": _call_cancelled,
    "call_coalesced": _call_coalesced,
    "fallback_used": _fallback_used,
    "attempt_started": _attempt_started,
    "attempt_finished": _attempt_finished,
    "retry_scheduled": _retry_scheduled,
    "retry_refused": _retry_refused,
    "hedge_started": _hedge_started,
    "call_rejected": _call_rejected,
    "endpoint_paused": _endpoint_paused,
    "circuit_opened": _circuit_opened,
    "circuit_half_opened": _about_endpoint("circuit of %s lets probes through"),
    "circuit_closed": _about_endpoint("circuit of %s closed"),
    "endpoint_ejected": _endpoint_ejected,
    "endpoint_restored": _about_endpoint("%s restored"),
    "endpoints_resolved": _endpoints_resolved,
    "token_refreshed": _token_refreshed,
}


def _record(name: EventName) -> Record:
    return Record(
        name.name,
        logging.getLogger(f"{_names.ROOT}.{name.logger}"),
        _LEVELS[name.level],
        _LEVELS[name.other_level or name.level],
        _IS_OTHER.get(name.name, _never),
        _TEXTS[name.name],
        name.fields,
    )


RECORDS: Final[Mapping[type[Event], Record]] = {
    getattr(events, name.source): _record(name) for name in _names.EVENTS if name.source
}
"""How each event is logged."""
