"""The circuit: what opens it, for how long, and the effect of manual changes and modes."""

import random

import pytest

from resilient_client._policies.circuit.circuit import Circuit, CircuitState
from resilient_client._settings.circuit_breaker import CircuitBreaker

CLOSED, OPEN, HALF_OPEN, FORCED_OPEN, FORCED_CLOSED = CircuitState
FAST, SLOW = 0.1, 9.0  # how long attempts take, in seconds
THRESHOLDS = {"failure_ratio": 0.5, "minimum_calls": 10, "window": 30, "half_open_probes": 3}
GIVEN = THRESHOLDS | {"break_duration": 2, "max_break_duration": 10}  # the rules hold whatever the defaults are


class Listener(list):
    """Keeps what a circuit reports: (before, after, time)."""

    def __call__(self, circuit, before, after, now):
        self.append((before, after, now))


def make(on_transition=None, **settings):
    return Circuit(CircuitBreaker(**(GIVEN | settings)), random.Random(7), on_transition)


def feed(circuit, results, now=0.0):
    """Let one attempt follow the other: ``+`` success, ``-`` failure, ``~`` slow success."""
    for result in results:
        ticket = circuit.try_admit(now)
        if result == "-":
            ticket.failure(now, FAST)
        else:
            ticket.success(now, SLOW if result == "~" else FAST)


def opened(**settings):
    """A circuit that opened at time 0."""
    circuit = make(**settings)
    feed(circuit, "-" * 10)
    assert circuit.state is OPEN
    return circuit


def test_failures_below_the_minimum_calls_keep_it_closed():
    """A ratio means nothing before ``minimum_calls``."""
    circuit = make(minimum_calls=10)
    feed(circuit, "-" * 9)
    assert circuit.state is CLOSED


def test_failures_at_the_ratio_open():
    """Exactly ``failure_ratio`` is enough."""
    circuit = make()
    feed(circuit, "+++++----")
    assert circuit.state is CLOSED
    feed(circuit, "-")
    assert circuit.state is OPEN


@pytest.mark.parametrize("percent", range(1, 101))
def test_failure_ratio_of_any_percentage_is_met_exactly(percent):
    """Rounding neither adds a failure to the threshold nor takes one away."""
    circuit = make(failure_ratio=percent / 100, minimum_calls=100)
    feed(circuit, "+" * (100 - percent) + "-" * (percent - 1))
    assert circuit.state is CLOSED
    feed(circuit, "-")
    assert circuit.state is OPEN


def test_success_that_completes_the_minimum_keeps_it_closed():
    """A good result never opens a circuit."""
    circuit = make()
    feed(circuit, "-" * 9 + "+")
    assert circuit.state is CLOSED


def test_failures_older_than_the_window_do_not_count():
    """Only the window counts."""
    circuit = make(window=30)
    feed(circuit, "-" * 9, now=0.0)
    feed(circuit, "-", now=30.0)
    assert circuit.state is CLOSED


def wait_for(circuit, results, *, elapsed, pause=0.1, start=0.0):
    """Let a caller wait ``elapsed`` seconds for each answer, and pause before the next attempt. Returns the end."""
    now = start
    for result in results:
        ticket = circuit.try_admit(now)
        now += elapsed
        (ticket.failure if result == "-" else ticket.success)(now, elapsed)
        now += pause
    return now


@pytest.mark.parametrize(("window", "elapsed"), [(10, 10), (10, 60), (30, 16), (1, 10)])
def test_caller_that_waits_for_a_hung_endpoint_opens_it(window, elapsed):
    """One result per attempt timeout is enough, however short the window is."""
    circuit = make(window=window)
    wait_for(circuit, "-" * 9, elapsed=elapsed, pause=0.05)
    assert circuit.state is CLOSED
    wait_for(circuit, "-", elapsed=elapsed, start=9 * (elapsed + 0.05))
    assert circuit.state is OPEN


def test_caller_that_waits_for_a_slow_endpoint_opens_it():
    """The same with answers that are too slow, if slowness counts."""
    circuit = make(slow_call=5)
    wait_for(circuit, "~" * 10, elapsed=20)
    assert circuit.state is OPEN


@pytest.mark.parametrize("results", ["-----+-----", "---------+-"])
def test_good_answer_ends_the_failures_in_a_row(results):
    """An answer in between shows that the endpoint serves, even if it is no longer in the window."""
    circuit = make(window=10)
    wait_for(circuit, results, elapsed=20)
    assert circuit.state is CLOSED


@pytest.mark.parametrize(("elapsed", "pause"), [(FAST, 4.0), (20, 4.0), (20, 28.0)])
def test_pauses_of_the_caller_end_the_failures_in_a_row(elapsed, pause):
    """Only waiting for the endpoint does not age a result: failures minutes apart are no outage."""
    circuit = make()
    wait_for(circuit, "-" * 30, elapsed=elapsed, pause=pause)
    assert circuit.state is CLOSED


