"""The half-open circuit: which attempts may probe, the effect of their results, and why it never gets stuck."""

import random

import pytest

from resilient_client._policies.circuit.circuit import Circuit, CircuitState
from resilient_client._settings.circuit_breaker import CircuitBreaker

CLOSED, OPEN, HALF_OPEN, *_ = CircuitState
FAST, SLOW = 0.1, 9.0  # how long attempts take, in seconds
GIVEN = {"failure_ratio": 0.5, "minimum_calls": 10, "window": 30, "half_open_probes": 3}
BREAKS = {"break_duration": 2, "max_break_duration": 10}  # the rules hold whatever the defaults are


def feed(circuit, results, now):
    """Let one attempt follow the other: ``+`` success, ``-`` failure."""
    for result in results:
        ticket = circuit.try_admit(now)
        (ticket.success if result == "+" else ticket.failure)(now, FAST)


def opened(early=0, **settings):
    """A circuit that opened at time 0, and the tickets of ``early`` attempts begun before."""
    circuit = Circuit(CircuitBreaker(**(GIVEN | BREAKS | settings)), random.Random(7))
    tickets = [circuit.try_admit(0.0) for _ in range(early)]
    feed(circuit, "-" * 10, 0.0)
    assert circuit.state is OPEN
    return circuit, tickets


def probing(early=0, **settings):
    """A half-open circuit, the tickets of its three probes and of the early attempts, and the time."""
    circuit, late = opened(early, **settings)
    now = circuit.opened_until
    probes = [circuit.try_admit(now) for _ in range(3)]
    assert circuit.state is HALF_OPEN
    return circuit, probes, late, now


def test_half_open_before_fifty_callers_admits_three():
    """Callers that come together do not all become probes."""
    circuit, _ = opened()
    now = circuit.opened_until
    assert sum(circuit.try_admit(now) is not None for _ in range(50)) == 3


def test_half_open_with_all_probes_out_would_not_admit():
    """A balancer sees whether a permit is free."""
    circuit, probes, _, now = probing()
    assert not circuit.would_admit(now)
    probes[0].cancel()
    assert circuit.would_admit(now)


def test_half_open_has_no_retry_after_and_describes_its_probes():
    """No break runs, so there is no end to report. The description counts the probes."""
    circuit, probes, _, now = probing()
    probes[0].success(now, FAST)
    assert circuit.retry_after(now) is circuit.opened_until is None
    assert circuit.describe(now) == "half_open: 2 probes out, 1 of 3 succeeded"


def test_half_open_after_enough_successes_closes():
    """Probes may run in parallel. The last of ``half_open_probes`` successes closes."""
    circuit, probes, _, now = probing()
    for probe in probes:
        assert circuit.state is HALF_OPEN
        probe.success(now, FAST)
    assert circuit.state is CLOSED


def test_half_open_after_one_failure_opens():
    """One failed probe is enough, whatever the results of the others."""
    circuit, probes, _, now = probing()
    probes[0].success(now, FAST)
    probes[1].failure(now, FAST)
    assert circuit.state is OPEN


@pytest.mark.parametrize(("slow_call", "state"), [(1, OPEN), (None, HALF_OPEN)])
def test_half_open_after_a_slow_success_opens_if_slowness_counts(slow_call, state):
    """A slow endpoint has not recovered if ``slow_call`` is set."""
    circuit, probes, _, now = probing(slow_call=slow_call)
    probes[0].success(now, SLOW)
    assert circuit.state is state


def test_closing_forgets_the_failures_of_the_outage():
    """What an endpoint did before it recovered is not held against it."""
    circuit, probes, _, now = probing(break_duration=0.1)
    for probe in probes:
        probe.success(now, FAST)
    assert circuit.failure_ratio(now) == 0.0
    feed(circuit, "-" * 6, now)
    assert circuit.state is CLOSED


def test_closing_remembers_the_probes():
    """They are attempts like any other: the first three in the new window, and good ones."""
    circuit, probes, _, now = probing()
    for probe in probes:
        probe.success(now, FAST)
    assert circuit.describe(now).startswith("closed: 0 of 3 attempts failed")


def test_one_answer_keeps_the_default_circuit_closed():
    """While the answer that closed it is in the window, no run of failures opens it."""
    circuit, _ = opened(failure_ratio=1, half_open_probes=1, window=10)
    now = circuit.opened_until
    feed(circuit, "+" + "-" * 90, now)
    assert circuit.state is CLOSED
    feed(circuit, "-" * 10, now + 10)
    assert circuit.state is OPEN


def test_cancelled_probes_neither_close_nor_open():
    """A probe whose caller gave up says nothing."""
    circuit, probes, _, _ = probing()
    for probe in probes:
        probe.cancel()
    assert circuit.state is HALF_OPEN


