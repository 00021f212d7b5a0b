"""The current span of OpenTelemetry, if the program uses it. OpenTelemetry is never imported here."""

from __future__ import annotations

import sys


def current_span_ids() -> tuple[str | None, str | None]:
    """The trace id and the span id of the current span, in hexadecimal digits. Both ``None`` without one.

    A program that has not imported ``opentelemetry.trace`` has no span.
    """
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None, None
    try:
        context = api.get_current_span().get_span_context()
        if not context.is_valid:
            return None, None
        return format(context.trace_id, "032x"), format(context.span_id, "016x")
    except Exception:  # another thread is importing it, or the span is of a foreign class
        return None, None
