"""Whether a failed attempt is followed by another, and after which delay. Every reason for "no" has a message.

The code reads from top to bottom in the order of the questions: is the fault retryable, is a repeat harmless, can the
body be sent again, are there attempts left, is there time, will the circuit admit it, is there budget. The budget comes
last, because asking it takes tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from resilient_client._core.causes import RefusalCause
from resilient_client._core.endpoint import Endpoint
from resilient_client._core.kinds import ErrorKind
from resilient_client._policies.classify import Fault
from resilient_client._policies.retry.budget import RETRY_COST, TIMEOUT_COST, RetryTokens
from resilient_client._policies.retry.retry_after import jittered
from resilient_client._settings.retry import Retry

_TIMEOUTS = frozenset({ErrorKind.TIMEOUT, ErrorKind.DEADLINE})


class Repeat(NamedTuple):
    """Another attempt follows.

    Attributes:
        delay: Seconds to wait before it.
        cost: Tokens taken from the budget, which are refunded if the attempt never starts.
    """

    delay: float
    cost: float = 0.0


class GiveUp(NamedTuple):
    """No further attempt.

    Attributes:
        reason: Why, for the error message. ``""`` if the failure needs no further explanation.
        cause: The same as a value, or ``None``.
    """

    reason: str = ""
    cause: RefusalCause | None = None


class RetryState(NamedTuple):
    """The state of a call after a failed attempt.

    Attributes:
        step: The number of the attempt that failed, from 1. An attempt and its hedges are one step.
        now: Loop time.
        deadline: Loop time at which the call's time is over. Infinity: never.
        method: The method, in upper case.
        idempotent: Whether a repeat is harmless.
        sendable: Whether the body can be sent again.
        retry_after: Seconds that the server asks to wait, or ``None``.
        target: The endpoint, or the name of the endpoints, that the next attempt would go to.
        rejects_for: Seconds from ``now`` for which its circuit is sure to refuse, may be infinite.
        failed_alone: Whether only this endpoint failed, while others served as usual.
    """

    step: int
    now: float
    deadline: float
    method: str
    idempotent: bool
    sendable: bool
    retry_after: float | None
    target: Endpoint | str
    rejects_for: float
    failed_alone: bool


def decide(
    fault: Fault,
    state: RetryState,
    settings: Retry,
    *,
    backoff_delay: Callable[[], float],
    tokens: RetryTokens | None,
    rng: Random,
) -> Repeat | GiveUp:
    """Decide the next step after a fault.

    Args:
        fault: The fault of the attempt.
        state: The state of the call.
        settings: The retry settings in force.
        backoff_delay: Returns the backoff delay in seconds, called at most once.
        tokens: The budget, or ``None`` for none. A ``Repeat`` takes its cost from it.
        rng: The random generator.
    """
    if not fault.retryable or fault.rejected:
        return GiveUp()
    if (refusal := _repeat_refused(fault, state, settings)) is not None:
        return refusal
    if fault.stale:
        # Closing an idle connection is normal and indicates no overload: repeat at once, outside the budget.
        return Repeat(0.0)
    if state.retry_after is not None and state.retry_after > settings.max_retry_after:
        return GiveUp(
            f"not retried: the server asks to wait {state.retry_after:g} s, "
            f"above max_retry_after={settings.max_retry_after:g} s",
            RefusalCause.RETRY_AFTER,
        )
    delay = backoff_delay()
    if state.retry_after is not None:
        delay = max(delay, jittered(state.retry_after, rng))
    remaining = state.deadline - state.now
    # A delay that ends at the deadline is useless, too: no time would be left for the attempt.
    if delay >= remaining:
        return GiveUp(
            f"not retried: a pause of {delay:.3g} s does not fit into the {remaining:.3g} s left",
            RefusalCause.DEADLINE,
        )
    if delay < state.rejects_for:
        rest = "" if math.isinf(state.rejects_for) else f" for another {state.rejects_for:.3g} s"
        return GiveUp(f"not retried: the circuit of {state.target} is open{rest}", RefusalCause.CIRCUIT_OPEN)
    ours = fault.kind is ErrorKind.POOL and not fault.maybe_processed  # the upstream got nothing: no extra load
    if tokens is None or ours:
        return Repeat(delay)
    # A timeout of one endpoint, while others serve as usual, is not a sign of overload.
    overload = fault.kind in _TIMEOUTS and not state.failed_alone
    cost = TIMEOUT_COST if overload else RETRY_COST
    if not tokens.try_spend(state.now, cost):
        return GiveUp("not retried: the retry budget of this upstream is empty", RefusalCause.BUDGET)
    return Repeat(delay, cost)


def _repeat_refused(fault: Fault, state: RetryState, settings: Retry) -> GiveUp | None:
    if fault.maybe_processed and not state.idempotent:
        return GiveUp(
            f"not retried: the server may have acted on this {state.method}; "
            "give idempotency_key='auto' or idempotent=True if a repeat is harmless",
            RefusalCause.UNSAFE,
        )
    if not state.sendable:
        return GiveUp(
            "not retried: the body is one-shot and was already sent; give bytes, a file or a factory",
            RefusalCause.BODY_SENT,
        )
    if state.step >= settings.max_attempts:
        if state.step > 1:
            return GiveUp()  # the number of attempts in the error is enough
        return GiveUp(f"not retried: max_attempts={settings.max_attempts}", RefusalCause.ATTEMPTS)
    return None
