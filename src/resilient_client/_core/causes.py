"""Why the client acted, as values for programs. Events hold them next to their texts, which are for people only.

The values are stable and few, fit for metric labels and alerts.
"""

from enum import StrEnum


class RefusalCause(StrEnum):
    """Why a retryable failure is not retried."""

    UNSAFE = "unsafe"  # the server may have acted, and a repeat may do harm
    BODY_SENT = "body_sent"  # the body is one-shot and was already sent
    ATTEMPTS = "attempts"  # max_attempts is reached
    RETRY_AFTER = "retry_after"  # the server asks to wait longer than max_retry_after
    DEADLINE = "deadline"  # the pause does not fit into the time left
    CIRCUIT_OPEN = "circuit_open"  # the circuit would reject the attempt
    BUDGET = "budget"  # the retry budget of the upstream is empty


class RejectionCause(StrEnum):
    """Which policy rejected an attempt on our side."""

    CIRCUIT_OPEN = "circuit_open"
    BULKHEAD_FULL = "bulkhead_full"
    RATE_LIMITED = "rate_limited"


class HedgeCause(StrEnum):
    """Why an attempt was started alongside the others."""

    LATE = "late"  # no response within the delay
    FAILED = "failed"  # one of the attempts failed
