"""How long to wait after a failed attempt.

This module computes one number of seconds. It never sleeps, and it knows nothing of deadlines, budgets or
``Retry-After``. The retry middleware asks for it when a failed attempt is to be repeated. It waits for the longer of
this delay and the one that the server requests (``retry_after``), or gives up if the deadline leaves no time for it.

Why jitter, and why *full* jitter: callers that failed together come back together unless their delays are random. In
the simulation of *Exponential Backoff And Jitter* (Marc Brooker, AWS Architecture Blog, 2015), where 100 clients
contend for one row, plain exponential backoff takes 63 s and full jitter 5 s, with less than half the calls. tenacity's
``wait_exponential_jitter`` takes 60 s there: its jitter is small and *added* to a growing base, so the thundering herd
stays together. ``additive_jitter`` is this formula, for callers that need it.
"""

from __future__ import annotations

from random import Random
from typing import assert_never

from resilient_client._settings.retry import Backoff, Retry


def backoff_delay(backoff: Backoff, attempt: int, previous: float, rng: Random) -> float:
    """The delay before attempt ``attempt + 1``, after ``attempt`` has failed.

    The result is capped at ``max_delay`` after the jitter is added. This cuts the jitter of ``additive_jitter`` and
    ``decorrelated``, but not that of ``full_jitter`` and ``equal_jitter``, which draw below the capped base.

    Args:
        backoff: The kind of backoff and its numbers.
        attempt: The attempt that failed, counted from 1.
        previous: The delay before that attempt, in seconds. 0.0 if there was none. For ``decorrelated`` only.
        rng: The random generator.

    Returns:
        Seconds, from 0 to ``backoff.max_delay``.
    """
    return min(backoff.max_delay, _drawn(backoff, attempt, previous, rng))


def throttled_delay(retry: Retry, backoff: Backoff, attempt: int, rng: Random) -> float:
    """The shortest delay after a reply that asks for fewer requests and does not say when to come back.

    Args:
        retry: The delay before jitter after the first attempt.
        backoff: The growth from one attempt to the next, and the longest delay.
        attempt: The attempt that failed, counted from 1.
        rng: The random generator.

    Returns:
        Seconds, from the grown delay to twice that, at most ``backoff.max_delay``.
    """
    base = _grown(retry.throttled_delay, backoff, attempt)
    return min(backoff.max_delay, rng.uniform(base, 2 * base))


def _drawn(backoff: Backoff, attempt: int, previous: float, rng: Random) -> float:
    initial = backoff.initial
    match backoff.kind:
        case "fixed":
            return initial
        case "linear":
            return initial * attempt
        case "exponential":
            return _base(backoff, attempt)
        case "full_jitter":
            return rng.uniform(0.0, _base(backoff, attempt))
        case "equal_jitter":
            base = _base(backoff, attempt)
            return rng.uniform(base / 2, base)
        case "additive_jitter":
            return _base(backoff, attempt) + rng.uniform(0.0, initial)
        case "decorrelated":
            # The random walk starts at `initial`, as in Brooker's simulator, so the first range is not empty.
            return rng.uniform(initial, 3 * max(initial, previous))
        case kind:
            assert_never(kind)


def _base(backoff: Backoff, attempt: int) -> float:
    return _grown(backoff.initial, backoff, attempt)


def _grown(initial: float, backoff: Backoff, attempt: int) -> float:
    """``initial * multiplier ** (attempt - 1)``, at most ``max_delay``."""
    try:
        return min(backoff.max_delay, initial * backoff.multiplier ** (attempt - 1))
    except OverflowError:  # a power of floats raises where a product would give infinity
        return backoff.max_delay