def test_recovery_ends_the_failures_in_a_row():
    """A circuit that has closed needs as many failures as before to open again."""
    circuit = make(half_open_probes=1)
    end = wait_for(circuit, "-" * 10, elapsed=20)
    assert circuit.state is OPEN
    end = wait_for(circuit, "+", elapsed=FAST, start=end + 10)
    end = wait_for(circuit, "-" * 9, elapsed=20, start=end)
    assert circuit.state is CLOSED


def test_cancelled_attempts_count_for_nothing():
    """A caller that gives up proves nothing about the endpoint."""
    circuit = make(minimum_calls=1)
    for _ in range(100):
        circuit.try_admit(0.0).cancel()
    assert circuit.state is CLOSED
    assert circuit.failure_ratio(0.0) == 0.0


def test_slow_attempts_at_the_slow_ratio_open():
    """Slow successes open the circuit when ``slow_call`` is set."""
    circuit = make(slow_call=1, slow_ratio=0.5)
    feed(circuit, "+++++~~~~")
    assert circuit.state is CLOSED
    feed(circuit, "~")
    assert circuit.state is OPEN


def test_slow_attempts_without_slow_call_keep_it_closed():
    """Without ``slow_call`` slowness does not count."""
    circuit = make()
    feed(circuit, "~" * 50)
    assert circuit.state is CLOSED


def test_attempt_of_exactly_slow_call_is_not_slow():
    """Slow means slower than ``slow_call``."""
    circuit = make(slow_call=SLOW, minimum_calls=1)
    feed(circuit, "~")
    assert circuit.state is CLOSED


def test_failure_ratio_is_the_share_in_the_window():
    """The number that decides is public."""
    circuit = make()
    feed(circuit, "+++-")
    assert circuit.failure_ratio(0.0) == 0.25
    assert circuit.failure_ratio(30.0) == 0.0


def test_ticket_settled_twice_counts_once():
    """Only the first settlement counts."""
    circuit = make(minimum_calls=2)
    ticket = circuit.try_admit(0.0)
    ticket.failure(0.0, FAST)
    ticket.failure(0.0, FAST)
    ticket.cancel()
    assert circuit.state is CLOSED


def test_open_refuses_until_the_break_is_over():
    """An open circuit refuses every attempt of its break, and admits the first one after it."""
    circuit = opened()
    for now in (0.0, 1.0, 1.999, circuit.opened_until - 1e-6):
        assert circuit.try_admit(now) is None
        assert not circuit.would_admit(now)
    assert circuit.try_admit(circuit.opened_until) is not None


def test_open_says_how_long():
    """The refusal carries the seconds that are left, never fewer than none."""
    circuit = opened()
    assert circuit.retry_after(1.0) == circuit.opened_until - 1.0
    assert circuit.retry_after(1e6) == 0.0


def test_retry_after_outside_a_break_is_unknown():
    """Where no break runs, there is nothing to promise."""
    circuit = make()
    assert circuit.retry_after(0.0) is None
    assert circuit.opened_until is None


def test_open_after_its_break_stays_open_until_an_attempt():
    """Time alone changes no state, and neither does reading it. The next attempt does."""
    circuit = opened()
    assert circuit.would_admit(1e6)
    assert circuit.state is OPEN


def test_late_failures_do_not_prolong_the_break():
    """What began before the circuit opened cannot stretch the break."""
    circuit = make()
    late = [circuit.try_admit(0.0) for _ in range(10)]
    feed(circuit, "-" * 10)
    until = circuit.opened_until
    for ticket in late:
        ticket.failure(4.0, 4.0)
    assert circuit.opened_until == until


def test_break_is_jittered_upward_only():
    """Circuits that open together probe apart, and none before its break is over."""
    rng = random.Random(7)
    ends = set()
    for _ in range(200):
        circuit = Circuit(CircuitBreaker(**THRESHOLDS, break_duration=8), rng)
        feed(circuit, "-" * 10)
        ends.add(circuit.opened_until)
    assert 8 <= min(ends) < 8.1
    assert 9.9 < max(ends) <= 10
    assert len(ends) == 200


def breaks(circuit, rounds):
    """The breaks of an open circuit whose probes keep failing, in seconds."""
    opened_at, lengths = 0.0, []
    for _ in range(rounds):
        lengths.append(circuit.opened_until - opened_at)
        opened_at = circuit.opened_until
        feed(circuit, "-", now=opened_at)
    return lengths


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [1, 1, 1]),
        ({"break_duration": 90}, [90, 90]),
        ({"max_break_duration": 6}, [1, 2, 4, 6, 6]),
        ({"max_break_duration": 0.5}, [0.5, 0.5]),
        ({"break_duration": 2, "max_break_duration": 3}, [2, 3, 3]),
    ],
    ids=["defaults", "only the first set", "only the longest set", "only a shorter one set", "both set"],
)
def test_break_after_each_failed_probe_doubles_up_to_the_longest(settings, expected):
    """Failed recoveries double the break. A default bound gives way to one that is set."""
    circuit = Circuit(CircuitBreaker(**THRESHOLDS, **settings), random.Random(7))
    feed(circuit, "-" * 10)
    for length, base in zip(breaks(circuit, len(expected)), expected, strict=True):
        assert base <= length <= base * 1.25 + 1e-9


