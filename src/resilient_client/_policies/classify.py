"""What a reply or an error means: its kind, whether a repeat may heal it, whether it is the upstream's fault.

The one place where statuses get a meaning. Errors come classified from where they arise.
"""

from __future__ import annotations

from typing import NamedTuple

from resilient_client._core.errors import APIConnectionError, APIError, CallRejectedError
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.request import Request
from resilient_client._core.response import Response


class Fault(NamedTuple):
    """What the retry policy needs to know of a failed attempt.

    Attributes:
        kind: What happened.
        healable: Whether another attempt may fare better.
        maybe_processed: Whether the server may have acted.
        rejected: Whether it was refused here.
        stale: Whether a kept-alive connection turned out to be closed, before any byte of a reply.
        summary: A few words for an event or a log line.
    """

    kind: ErrorKind
    healable: bool
    maybe_processed: bool
    rejected: bool
    stale: bool
    summary: str


def kind_of_status(status: int) -> ErrorKind | None:
    """The kind of an error status; ``None`` below 400."""
    if status < 400:
        return None
    if status >= 500:
        return ErrorKind.SERVER_ERROR
    return ErrorKind.THROTTLED if status == 429 else ErrorKind.CLIENT_ERROR


def fault_of(outcome: Response | APIError, statuses: frozenset[int]) -> Fault | None:
    """The fault in an attempt's outcome, or ``None`` when it is an answer.

    Args:
        outcome: The reply, or the error raised instead of one.
        statuses: The statuses that another attempt may heal. Any other status is an answer.
    """
    if isinstance(outcome, Response):
        if outcome.status < 400 or outcome.status not in statuses:
            return None
        kind = kind_of_status(outcome.status) or ErrorKind.UNEXPECTED
        return Fault(kind, True, True, False, False, f"status {outcome.status}")
    return Fault(
        kind=outcome.kind,
        healable=outcome.retryable,
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
_OURS = frozenset({None, Stage.LOCAL, Stage.POOL})


def blames_upstream(
    kind: ErrorKind | None, reached: Stage | None, *, stale: bool = False, pool_wait_unobservable: bool = False
) -> bool:
    """Whether a failure says that the upstream is unwell.

    4xx does not (429 too: it is a pacing signal of a living server), nor does anything that happened before
    the network was touched: pool waits, refusals of ours, credentials that could not be had. Nor does a kept-alive
    connection that was closed meanwhile: a healthy server closes idle ones all the time.

    Args:
        kind: What happened; ``None`` for an answer.
        reached: How far the attempt had come on the wire; ``None`` if the transport was never entered.
        stale: Whether a kept-alive connection turned out to be closed, before any byte of a reply.
        pool_wait_unobservable: Whether waiting for a place in a pool looks like connecting; then a timeout before it
            was sent says nothing of the host.
    """
    if stale or (
        pool_wait_unobservable and kind is ErrorKind.TIMEOUT and reached is not None and not reached.maybe_processed
    ):
        return False
    return kind in _UPSTREAM_FAULTS and reached not in _OURS


def silence_blames_upstream(waited: float, allowed: float | None) -> bool:
    """Whether an attempt that was cut off unanswered says that the upstream is unwell.

    An attempt that a nearly spent deadline cut short proves nothing; one that had at least half of the time an
    attempt is normally allowed does. Without this rule, a hung upstream would never open a circuit when the
    whole call is given no more time than one attempt.

    Args:
        waited: Seconds since the attempt began.
        allowed: Seconds an attempt is allowed by the settings; ``None``: no limit, so silence proves nothing.
    """
    return allowed is not None and waited >= allowed / 2


def cut_off(request: Request, waited: float) -> bool:
    """Whether the cancellation in flight is our own alarm's, after a silence long enough to blame the upstream for.

    Args:
        request: Whose attempt is being cancelled.
        waited: Seconds since the attempt began.
    """
    limits, attempt = request.context.settings.limits, request.attempt
    timeout = attempt.timeout
    if timeout is None or not timeout.has_fired:
        return False
    if not blames_upstream(ErrorKind.TIMEOUT, attempt.stage, pool_wait_unobservable=attempt.pool_wait_unobservable):
        return False
    return silence_blames_upstream(waited, limits.attempt if limits.attempt is not None else limits.total)
