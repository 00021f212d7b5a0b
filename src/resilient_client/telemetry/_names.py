"""Every name that telemetry shows to others: loggers, events, fields, metrics, spans and the environment variable.

Names are an API: alerts, dashboards and searches are written against them. So each name is written here, a test freezes
them, and ``tools/telemetry_names.py`` makes the tables of the docs from this module. It decides nothing and imports
nothing of the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

ROOT: Final = "resilient_client"
"""The root of the logger tree. Its level and its handlers apply to all loggers of the library."""

ENVIRONMENT_VARIABLE: Final = "RESILIENT_CLIENT_LOG"
"""Set to ``info`` or ``debug``, it writes the records to stderr. For scripts."""


class EventName(NamedTuple):
    """An event as a log record.

    Attributes:
        name: The value of the field ``event``.
        source: The class in ``resilient_client.events``. ``""`` for a record that no event causes.
        logger: The logger, without the root. ``""`` for that of the records it is about.
        level: The level, by its name. ``""`` for that of the records it is about.
        other_level: The level in another case, or ``""``.
        when: The case in which ``other_level`` applies, for the docs.
        fields: The fields besides those of every record.
    """

    name: str
    source: str
    logger: str
    level: str
    fields: tuple[str, ...]
    other_level: str = ""
    when: str = ""


LOGGERS: Final = {
    "call": "calls that end, join a flight or use a fallback",
    "attempt": "attempts that start and end",
    "retry": "retries that follow, and why none follows",
    "hedging": "attempts that start alongside a slow one",
    "limits": "attempts that the client rejects, and endpoints that it pauses",
    "circuit": "circuits that open and close",
    "endpoints": "endpoints that are ejected, restored or resolved",
    "auth": "credentials that are renewed",
    "transport": "the path of the requests, if it is not the direct one",
    "events": "listeners that fail",
    "fanout": "callbacks and progress bars of a fan-out that fail",
    "health": "callbacks of a `Prober` that fail",
    "loop": "callbacks that block the event loop, with a `LoopMonitor`",
}
"""The loggers below the root, and what each of them logs."""

EVENTS: Final = (
    EventName("call_finished", "CallFinished", "call", "DEBUG", ("status", "attempts", "elapsed")),
    EventName(
        "call_failed",
        "CallFailed",
        "call",
        "WARNING",
        ("kind", "stage", "status", "attempts", "elapsed", "error", "reason"),
        "INFO",
        "`kind` is `client_error`, `invalid_request` or `cancelled`",
    ),
    EventName("call_cancelled", "CallCancelled", "call", "DEBUG", ("stage", "attempts", "elapsed", "maybe_processed")),
    EventName("call_coalesced", "CallCoalesced", "call", "DEBUG", ("flight_id", "waiters")),
    EventName("fallback_used", "FallbackUsed", "call", "INFO", ("kind", "ok", "detail"), "WARNING", "it failed, too"),
    EventName("attempt_started", "AttemptStarted", "attempt", "DEBUG", ("endpoint",)),
    EventName(
        "attempt_finished",
        "AttemptFinished",
        "attempt",
        "DEBUG",
        ("endpoint", "status", "kind", "stage", "elapsed", "error", "sent", "reused", "redirects", "reauthenticated"),
    ),
    EventName("retry_scheduled", "RetryScheduled", "retry", "INFO", ("delay", "kind", "reason")),
    EventName("retry_refused", "RetryRefused", "retry", "INFO", ("cause", "reason")),
    EventName("hedge_started", "HedgeStarted", "hedging", "DEBUG", ("waited", "cause", "reason")),
    EventName("call_rejected", "CallRejected", "limits", "INFO", ("endpoint", "cause")),
    EventName("endpoint_paused", "EndpointPaused", "limits", "WARNING", ("endpoint", "seconds")),
    EventName("circuit_opened", "CircuitOpened", "circuit", "WARNING", ("endpoint", "retry_after")),
    EventName("circuit_half_opened", "CircuitHalfOpened", "circuit", "INFO", ("endpoint",)),
    EventName("circuit_closed", "CircuitClosed", "circuit", "INFO", ("endpoint",)),
    EventName("endpoint_ejected", "EndpointEjected", "endpoints", "WARNING", ("endpoint", "reason")),
    EventName("endpoint_restored", "EndpointRestored", "endpoints", "INFO", ("endpoint",)),
    EventName(
        "endpoints_resolved",
        "EndpointsResolved",
        "endpoints",
        "DEBUG",
        ("ok", "endpoints", "detail"),
        "WARNING",
        "it failed",
    ),
    EventName("token_refreshed", "TokenRefreshed", "auth", "INFO", ("ok", "detail"), "WARNING", "it failed"),
    EventName("early_refresh_failed", "", "auth", "WARNING", ()),
    EventName("path_chosen", "", "transport", "INFO", ()),
    EventName("loop_blocked", "", "loop", "WARNING", ("seconds", "file", "line", "function")),
    EventName("listener_failed", "", "events", "ERROR", ()),
    EventName("outcome_callback_failed", "", "fanout", "ERROR", ()),
    EventName("result_callback_failed", "", "health", "ERROR", ()),
    EventName("records_suppressed", "", "", "", ("suppressed_event",)),
)

COMMON_FIELDS: Final = {
    "event": "the name of the event",
    "client": "the name of the client",
    "upstream": "the origin that the call or the event is about",
    "method": "the method of the call",
    "route": "the path as written in the code, with its placeholders",
    "tags": "the `tags` of the call",
    "call_id": "the id of the call, the same in all of its records",
    "attempt": "the number of the attempt, or of the latest one, counted from 1",
    "request_id": "the id that the server gave the request (`X-Request-Id` and the like)",
    "trace_id": "the trace of the current OpenTelemetry span, 32 hexadecimal digits",
    "span_id": "the current OpenTelemetry span, 16 hexadecimal digits",
    "suppressed": "how many records of this kind were left out since the last one",
}
"""The fields that every record of an event of a client has. One that does not apply is ``None``."""

FIELDS: Final = {
    "attempts": "the number of attempts started",
    "cause": "why, in one word of a fixed set",
    "delay": "seconds until the next attempt",
    "detail": 'why it failed, or `""`',
    "elapsed": "seconds that the call or the attempt took",
    "endpoint": "the endpoint that the attempt or the event is about",
    "endpoints": "the endpoints in use now",
    "error": 'one line about the failure, or `""`',
    "file": "the file of the code that blocks",
    "flight_id": "the `call_id` of the call whose flight this one joined",
    "function": "the function that blocks",
    "kind": "the kind of failure, a value of `ErrorKind`",
    "line": "the line that blocks",
    "maybe_processed": "whether the server may have acted",
    "ok": "whether it succeeded",
    "reason": "why, in a few words",
    "reauthenticated": "whether the request was sent again with a fresh token",
    "redirects": "how many redirects were followed",
    "retry_after": "seconds until the endpoint is tried again",
    "reused": "whether the connection was a kept-alive one",
    "seconds": "the length of the pause, or by how much the loop is late",
    "sent": "whether any bytes were sent",
    "stage": "how far a failed attempt had come, a value of `Stage`",
    "status": "the status of the response",
    "suppressed_event": "the event whose records were left out",
    "waited": "seconds since the first attempt began",
    "waiters": "how many calls share the flight",
}
"""The other fields. Each event has those that ``EVENTS`` lists."""

_SERVER: Final = ("http.request.method", "server.address", "server.port")

METRICS: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "http.client.request.duration": (
        "http_client_request_duration_seconds",
        "histogram",
        (*_SERVER, "http.response.status_code", "error.type", "network.protocol.version"),
    ),
    "http.client.active_requests": ("http_client_active_requests", "updowncounter", _SERVER),
    "http.client.open_connections": (
        "http_client_open_connections",
        "updowncounter",
        ("http.connection.state", "server.address", "server.port"),
    ),
    "resilient_client.call.duration": (
        "resilient_client_call_duration_seconds",
        "histogram",
        ("client", "route", "method", "kind"),
    ),
    "resilient_client.attempts": ("resilient_client_attempts_total", "counter", ("client", "route", "kind")),
    "resilient_client.retries": ("resilient_client_retries_total", "counter", ("client", "reason")),
    "resilient_client.hedges": ("resilient_client_hedges_total", "counter", ("client",)),
    "resilient_client.rejections": ("resilient_client_rejections_total", "counter", ("client", "reason")),
    "resilient_client.fallbacks": ("resilient_client_fallbacks_total", "counter", ("client", "ok")),
    "resilient_client.coalesced": ("resilient_client_coalesced_total", "counter", ("client",)),
    "resilient_client.circuit.state": ("resilient_client_circuit_state", "gauge", ("client", "endpoint", "state")),
    "resilient_client.circuit.transitions": (
        "resilient_client_circuit_transitions_total",
        "counter",
        ("client", "endpoint", "state"),
    ),
    "resilient_client.retry_budget.available": (
        "resilient_client_retry_budget_available",
        "gauge",
        ("client", "upstream"),
    ),
    "resilient_client.bulkhead.limit": ("resilient_client_bulkhead_limit", "gauge", ("client", "endpoint")),
    "resilient_client.bulkhead.in_use": ("resilient_client_bulkhead_in_use", "gauge", ("client", "endpoint")),
    "resilient_client.bulkhead.waiting": ("resilient_client_bulkhead_waiting", "gauge", ("client", "endpoint")),
    "resilient_client.endpoint.healthy": ("resilient_client_endpoint_healthy", "gauge", ("client", "endpoint")),
    "resilient_client.pool.in_use": ("resilient_client_pool_in_use", "gauge", ("client",)),
    "resilient_client.pool.waiting": ("resilient_client_pool_waiting", "gauge", ("client",)),
    "resilient_client.loop.lag": ("resilient_client_loop_lag_seconds", "histogram", ()),
    "resilient_client.label_overflows": ("resilient_client_label_overflows_total", "counter", ("metric",)),
}
"""By its name in OpenTelemetry, each metric's name in the Prometheus exposition, its kind, and its attributes.

Prometheus labels are the attributes with ``.`` written as ``_``. The names are reserved: no exporter uses them yet.
"""

CALL_SPAN: Final = "resilient_client.call"
"""The name of the span of a call. That of an attempt is the method and the route, as the HTTP conventions say."""

SPAN_ATTRIBUTES: Final = (
    "http.request.method",
    "http.request.method_original",
    "http.request.resend_count",
    "http.response.status_code",
    "error.type",
    "network.peer.address",
    "network.peer.port",
    "network.protocol.version",
    "server.address",
    "server.port",
    "url.full",
    "url.template",
    "resilient_client.call_id",
    "resilient_client.client",
    "resilient_client.attempts",
    "resilient_client.kind",
)
"""Reserved, too. The first ones are stable HTTP conventions of OpenTelemetry."""
