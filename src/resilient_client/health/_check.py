"""One check of one target: call it and judge the answer. Keeps no state and never repeats a call.

A target that fails gives a ``CheckResult`` like any other. An exception is raised only for a mistake in the check
itself, such as a closed client.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import re
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from resilient_client._core.call import Call
from resilient_client._core.certificate import Certificate
from resilient_client._core.clock import clock_of
from resilient_client._core.deadline import RESOLUTION, ambient_deadline
from resilient_client._core.errors import (
    APIError,
    ConfigurationError,
    DeadlineExceededError,
    InvalidRequestError,
    RedirectError,
)
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.record import AttemptRecord
from resilient_client._core.response import Response
from resilient_client._core.timings import Timings
from resilient_client._policies.balancing.hysteresis import HealthState
from resilient_client._policies.classify import kind_of_status
from resilient_client._policies.http.redaction import redact_text
from resilient_client.health._target import Function, Probe

if TYPE_CHECKING:
    from resilient_client._client.client import APIClient


MAX_BODY_UNJUDGED: Final = 64 * 1024
"""Bytes that a check reads of a body for which it has no ``expect_body``."""
MAX_BODY_JUDGED: Final = 1024 * 1024
"""Bytes that a check reads of a body to judge it."""


class CheckResult(NamedTuple):
    """The result of one check of one target.

    Attributes:
        state: Up, degraded or down. ``UNKNOWN`` if the check ended before the target was called, or if the target's
            function returned ``UNKNOWN``.
        reason: Why the target is not up, in one line, or ``""``.
        kind: The kind of failure, or ``None``.
        error: The exception behind the failure, if there was one.
        status: HTTP status of the reply, or ``None`` if there was no reply.
        elapsed: Seconds the check took.
        timings: How these seconds divide into stages.
        certificate: The server's TLS certificate, if a handshake verified it.
        attempts: Attempts started: 1, or 0 if the target was never called.
    """

    state: HealthState
    reason: str = ""
    kind: ErrorKind | None = None
    error: Exception | None = None
    status: int | None = None
    elapsed: float = 0.0
    timings: Timings = Timings()
    certificate: Certificate | None = None
    attempts: int = 0


NOT_CHECKED = CheckResult(
    HealthState.UNKNOWN,
    "not checked: no time was left; raise the timeout or the concurrency of the check",
    ErrorKind.DEADLINE,
)
"""The result for a target that was not called before the check ended. It changes no state."""


async def check_target(probe: Probe, call: Call[Response], client: APIClient) -> CheckResult:
    """Check a target under the ambient deadline.

    Args:
        probe: The target.
        call: The call of a URL target. Not used for a function.
        client: Sends the call.

    Raises:
        ConfigurationError: The client is closed or belongs to another event loop.
    """
    if ambient_deadline() - asyncio.get_running_loop().time() < RESOLUTION:
        return NOT_CHECKED
    if probe.function is not None:
        result = await _call_function(probe.function, probe.timeout)
    else:
        result = await _call_url(probe, call, client)
    if result.state is HealthState.UP and probe.slow is not None and result.elapsed > probe.slow:
        reason = f"slow: {result.elapsed:.2f} s, expected at most {probe.slow:g} s"
        return result._replace(state=HealthState.DEGRADED, reason=reason)
    return result


def failed(error: APIError) -> CheckResult:
    """The result for a call that failed with ``error``."""
    if isinstance(error, DeadlineExceededError) and error.history:
        reason = f"no answer within {error.elapsed:.2f} s, stuck in stage {error.stage}"
    else:
        reason = error.summary
    reply: Response | None = getattr(error, "response", None)
    status = None if reply is None else reply.status
    timings, certificate = _trace_of(error.history)
    return CheckResult(
        HealthState.DOWN, reason, error.kind, error, status, error.elapsed, timings, certificate, error.attempts
    )


def _trace_of(history: Sequence[AttemptRecord]) -> tuple[Timings, Certificate | None]:
    """Timings and certificate of the only attempt, as far as it came."""
    return (history[-1].timings, history[-1].certificate) if history else (Timings(), None)


async def _call_url(probe: Probe, call: Call[Response], client: APIClient) -> CheckResult:
    try:
        reply = await _ask(probe, call, client)
    except RedirectError as error:
        # A redirect to another origin is an answer of a healthy server, and the other origin is another target
        # (Kubernetes' HTTP probes judge it the same way). A redirect loop is a fault of this server.
        if error.response is None or error.endless:
            return failed(error)
        reply = error.response
        reply.attach_history(error.history, error.elapsed)
    except APIError as error:
        return failed(error)
    except ConfigurationError:
        raise
    except Exception as error:  # such as a bug in a middleware of the client
        return _unexpected(error)
    return _judge(probe, reply)


async def _ask(probe: Probe, call: Call[Response], client: APIClient) -> Response:
    """Send the call, and read what the check needs of the body: a target may send gigabytes.

    Without ``expect_body`` a short body is read to its end, because a server that breaks it off is not healthy.
    """
    limit = MAX_BODY_UNJUDGED if probe.expect_body is None else MAX_BODY_JUDGED
    async with client.stream(call.method, call.path, **call.given) as opened:
        reply = opened.response
        if reply.open_body is None:
            return reply
        body = bytearray()
        pieces = cast("AsyncGenerator[bytes]", opened.iter_bytes())
        async with aclosing(pieces):
            async for piece in pieces:
                body += piece
                if len(body) > limit:
                    break
    reply.content, reply.truncated = bytes(body[:limit]), len(body) > limit
    return reply


def _judge(probe: Probe, reply: Response) -> CheckResult:
    timings, certificate = _trace_of(reply.history)
    up = CheckResult(
        HealthState.UP, "", None, None, reply.status, reply.elapsed, timings, certificate, attempts=reply.attempts
    )
    if reply.status not in probe.expect_status:
        reason = f"status {reply.status}, expected {format_statuses(probe.expect_status)}"
        kind = kind_of_status(reply.status) or ErrorKind.INVALID_RESPONSE
        return up._replace(state=HealthState.DOWN, reason=reason, kind=kind)
    reason, error = _check_body(probe, reply)
    if reason:
        return up._replace(state=HealthState.DOWN, reason=reason, kind=ErrorKind.INVALID_RESPONSE, error=error)
    days = math.inf if certificate is None else certificate.days_left(datetime.now(UTC))
    if days < probe.certificate_days:
        return up._replace(state=HealthState.DEGRADED, reason=f"the certificate expires in {_format_days(days)}")
    return up


def _check_body(probe: Probe, reply: Response) -> tuple[str, Exception | None]:
    """Why the body is not as expected and the exception behind that, or ``""`` and ``None`` if it is."""
    expected = probe.expect_body
    if expected is None:
        return "", None
    where = f"the first {MAX_BODY_JUDGED >> 20} MiB of the body lack" if reply.truncated else "the body lacks"
    if isinstance(expected, str):
        return ("" if expected in reply.text else f"{where} {redact_text(expected, 60)!r}"), None
    if isinstance(expected, re.Pattern):
        return ("" if expected.search(reply.text) else f"{where} /{redact_text(expected.pattern, 60)}/"), None
    try:
        return ("" if expected(reply) else "the body is not as expected"), None
    except Exception as error:
        text = str(error) if isinstance(error, APIError) else type(error).__name__
        return f"the body is not as expected ({text})", error


async def _call_function(function: Function, timeout: float | None) -> CheckResult:
    loop = asyncio.get_running_loop()
    clock, started, now = clock_of(loop), clock_of(loop)(), loop.time()
    ends_at = min(ambient_deadline(), math.inf if timeout is None else now + timeout)
    timer = asyncio.timeout_at(None if ends_at == math.inf else ends_at)
    try:
        async with timer:
            result = _result_of(await _await_function(function))
    except APIError as error:
        # The function may call anything, so the reason names the request, too.
        result = failed(error)._replace(reason=str(error))
    except Exception as error:
        result = _timed_out(ends_at - now) if timer.expired() else _unexpected(error)
    else:
        if timer.expired():  # the function suppressed the cancellation, so what it returned came too late
            result = _timed_out(ends_at - now)
    return result._replace(elapsed=clock() - started, attempts=1)


def _timed_out(seconds: float) -> CheckResult:
    return failed(DeadlineExceededError(f"no answer within {seconds:.2f} s", stage=Stage.LOCAL, maybe_processed=True))


def _unexpected(error: Exception) -> CheckResult:
    """The result for an exception of another library.

    Its text may hold a secret, such as a password in an address, so the reason is only its type.
    """
    return CheckResult(HealthState.DOWN, type(error).__name__, ErrorKind.UNEXPECTED, error, attempts=1)


async def _await_function(function: Function) -> object:
    awaitable: object = function()
    if not inspect.isawaitable(awaitable):
        raise InvalidRequestError(
            f"the function returned {type(awaitable).__name__}, which cannot be awaited; give an async function"
        )
    return await awaitable


def _result_of(value: object) -> CheckResult:
    """The result for what a function returned. All but ``False`` and a ``HealthState`` means up."""
    if value is False or value is HealthState.DOWN:
        return CheckResult(HealthState.DOWN, "the function reports it", ErrorKind.INVALID_RESPONSE)
    if value is HealthState.DEGRADED or value is HealthState.UNKNOWN:
        return CheckResult(value, "the function reports it")
    return CheckResult(HealthState.UP)


def format_statuses(expected: Collection[int]) -> str:
    """Status codes for a message: ``200-399``, or ``200, 404``."""
    if isinstance(expected, range) and expected.step == 1 and len(expected) > 1:
        return f"{expected[0]}-{expected[-1]}"
    return ", ".join(str(status) for status in sorted(expected))


def _format_days(days: float) -> str:
    return f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"