def test_cancelled_probe_gives_back_its_own_permit_and_only_it():
    """One cancellation, however often repeated, makes room for one probe."""
    circuit, probes, _, now = probing()
    probes[0].cancel()
    probes[0].cancel()
    assert circuit.try_admit(now) is not None
    assert circuit.try_admit(now) is None


def test_settled_probe_returns_no_second_permit():
    """``finally: ticket.cancel()`` after a settlement changes nothing."""
    circuit, probes, _, now = probing()
    probes[0].success(now, FAST)
    probes[0].cancel()
    assert circuit.try_admit(now) is not None
    assert circuit.try_admit(now) is None


def test_late_cancellations_free_no_probe_permit():
    """Attempts from before the outage hold no permit, so giving up on them frees none."""
    circuit, _, late, now = probing(early=5)
    for ticket in late:
        ticket.cancel()
    assert circuit.try_admit(now) is None


def test_late_successes_do_not_close():
    """A success from before the outage is no sign of recovery."""
    circuit, _, late, now = probing(early=5)
    for ticket in late:
        ticket.success(now, now)
    assert circuit.state is HALF_OPEN


def test_late_failures_do_not_open():
    """A failure from before the outage says nothing about the recovery."""
    circuit, _, late, now = probing(early=5)
    for ticket in late:
        ticket.failure(now, now)
    assert circuit.state is HALF_OPEN


def test_late_probe_of_an_earlier_round_changes_nothing():
    """A probe that outlived its own half-open round has no say in the next."""
    circuit, probes, _, now = probing()
    probes[0].failure(now, FAST)
    now = circuit.opened_until
    assert circuit.try_admit(now) is not None
    probes[1].failure(now, FAST)
    assert circuit.state is HALF_OPEN


@pytest.mark.parametrize(("settings", "patience"), [({}, 4), ({"max_break_duration": 3}, 3)])
def test_half_open_admits_one_more_probe_per_break(settings, patience):
    """Probes that hang do not block: the next one passes after the break that would come next."""
    circuit, _, _, now = probing(**settings)
    for _ in range(3):
        for almost in (now, now + patience - 1e-6):
            assert circuit.try_admit(almost) is None
            assert not circuit.would_admit(almost)
        now += patience
        assert circuit.would_admit(now)
        assert circuit.try_admit(now) is not None


def test_lost_probes_do_not_hold_it_half_open():
    """Probes that never come back cannot keep it from closing."""
    circuit, _, _, now = probing()
    for after in (4, 8, 12):
        feed(circuit, "+", now + after)
    assert circuit.state is CLOSED


def test_probe_that_was_not_waited_for_still_counts():
    """A slow endpoint is alive: its late answers close the circuit like any other."""
    circuit, probes, _, now = probing()
    assert circuit.try_admit(now + 4) is not None
    for probe in probes:
        probe.success(now + 5, 5.0)
    assert circuit.state is CLOSED


def test_late_probe_returns_its_own_permit_only():
    """However many are in flight, there is a free permit only when fewer than three are."""
    circuit, probes, _, now = probing()
    circuit.try_admit(now + 4)
    probes[0].cancel()
    assert circuit.try_admit(now + 5) is None
    probes[1].cancel()
    assert circuit.try_admit(now + 5) is not None
    assert circuit.try_admit(now + 5) is None


def test_metrics_only_half_open_listens_to_its_probes_alone():
    """An attempt beyond the probe permits is admitted and not judged."""
    circuit, _, _, now = probing(mode="metrics_only")
    circuit.try_admit(now).failure(now, FAST)
    assert circuit.state is HALF_OPEN


# Negative controls: the tests of late results above can fail.


def without_generations(tickets):
    """Make late tickets pass for current ones, as if generations were not compared."""
    for ticket in tickets:
        ticket._generation = ticket._circuit._generation
    return tickets


def test_late_successes_without_generations_would_close():
    """What is ignored as late would otherwise close a circuit whose probes are still out."""
    circuit, _, late, now = probing(early=5)
    for ticket in without_generations(late):
        ticket.success(now, now)
    assert circuit.state is CLOSED


def test_without_generations_late_cancellations_free_permits():
    """Late results that are not ignored would let more probes run at once than allowed."""
    circuit, _, late, now = probing(early=5)
    for ticket in without_generations(late):
        ticket.cancel()
    assert circuit.try_admit(now) is not None


def test_probes_out_are_those_on_their_way():
    """Each probe counts from its admission until it is settled or given back."""
    circuit, probes, _, now = probing()
    assert circuit.probes_out == len(probes)
    probes[0].cancel()
    assert circuit.probes_out == len(probes) - 1
    probes[1].failure(now, FAST)
    assert circuit.probes_out == 0
