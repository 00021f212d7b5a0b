"""One look at one target: ask, and judge the answer. Remembers nothing, repeats nothing.

Every failure is an answer here, too, and becomes a ``Look``; only what is wrong with the check itself is raised.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

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
from resilient_client._policies.http.redirect import MAX_HOPS
from resilient_client.health._target import Function, Probe

if TYPE_CHECKING:
    from resilient_client._client.client import APIClient


class Look(NamedTuple):
    """What one look saw.

    Attributes:
        state: Up, degraded or down; ``UNKNOWN`` if the check was over before there was time to look, or the target
            itself does not know.
        reason: One line: why it is not simply up; ``""`` if it is.
        kind: What went wrong, in one word; ``None`` if nothing did.
        error: What was raised, if something was.
        status: Of the reply, where one came.
        elapsed: Seconds it took.
        timings: Where they were spent.
        certificate: Of the server, where a TLS connection was made and verified.
        attempts: How many were started: one, or none where the target was never called.
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


NO_TURN = Look(
    HealthState.UNKNOWN,
    "no time was left to look; raise the timeout or the concurrency of the check",
    ErrorKind.DEADLINE,
)
"""What is seen of a target when the check is over before it is asked: nothing, and that is no failure of its own."""


async def look_at(probe: Probe, call: Call[Response], client: APIClient) -> Look:
    """Ask a target, under the deadline around this code, and judge what comes.

    Raises:
        ConfigurationError: The client is closed or belongs to another event loop.
    """
    if ambient_deadline() - asyncio.get_running_loop().time() < RESOLUTION:
        return NO_TURN
    if probe.function is not None:
        look = await _ask(probe.function, probe.timeout)
    else:
        look = await _call(probe, call, client)
    if look.state is HealthState.UP and probe.slow is not None and look.elapsed > probe.slow:
        reason = f"slow: {look.elapsed:.2f} s, expected at most {probe.slow:g} s"
        return look._replace(state=HealthState.DEGRADED, reason=reason)
    return look


def failed(error: APIError) -> Look:
    """What a failed call tells."""
    if isinstance(error, DeadlineExceededError) and error.history:
        reason = f"no answer within {error.elapsed:.2f} s, stuck in stage {error.stage}"
    else:
        reason = error.summary
    reply: Response | None = getattr(error, "response", None)
    status = None if reply is None else reply.status
    traced = _traced(error.history)
    return Look(HealthState.DOWN, reason, error.kind, error, status, error.elapsed, *traced, attempts=error.attempts)


def _traced(history: Sequence[AttemptRecord]) -> tuple[Timings, Certificate | None]:
    """What is known of the one attempt."""
    return (history[-1].timings, history[-1].certificate) if history else (Timings(), None)


async def _call(probe: Probe, call: Call[Response], client: APIClient) -> Look:
    try:
        reply = await client.send(call)
    except RedirectError as error:
        # The server is well, though we do not go where it points (as Kubernetes has it); a circle is not.
        circle = bool(error.history) and len(error.history[-1].redirects) >= MAX_HOPS
        if error.response is None or circle:
            return failed(error)
        reply = error.response
        reply.attach_history(error.history, error.elapsed)
    except APIError as error:
        return failed(error)
    except ConfigurationError:
        raise
    except Exception as error:  # of a middleware of the client's, say
        return _foreign(error)
    return _judge(probe, reply)


def _judge(probe: Probe, reply: Response) -> Look:
    traced = _traced(reply.history)
    look = Look(HealthState.UP, "", None, None, reply.status, reply.elapsed, *traced, attempts=reply.attempts)
    if reply.status not in probe.expect_status:
        reason = f"status {reply.status}, expected {shown_statuses(probe.expect_status)}"
        kind = kind_of_status(reply.status) or ErrorKind.INVALID_RESPONSE
        return look._replace(state=HealthState.DOWN, reason=reason, kind=kind)
    reason, error = _body_lacks(probe, reply)
    if reason:
        return look._replace(state=HealthState.DOWN, reason=reason, kind=ErrorKind.INVALID_RESPONSE, error=error)
    left = math.inf if look.certificate is None else look.certificate.days_left(datetime.now(UTC))
    if left < probe.certificate_days:
        return look._replace(state=HealthState.DEGRADED, reason=f"the certificate expires in {_days(left)}")
    return look


def _body_lacks(probe: Probe, reply: Response) -> tuple[str, Exception | None]:
    """What the body lacks, as a reason; ``""`` if nothing."""
    expected = probe.expect_body
    if expected is None:
        return "", None
    if isinstance(expected, str):
        return ("" if expected in reply.text else f"the body lacks {redact_text(expected, 60)!r}"), None
    if isinstance(expected, re.Pattern):
        return ("" if expected.search(reply.text) else f"the body lacks /{redact_text(expected.pattern, 60)}/"), None
    try:
        return ("" if expected(reply) else "the body is not as expected"), None
    except Exception as error:
        text = str(error) if isinstance(error, APIError) else type(error).__name__
        return f"the body is not as expected ({text})", error


async def _ask(function: Function, limit: float | None) -> Look:
    loop = asyncio.get_running_loop()
    clock, began, now = clock_of(loop), clock_of(loop)(), loop.time()
    end = min(ambient_deadline(), math.inf if limit is None else now + limit)
    timer = asyncio.timeout_at(None if end == math.inf else end)
    try:
        async with timer:
            look = _answered(await _awaited(function))
    except APIError as error:
        look = failed(error)._replace(reason=str(error))
    except Exception as error:
        look = _too_late(end - now) if timer.expired() else _foreign(error)
    else:
        if timer.expired():  # the function kept the cancellation to itself, so what it gave is no answer
            look = _too_late(end - now)
    return look._replace(elapsed=clock() - began, attempts=1)


def _too_late(given: float) -> Look:
    return failed(DeadlineExceededError(f"no answer within {given:.2f} s", stage=Stage.LOCAL, maybe_processed=True))


def _foreign(error: Exception) -> Look:
    """What nobody foresaw. Its text may hold anything, such as a password in an address; only its type shows."""
    return Look(HealthState.DOWN, type(error).__name__, ErrorKind.UNEXPECTED, error, attempts=1)


async def _awaited(function: Function) -> object:
    answer: object = function()
    if not inspect.isawaitable(answer):
        raise InvalidRequestError(
            f"the function gave {type(answer).__name__} instead of something to await; give an async function"
        )
    return await answer


def _answered(answer: object) -> Look:
    if answer is False or answer is HealthState.DOWN:
        return Look(HealthState.DOWN, "it says so", ErrorKind.INVALID_RESPONSE)
    if answer is HealthState.DEGRADED or answer is HealthState.UNKNOWN:
        return Look(answer, "it says so")
    return Look(HealthState.UP)


def shown_statuses(expected: Collection[int]) -> str:
    """Statuses for people: ``200-399``, or ``200, 404``."""
    if isinstance(expected, range) and expected.step == 1 and len(expected) > 1:
        return f"{expected[0]}-{expected[-1]}"
    return ", ".join(str(status) for status in sorted(expected))


def _days(left: float) -> str:
    return f"{left:.0f} days" if left >= 2 else f"{left * 24:.0f} hours"
