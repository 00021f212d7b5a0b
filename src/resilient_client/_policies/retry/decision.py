"""Whether a failed attempt is followed by another, and after how long. Every reason for "no" has words.

Reads top to bottom in the order of the questions: may it heal, may it be repeated, can it be sent again, are there
attempts left, is there time, will the circuit let it pass, is there budget.
The budget is asked last, because asking spends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import NamedTuple

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
        cost: Tokens it took from the budget; to be given back if it never starts.
    """

    delay: float
    cost: float = 0.0


class GiveUp(NamedTuple):
    """No further attempt.

    Attributes:
        reason: Why, for the error message; ``""`` when the failure speaks for itself.
    """

    reason: str


class RetryState(NamedTuple):
    """Where a call stands after a failed attempt.

    Attributes:
        step: The number of the attempt that failed, from 1; an attempt and its hedges are one step.
        now: Loop time.
        deadline: Loop time of the end of the call.
        method: In upper case.
        idempotent: Whether a repeat is harmless.
        sendable: Whether the body can be sent again.
        retry_after: Seconds the server asked to wait, or ``None``.
        target: Whom the next attempt would go to.
        rejects_for: Seconds from ``now`` in which its circuit is sure to refuse; may be infinite.
        singled_out: Whether the failure is that of one endpoint, while others served as usual.
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
    """The next step after a fault.

    Args:
        fault: What went wrong.
        situation: Where the call stands.
        settings: The retry settings in force.
        pause: Gives the backoff pause in seconds; asked at most once.
        tokens: The budget, or ``None`` for none; a positive answer takes from it.
        rng: The source of chance.
    """
    if not fault.retryable or fault.rejected:
        return GiveUp("")
    if (refusal := _repeat_refused(fault, state, settings)) is not None:
        return refusal
    if fault.stale:
        return Repeat(0.0)  # nobody's fault: at once, and outside the budget
    if state.retry_after is not None and state.retry_after > settings.retry_after_cap:
        return GiveUp(
            f"not retried: the server asks to wait {state.retry_after:g} s, "
            f"above retry_after_cap={settings.retry_after_cap:g} s"
        )
    delay = backoff_delay()
    if state.retry_after is not None:
        delay = max(delay, jittered(state.retry_after, rng))
    remaining = state.deadline - state.now
    if delay >= remaining:
        return GiveUp(f"not retried: a pause of {delay:.3g} s does not fit into the {remaining:.3g} s left")
    if delay < state.rejects_for:
        rest = "" if math.isinf(state.rejects_for) else f" for another {state.rejects_for:.3g} s"
        return GiveUp(f"not retried: the circuit of {state.target} is open{rest}")
    if tokens is None:
        return Repeat(delay)
    overload = fault.kind in _TIMEOUTS and not state.failed_alone
    cost = TIMEOUT_COST if overload else RETRY_COST
    if not tokens.try_spend(state.now, cost):
        return GiveUp("not retried: the retry budget of this upstream is empty")
    return Repeat(delay, cost)


def _repeat_refused(fault: Fault, state: RetryState, settings: Retry) -> GiveUp | None:
    if fault.maybe_processed and not state.idempotent:
        return GiveUp(
            f"not retried: the server may have acted on this {state.method}; "
            "give idempotency_key='auto' or idempotent=True if a repeat is harmless"
        )
    if not state.sendable:
        return GiveUp("not retried: the body is one-shot and was already sent; give bytes, a file or a factory")
    if state.step >= settings.max_attempts:
        return GiveUp("" if state.step > 1 else f"not retried: max_attempts={settings.max_attempts}")
    return None