def test_break_after_a_lasting_recovery_starts_over():
    """A whole window of health makes the next trouble a new one."""
    circuit = opened(break_duration=5, window=30)
    now = circuit.opened_until
    feed(circuit, "+++", now)
    feed(circuit, "-" * 10, now + 30)
    assert circuit.opened_until - (now + 30) <= 5 * 1.25


def test_break_after_a_short_recovery_goes_on_doubling():
    """An endpoint that falls over as soon as the load is back gets ever longer breaks."""
    circuit = opened(break_duration=5, window=30)
    now = circuit.opened_until
    feed(circuit, "+++", now)
    feed(circuit, "-" * 10, now + 29)
    assert circuit.opened_until - (now + 29) >= 10


def test_force_open_refuses_for_ever():
    """Neither time nor attempts in flight close what was opened manually."""
    circuit = make()
    late = circuit.try_admit(0.0)
    circuit.force_open()
    late.success(1.0, FAST)
    assert circuit.try_admit(1e9) is None
    assert not circuit.would_admit(1e9)
    assert circuit.state is FORCED_OPEN


def test_force_close_admits_for_ever():
    """Failures are counted without consequence after a manual close."""
    circuit = opened()
    circuit.force_close()
    feed(circuit, "-" * 100, now=1.0)
    assert circuit.would_admit(1.0)
    assert circuit.state is FORCED_CLOSED
    assert circuit.failure_ratio(1.0) == 1.0


@pytest.mark.parametrize("switch", [Circuit.force_open, Circuit.force_close])
def test_reset_returns_a_forced_circuit_to_its_own_judgement(switch):
    """After reset, the circuit is as new."""
    circuit = opened()
    switch(circuit)
    circuit.reset()
    assert circuit.state is CLOSED
    feed(circuit, "-" * 9)
    assert circuit.state is CLOSED
    feed(circuit, "-")
    assert circuit.opened_until <= 5 * 1.25


def test_reset_starts_the_breaks_over():
    """A reset also discards the doubled break, however short the recovery was."""
    circuit = opened()
    now = circuit.opened_until
    feed(circuit, "+++", now)
    circuit.reset()
    feed(circuit, "-" * 10, now)
    assert circuit.opened_until - now <= 5 * 1.25


def test_metrics_only_changes_state_and_refuses_nothing():
    """It judges only the attempts that enforcing would have admitted."""
    changes = Listener()
    circuit = make(changes, mode="metrics_only")
    feed(circuit, "-" * 10, now=0.0)
    feed(circuit, "+-" * 10, now=1.0)
    assert circuit.would_admit(1.0)
    assert circuit.state is OPEN
    feed(circuit, "+++", now=10.0)
    assert [after for _, after, _ in changes] == [OPEN, HALF_OPEN, CLOSED]


def test_disabled_counts_nothing_and_refuses_nothing():
    """Switched off, a circuit has no say, even if forced open."""
    circuit = make(mode="disabled")
    feed(circuit, "-" * 100)
    assert circuit.state is CLOSED
    assert circuit.failure_ratio(0.0) == 0.0
    circuit.force_open()
    assert circuit.try_admit(0.0) is not None


def test_transitions_are_reported_once_with_their_time():
    """Each change of state is reported once. A manual change has no time."""
    changes = Listener()
    circuit = make(changes, half_open_probes=1)
    feed(circuit, "-" * 10, now=1.0)
    feed(circuit, "+", now=10.0)
    circuit.force_open()
    circuit.force_open()
    circuit.reset()
    assert changes == [
        (CLOSED, OPEN, 1.0),
        (OPEN, HALF_OPEN, 10.0),
        (HALF_OPEN, CLOSED, 10.0),
        (CLOSED, FORCED_OPEN, None),
        (FORCED_OPEN, CLOSED, None),
    ]


def test_listener_that_raises_leaves_a_sound_circuit():
    """A change of state is complete before it is reported."""

    def broken(*_):
        raise RuntimeError("sink down")

    circuit = make(broken, minimum_calls=1)
    with pytest.raises(RuntimeError, match="sink down"):
        feed(circuit, "-")
    assert circuit.state is OPEN
    with pytest.raises(RuntimeError, match="sink down"):
        circuit.try_admit(10.0)
    assert [circuit.try_admit(10.0) is not None for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("prepare", "line"),
    [
        (make, "closed: 0 of 0 attempts failed, 0 slow, in the last 30 s"),
        (opened, "open: for another 1.2 s; 10 of 10 attempts failed, 0 slow, in the last 30 s"),
        (
            lambda: make(mode="metrics_only"),
            "closed: 0 of 0 attempts failed, 0 slow, in the last 30 s; metrics_only: refuses nothing",
        ),
    ],
    ids=["closed", "open", "metrics only"],
)
def test_describe_has_state_and_numbers_in_one_line(prepare, line):
    """The line holds the state and the reason for it."""
    assert prepare().describe(1.0) == line
