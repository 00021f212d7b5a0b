"""What a reply or an error means: its kind, whether it is retryable, and whether it is the upstream's fault.

This is the only place that gives statuses a meaning. Errors are classified where they are raised.
"""

from __future__ import annotations

from typing import NamedTuple

from resilient_client._core.deadline import LATE
from resilient_client._core.errors import APIConnectionError, APIError, CallRejectedError
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.request import Request
from resilient_client._core.response import Response


class Fault(NamedTuple):
    """What the retry policy needs to know of a failed attempt.

    Attributes:
        kind: The kind of failure.
        retryable: Whether another attempt may succeed.
        maybe_processed: Whether the server may have acted on the request.
        rejected: Whether the client itself refused the attempt.
        stale: Whether a kept-alive connection turned out to be closed, before any byte of a reply.
        summary: A few words for an event or a log line.
    """

    kind: ErrorKind
    retryable: bool
    maybe_processed: bool
    rejected: bool
    stale: bool
    summary: str


def kind_of_status(status: int) -> ErrorKind | None:
    """The kind of an error status, or ``None`` below 400."""
    if status < 400:
        return None
    if status >= 500:
        return ErrorKind.SERVER_ERROR
    return ErrorKind.THROTTLED if status == 429 else ErrorKind.CLIENT_ERROR


def fault_of(outcome: Response | APIError, statuses: frozenset[int]) -> Fault | None:
    """The fault in an attempt's outcome, or ``None`` if the outcome is an answer.

    Args:
        outcome: The reply, or the error raised instead of one.
        statuses: The retryable statuses. Any other status is an answer.
    """
    if isinstance(outcome, Response):
        if outcome.status < 400 or outcome.status not in statuses:
            return None
        kind = kind_of_status(outcome.status) or ErrorKind.UNEXPECTED
        return Fault(kind, True, True, False, False, f"status {outcome.status}")
    return Fault(
        kind=outcome.kind,
        retryable=outcome.retryable,
        maybe_processed=outcome.maybe_processed,
        rejected=isinstance(outcome, CallRejectedError),
        stale=isinstance(outcome, APIConnectionError) and outcome.stale_connection,
        summary=f"{outcome.kind} in stage {outcome.stage}",
    )


_UPSTREAM_FAULTS = frozenset(
    {
        ErrorKind.DNS,
        ErrorKind.CONNECT,
        ErrorKind.TLS,
        ErrorKind.TIMEOUT,
        ErrorKind.DISCONNECTED,
        ErrorKind.PROTOCOL,
        ErrorKind.SERVER_ERROR,
    }
)
_BEFORE_NETWORK = frozenset({None, Stage.LOCAL, Stage.POOL})


def blames_upstream(
    kind: ErrorKind | None, reached: Stage | None, *, stale: bool = False, pool_wait_unobservable: bool = False
) -> bool:
    """Whether a failure indicates that the upstream is unhealthy.

    A 4xx does not, and neither does a 429: a server that asks for fewer requests is serving. Anything before the
    network was used does not: pool waits, the client's own refusals, credentials that could not be obtained. Nor do
    files, ports and memory of this machine that are used up. A kept-alive connection that was closed in the meantime
    does not: healthy servers close idle connections all the time.

    Args:
        kind: The kind of failure, or ``None`` for an answer.
        reached: The last stage that the attempt reached, or ``None`` if the transport was never entered.
        stale: Whether a kept-alive connection turned out to be closed, before any byte of a reply.
        pool_wait_unobservable: Whether waiting for a free connection cannot be told from connecting. A timeout before
            the request was sent then indicates nothing about the host.
    """
    if stale or (
        pool_wait_unobservable and kind is ErrorKind.TIMEOUT and reached is not None and not reached.maybe_processed
    ):
        return False
    return kind in _UPSTREAM_FAULTS and reached not in _BEFORE_NETWORK


def silence_blames_upstream(waited: float, allowed: float | None) -> bool:
    """Whether an attempt that was cancelled unanswered indicates that the upstream is unhealthy.

    An attempt cut short by a nearly spent deadline proves nothing. One that had at least half of the time that an
    attempt normally has does. Otherwise a hung upstream would never open a circuit when the timeout of the whole call
    is as short as that of one attempt.

    Args:
        waited: Seconds since the attempt began.
        allowed: Seconds that the settings allow for an attempt. ``None``: no limit, so silence proves nothing.
    """
    return allowed is not None and waited >= allowed / 2


def cut_off(request: Request, waited: float) -> bool:
    """Whether the current cancellation is the client's own timeout, after a silence long enough to blame the upstream.

    Args:
        request: The request whose attempt is being cancelled.
        waited: Seconds since the attempt began.
    """
    limits, attempt = request.context.settings.limits, request.attempt
    timeout = attempt.timeout
    if timeout is None or not timeout.has_fired or timeout.late > LATE:
        return False
    if not blames_upstream(ErrorKind.TIMEOUT, attempt.stage, pool_wait_unobservable=attempt.pool_wait_unobservable):
        return False
    return silence_blames_upstream(waited, limits.attempt if limits.attempt is not None else limits.total)
