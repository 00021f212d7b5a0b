"""The circuit against a deliberately simple model, under any interleaving of attempts, time and switches.

The model keeps lists where the circuit keeps counters, and the set of the tickets that still count where the
circuit keeps generations: whenever the state changes, the set is emptied.
"""

import random

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from resilient_client._policies.circuit.circuit import Circuit, CircuitState, Ticket
from resilient_client._settings.circuit_breaker import CircuitBreaker

CLOSED, OPEN, HALF_OPEN, FORCED_OPEN, FORCED_CLOSED = CircuitState
SETTINGS = CircuitBreaker(
    failure_ratio=0.5,
    minimum_calls=4,
    window=30,
    slow_call=1,
    slow_ratio=0.75,
    break_duration=5,
    max_break_duration=12,
    half_open_probes=2,
)
BUCKET = 3.0  # seconds: the grain of the window
FAST, SLOW = 0.5, 20.0  # seconds that an attempt takes
MACHINE = settings(stateful_step_count=60)


class Model:
    """What the circuit should be, written to be read rather than run often."""

    def __init__(self):
        self.results = []  # (time, failed, slow) of everything counted since the last closing
        self.breaks = [5, 10, 12]  # the breaks still ahead, in seconds; the last one repeats
        self.closed_at = float("-inf")
        self.enter(CLOSED)

    def enter(self, state, until=None):
        self.state, self.until = state, until
        self.current = {}  # the tickets that still count, and when they were handed out
        self.successes = []
        self.probed_at = None

    def open(self, now, until):
        if self.state is CLOSED and now - self.closed_at >= 30:
            self.breaks = [5, 10, 12]
        planned = self.breaks.pop(0) if len(self.breaks) > 1 else self.breaks[0]
        assert until is not None
        assert planned <= until - now <= planned * 1.25
        self.enter(OPEN, until)

    def recent(self, now):
        return [result for result in self.results if now // BUCKET - result[0] // BUCKET < 10]

    def in_a_row(self):
        """The bad results in a row, with pauses between them that fit into the window together."""
        row, paused, latest = 0, 0.0, 0.0
        for time, failed, slow in self.results:
            paused += max(0.0, time - (SLOW if slow else FAST) - latest)
            if row == 0 or paused > 30 - BUCKET:
                row, paused = 0, 0.0
            row, latest = (row + 1 if failed or slow else 0), time
        return row

    def admits(self, now):
        match self.state:
            case state if state in (CLOSED, FORCED_CLOSED):
                return True
            case state if state is FORCED_OPEN:
                return False
            case state if state is OPEN:
                return now >= self.until
        return len(self.current) < 2 or now - self.probed_at >= self.breaks[0]

    def admit(self, ticket, now):
        if self.state is OPEN:
            self.enter(HALF_OPEN)
        self.current[ticket] = self.probed_at = now

    def settle(self, ticket, failed, slow, now, until):
        """Record a result. ``until`` is the end of the break that the circuit chose, if one begins."""
        if ticket not in self.current:
            return
        del self.current[ticket]
        if self.state is HALF_OPEN:
            self.settle_probe(failed or slow, now, until)
            return
        self.results.append((now, failed, slow))
        recent = self.recent(now)
        many = max(len(recent), self.in_a_row()) >= 4
        failing = sum(r[1] for r in recent) >= len(recent) * 0.5 or sum(r[2] for r in recent) >= len(recent) * 0.75
        if self.state is CLOSED and (failed or slow) and many and failing:
            self.open(now, until)

    def settle_probe(self, bad, now, until):
        if bad:
            self.open(now, until)
            return
        self.successes.append(now)
        if len(self.successes) == 2:
            self.results, self.closed_at = [(now, False, False)] * 2, now
            self.enter(CLOSED)


class Interleavings(RuleBasedStateMachine):
    """Attempts begin and end in any order while time passes and the circuit is switched manually."""

    def __init__(self):
        super().__init__()
        self.now = 1000.0
        self.circuit = Circuit(SETTINGS, random.Random(7))
        self.model = Model()
        self.tickets = []  # every ticket ever handed out: settled ones are settled again

    @rule(callers=st.integers(1, 5))
    def admit(self, callers):
        for _ in range(callers):
            expected = self.model.admits(self.now)
            assert self.circuit.would_admit(self.now) is expected
            ticket = self.circuit.try_admit(self.now)
            assert (ticket is not None) is expected
            if ticket is not None:
                self.model.admit(ticket, self.now)
                self.tickets.append(ticket)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), failed=st.booleans(), slow=st.booleans())
    def settle(self, data, failed, slow):
        self.settle_one(data.draw(st.sampled_from(self.tickets[-8:])), failed, slow)

    def settle_one(self, ticket, failed, slow):
        (ticket.failure if failed else ticket.success)(self.now, SLOW if slow else FAST)
        self.model.settle(ticket, failed, slow, self.now, self.circuit.opened_until)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def cancel(self, data):
        ticket = data.draw(st.sampled_from(self.tickets[-8:]))
        ticket.cancel()
        self.model.current.pop(ticket, None)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 7.0, 16.0, 31.0, 61.0]))
    def pass_time(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.model.state is CLOSED)
    @rule()
    def break_down(self):
        """Open the circuit: random steps would seldom lead there."""
        self.admit(12)
        for ticket in self.tickets[-12:]:
            self.settle_one(ticket, True, False)

    @precondition(lambda self: self.model.state is CLOSED)
    @rule(pause=st.sampled_from([0.5, 3.0, 16.0]))
    def hang(self, pause):
        """Let one caller wait for each answer, in vain."""
        for _ in range(4):
            self.now += pause
            self.admit(1)
            ticket = self.tickets[-1]
            self.now += SLOW
            self.settle_one(ticket, True, True)
            if self.model.state is not CLOSED:
                return

    @precondition(lambda self: self.model.state is OPEN)
    @rule(callers=st.integers(1, 5))
    def end_break(self, callers):
        self.now = max(self.now, self.model.until)
        self.admit(callers)

    @precondition(lambda self: len(self.tickets) % 4 == 0)  # people are slow
    @rule(state=st.sampled_from([FORCED_OPEN, FORCED_CLOSED, CLOSED]))
    def throw_switch(self, state):
        if state is CLOSED:
            self.circuit.reset()
            self.model = Model()
            return
        (self.circuit.force_open if state is FORCED_OPEN else self.circuit.force_close)()
        self.model.enter(state)

    @invariant()
    def agrees_with_the_model(self):
        model, recent = self.model, self.model.recent(self.now)
        assert self.circuit.state is model.state
        assert self.circuit.opened_until == model.until
        assert self.circuit.failure_ratio(self.now) == sum(r[1] for r in recent) / (len(recent) or 1)

    @invariant()
    def runs_no_more_probes_than_allowed(self):
        """Only probes in flight for less than a break count, because longer ones do not block."""
        model = self.model
        latest = [at for at in model.current.values() if self.now - at < model.breaks[0]]
        assert model.state is not HALF_OPEN or len(latest) <= SETTINGS.half_open_probes

    def teardown(self):
        """However it ends, the circuit recovers by itself: it is never stuck."""
        if self.circuit.state is FORCED_OPEN:
            return
        for _ in range(SETTINGS.half_open_probes):
            self.now += 2 * SETTINGS.max_break_duration
            self.circuit.try_admit(self.now).success(self.now, 0.5)
        assert self.circuit.state in (CLOSED, FORCED_CLOSED)


def test_circuit_agrees_with_the_model():
    """In any order of events, the circuit is in the state that the model requires."""
    run_state_machine_as_test(Interleavings, settings=MACHINE)


def spend_whatever_the_generation(ticket):
    unspent, ticket._generation = ticket._generation != -1, -1
    return unspent


MUTANTS = {
    "results of earlier states count": (Ticket, "_spend", spend_whatever_the_generation),
    "a ticket may be settled twice": (Ticket, "_spend", lambda t: t._generation == t._circuit._generation),
    "any number of probes": (Circuit, "_permit_free", lambda circuit: circuit.state is HALF_OPEN),
    "waiting ages bad results": (Circuit, "_count_in_a_row", lambda circuit, now, elapsed: None),
    "cancelled probes keep their permits": (Circuit, "_return_permit", lambda circuit: None),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_model_detects_a_broken_circuit(mutant, monkeypatch):
    """Negative control: with one part of the circuit disabled, the comparison fails."""
    monkeypatch.setattr(*MUTANTS[mutant])
    only_find = settings(MACHINE, phases=[Phase.generate], database=None, print_blob=False, max_examples=1_000)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Interleavings, settings=only_find)
