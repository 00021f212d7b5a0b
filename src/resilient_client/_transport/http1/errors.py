"""Translates what the direct path raises into errors of this library."""

from __future__ import annotations

from typing import Final, cast

from resilient_client._core.errors import APIError
from resilient_client._core.kinds import Stage
from resilient_client._core.request import Request
from resilient_client._transport import failures
from resilient_client._transport.http1.dialer import CannotConnect, HandshakeFailed, NameNotResolved
from resilient_client._transport.http1.direct_path import ConnectTimeout
from resilient_client._transport.http1.failure import Failure, Reason
from resilient_client._transport.http1.response import ResponseFailed
from resilient_client._transport.trace import WireTrace

RAISED: Final = (CannotConnect, ConnectTimeout, ResponseFailed)
"""All that the direct path raises by itself."""


def translate(error: Exception, request: Request, trace: WireTrace) -> APIError:
    """Our error for one of ``RAISED``."""
    if isinstance(error, ResponseFailed):
        return _failed(error.failure, request, trace)
    if isinstance(error, CannotConnect):
        return failures.exhausted(error.cause, request, trace) or _not_connected(error, request)
    return failures.not_connected_in_time(request, trace)


def _not_connected(error: CannotConnect, request: Request) -> APIError:
    cause = cast("OSError", error.cause)
    if isinstance(error, NameNotResolved):
        return failures.not_resolved(cause, request)
    return failures.not_connected(cause, request, in_tls=isinstance(error, HandshakeFailed))


def _failed(failure: Failure, request: Request, trace: WireTrace) -> APIError:
    stage, reason = trace.stage(), failure.reason
    if reason is Reason.SILENT:
        return failures.silent(request, stage)
    if reason is Reason.FIELD_TOO_LARGE:
        return failures.field_too_large(request, stage)
    if reason is Reason.TOO_MANY_FIELDS:
        return failures.too_many_fields(request, stage)
    if reason is Reason.VIOLATION:
        in_body = stage is Stage.BODY
        return failures.badly_framed(request, stage) if in_body else failures.invalid(request, stage, failure.detail)
    if stage is Stage.BODY:
        return failures.cut_short(request, stage)
    return failures.lost(request, trace, orderly=reason is Reason.CLOSED, answered=failure.answered)
