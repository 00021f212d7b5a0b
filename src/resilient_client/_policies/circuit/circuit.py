"""Whether an attempt may be sent to an endpoint, judged by the results of the latest ones.

A circuit hands out a ticket per attempt and learns from the results that the tickets report::

    closed ──(too many failures or slow calls)──► open ──(break over, next attempt)──► half_open
      ▲                                             ▲                                    │   │
      └─────(half_open_probes successes)────────────┼────────────────────────────────────┘   │
                                                    └──────(one failure: twice the break)────┘

The circuit never sends, waits, reads a clock or judges a response. The circuit middleware asks it just before sending
and settles the ticket afterwards. The circuit changes only in synchronous methods, so it needs no lock on an event
loop. It must not be shared between threads.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeAlias

from resilient_client._policies.circuit.window import SlidingWindow
from resilient_client._settings.circuit_breaker import CircuitBreaker


class CircuitState(StrEnum):
    """The state of a circuit. The forced states are entered and left only through its methods, never by results."""

    CLOSED = "closed"  # attempts pass and are counted
    OPEN = "open"  # attempts are refused until the break is over
    HALF_OPEN = "half_open"  # a few probes pass to see whether the endpoint has recovered
    FORCED_OPEN = "forced_open"  # everything is refused
    FORCED_CLOSED = "forced_closed"  # everything passes and is counted, without consequence


# Looked up once: on Python 3.11 access to a member through the enum is too slow for this path.
_CLOSED, _OPEN, _HALF_OPEN, _FORCED_OPEN, _FORCED_CLOSED = CircuitState

_NEVER: Final = -math.inf  # one object for all circuits
_SPENT: Final = -1  # the generation of a ticket that no longer counts
_JITTER: Final = 1.25  # a break lasts up to this many times its nominal time


class Ticket:
    """One admitted attempt: to be settled once, by ``success``, ``failure`` or ``cancel``.

    Only the first settlement counts, so ``finally: ticket.cancel()`` is always right. A ticket belongs to the
    generation in which it was handed out. Every change of state starts a new generation, and the result of an older
    ticket is ignored (as in sony/gobreaker). So a success from before the outage cannot close the circuit, a late
    failure cannot prolong the break, and a late cancellation cannot free the permit of another attempt.

    ``now`` is the time and ``elapsed`` the duration of the attempt, both in seconds.
    """

    def __init__(self, circuit: Circuit, generation: int) -> None:
        self._circuit = circuit
        self._generation = generation

    def success(self, now: float, elapsed: float) -> None:
        """Record an answer that is not a failure. Any such answer, even a 404, shows that the endpoint serves."""
        # This is the path of nearly every call, so it reaches into the circuit instead of calling a method of it.
        circuit = self._circuit
        generation, self._generation = self._generation, _SPENT
        if generation != circuit._generation:
            return
        if circuit._state is _CLOSED and elapsed <= circuit._slow_call:
            circuit._bad_in_a_row = 0
            if circuit._recording:
                circuit._window.record(now, False, False)
        else:
            circuit._settle(now, False, elapsed)

    def failure(self, now: float, elapsed: float) -> None:
        """Record a failure of the endpoint."""
        if self._spend():
            self._circuit._settle(now, True, elapsed)

    def cancel(self) -> None:
        """Record nothing, because nothing was learnt, and return this ticket's own permit."""
        if self._spend():
            self._circuit._return_permit()

    def _spend(self) -> bool:
        """Mark the ticket as settled and return whether it still counted."""
        generation, self._generation = self._generation, _SPENT
        return generation == self._circuit._generation


OnTransition: TypeAlias = Callable[["Circuit", CircuitState, CircuitState, float | None], None]
"""Called with the circuit, its state before and after, and the time (``None``: changed through a method)."""


class Circuit:
    """One endpoint's circuit.

    Closed, it opens on a bad result once ``minimum_calls`` are in the window and the share of failures, or of
    slow attempts, reaches its ratio. A good result never opens it.

    The time that an endpoint keeps its callers waiting does not age what they learnt: bad results in a row count
    towards ``minimum_calls`` as long as the pauses between them, from each result to the beginning of the next attempt,
    fit into the window together. A caller that waits for each answer of a hung endpoint gets one result per attempt
    timeout. Without this rule, the window would never hold enough of them.

    The break doubles with each failed recovery. It starts over only after a recovery that lasted a whole window: an
    endpoint that answers three probes and fails again under the full load gets more time each round. Jitter adds up to
    a quarter, so that the clients of a fleet do not probe in step. It never shortens a break (cf.
    ``max_ejection_time_jitter`` of Envoy's outlier detection, Finagle's jittered failure accrual).

    In the half-open state, a slow success counts as a failure if ``slow_call`` is set (as in resilience4j): an endpoint
    whose circuit opened because it was slow has not recovered while it is slow. A probe that has not returned after a
    break does not block the next one: one more probe passes per break. So a probe that hangs cannot hide a recovery,
    and a ticket that is never settled cannot keep the circuit half-open. Such probes still count when they return.

    When the circuit closes, the window holds the probes and nothing else: they are the first evidence of the recovery.

    Args:
        settings: The thresholds and the mode. ``metrics_only`` goes through all states but refuses nothing,
            ``disabled`` neither counts nor refuses.
        rng: The random generator for jitter.
        on_transition: Called after each change of state. It must not raise.
    """

    __slots__ = (
        "_bad_at", "_bad_in_a_row", "_break", "_closed_at", "_generation", "_on_transition", "_paused", "_probes",
        "_recording", "_rng", "_settings", "_slow_call", "_state", "_successes", "_until", "_window",
    )  # fmt: skip  # one name per line would only be longer

    def __init__(self, settings: CircuitBreaker, rng: random.Random, on_transition: OnTransition | None = None) -> None:
        self._settings = settings
        self._rng = rng
        self._on_transition = on_transition
        self._recording = settings.mode != "disabled"
        self._slow_call = math.inf if settings.slow_call is None else settings.slow_call
        self._window = SlidingWindow(settings.window)
        self._state: CircuitState = _CLOSED
        self._generation = 0
        self._break = settings.break_duration
        self._closed_at = _NEVER
        # No attempt passes before this time, unless a probe permit is free. Closed: always in the past. Open: the end
        # of the break. Half-open: when a further probe passes although others are in flight. Forced open: infinity.
        self._until = _NEVER
        self._probes = 0
        self._successes = 0
        self._bad_in_a_row = 0
        self._bad_at = _NEVER  # the time of the latest of them
        self._paused = 0.0  # seconds between them in which no attempt was waiting

    def try_admit(self, now: float) -> Ticket | None:
        """Ask to send one attempt.

        Args:
            now: The time, in seconds.

        Returns:
            The ticket, which the caller settles in every case, or ``None`` if the attempt must not be sent.
        """
        if self._state is _CLOSED or self._admits_unclosed(now):
            return Ticket(self, self._generation)
        return None if self._settings.mode == "enforcing" else Ticket(self, _SPENT)

    def would_admit(self, now: float) -> bool:
        """Whether ``try_admit`` would hand out a ticket at ``now`` (in seconds), without taking one."""
        return now >= self._until or self._permit_free() or self._settings.mode != "enforcing"

    def rejects_for(self, now: float) -> float:
        """Seconds from ``now`` for which an attempt is sure to be refused, infinite when forced open, else often 0.

        In the half-open state it is 0: a probe may return, and free its permit, at any time.
        """
        if self._state is _HALF_OPEN or self._settings.mode != "enforcing":
            return 0.0
        return max(0.0, self._until - now)

    def retry_after(self, now: float) -> float | None:
        """Seconds from ``now`` until the break is over, or ``None`` if there is no break, or none with a known end."""
        return max(0.0, self._until - now) if self._state is _OPEN else None

    @property
    def state(self) -> CircuitState:
        """The state of the circuit. After the break it stays ``OPEN`` until the next attempt asks."""
        return self._state

    def is_idle(self, now: float) -> bool:
        """Whether it refuses nothing at ``now`` (in seconds) and can be forgotten.

        It is idle when it is closed, and when no attempt has asked it in the whole window after its break: the results
        that opened it would no longer count.
        """
        if self._state is _OPEN or self._state is _HALF_OPEN:
            return now >= self._until + self._settings.window
        return self._state is _CLOSED

    @property
    def opened_until(self) -> float | None:
        """When the break ends, in seconds on the caller's clock, or ``None`` if the state is not ``OPEN``."""
        return self._until if self._state is _OPEN else None

    @property
    def probes_out(self) -> int:
        """Probes in flight, above 0 in the state ``HALF_OPEN`` only."""
        return self._probes

    def failure_ratio(self, now: float) -> float:
        """The share of failed attempts in the window ending at ``now`` (in seconds), 0 without attempts."""
        calls, failures, _ = self._window.totals(now)
        return failures / calls if calls else 0.0

    def describe(self, now: float) -> str:
        """The state and the numbers behind it at ``now`` (in seconds), as one human-readable line."""
        settings = self._settings
        calls, failures, slow = self._window.totals(now)
        parts = [f"{failures} of {calls} attempts failed, {slow} slow, in the last {settings.window:g} s"]
        if self._state is _OPEN:
            parts.insert(0, f"for another {max(0.0, self._until - now):.1f} s")
        elif self._state is _HALF_OPEN:
            parts = [f"{self._probes} probes out, {self._successes} of {settings.half_open_probes} succeeded"]
        if settings.mode != "enforcing":
            parts.append(f"{settings.mode}: refuses nothing")
        return f"{self._state}: {'; '.join(parts)}"

    def force_open(self) -> None:
        """Refuse everything until the next manual change (``metrics_only`` and ``disabled`` still refuse nothing)."""
        self._enter(_FORCED_OPEN, math.inf, None)

    def force_close(self) -> None:
        """Admit everything until the next manual change. Results are counted but never open the circuit."""
        self._enter(_FORCED_CLOSED, _NEVER, None)

    def reset(self) -> None:
        """Close the circuit and discard its counts, its breaks and the results of attempts still in flight."""
        self._window.clear()
        self._closed_at = _NEVER
        self._enter(_CLOSED, _NEVER, None)

    def retire(self) -> None:
        """Ignore the results of attempts still in flight, because this circuit was evicted. Reports nothing."""
        self._generation += 1

    def __repr__(self) -> str:
        return f"<Circuit {self._state}>"

    def _permit_free(self) -> bool:
        return self._state is _HALF_OPEN and self._probes < self._settings.half_open_probes

    def _admits_unclosed(self, now: float) -> bool:
        """Decide outside the closed state, taking a probe permit where one is needed."""
        if self._state is _FORCED_CLOSED:
            return True
        if not self._permit_free() and now < self._until:
            return False
        if self._state is _OPEN:
            self._enter(_HALF_OPEN, math.inf, now)
        # Half-open, `_until` is the time at which a further probe passes even if no permit is free: the probes in
        # flight may hang.
        self._until = now + self._break
        self._probes += 1
        return True

    def _settle(self, now: float, failed: bool, elapsed: float) -> None:
        """Learn from a ticket of this generation."""
        slow = elapsed > self._slow_call
        if self._state is _HALF_OPEN:
            self._settle_probe(now, failed or slow)
        elif self._recording:
            self._window.record(now, failed, slow)
            if not failed and not slow:
                self._bad_in_a_row = 0
                return
            self._count_in_a_row(now, elapsed)
            if self._state is _CLOSED and self._is_failing(now):
                self._open(now)

    def _count_in_a_row(self, now: float, elapsed: float) -> None:
        self._paused += max(0.0, now - elapsed - self._bad_at)
        if not self._bad_in_a_row or self._paused > self._window.shortest:
            self._bad_in_a_row, self._paused = 0, 0.0
        self._bad_in_a_row += 1
        self._bad_at = now

    def _settle_probe(self, now: float, bad: bool) -> None:
        if bad:
            self._open(now)
            return
        self._probes -= 1
        self._successes += 1
        if self._successes >= self._settings.half_open_probes:
            self._window.clear()
            for _ in range(self._successes):
                self._window.record(now, False, False)
            self._closed_at = now
            self._enter(_CLOSED, _NEVER, now)

    def _return_permit(self) -> None:
        if self._state is _HALF_OPEN:
            self._probes -= 1

    def _is_failing(self, now: float) -> bool:
        settings = self._settings
        calls, failures, slow = self._window.totals(now)
        return max(calls, self._bad_in_a_row) >= settings.minimum_calls and (
            failures / calls >= settings.failure_ratio or slow / calls >= settings.slow_ratio
        )

    def _open(self, now: float) -> None:
        settings = self._settings
        longest = settings.max_break_duration
        # The first break again only after a recovery that lasted a window. A shorter one keeps the doubled break.
        if self._state is _CLOSED and now - self._closed_at >= settings.window:
            self._break = min(settings.break_duration, longest)
        until = now + self._break * self._rng.uniform(1, _JITTER)
        self._break = min(2 * self._break, longest)
        self._enter(_OPEN, until, now)

    def _enter(self, state: CircuitState, until: float, now: float | None) -> None:
        """Enter a state. This is the only place where the state and the generation change."""
        before, self._state = self._state, state
        self._until = until
        self._generation += 1
        self._probes = self._successes = self._bad_in_a_row = 0
        if self._on_transition is not None and before is not state:
            self._on_transition(self, before, state, now)
