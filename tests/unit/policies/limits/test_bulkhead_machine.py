"""Permits under any interleaving, compared with a model that is plain, slow and obvious."""

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from resilient_client._policies.limits.bulkhead import Permits
from resilient_client._policies.limits.queue import QueueEntry
from resilient_client._settings.bulkhead import Bulkhead

SETTINGS = Bulkhead(max_concurrent=3, max_queue=4)
MACHINE = settings(stateful_step_count=60)
RANKS = ["user", "batch", "probe"]


class Caller:
    def __init__(self, priority, number):
        self.priority = priority
        self.number = number
        self.gone = False  # cancelled, and has not run since
        self.waiter = None
        self.result = None

    @property
    def order(self):
        return RANKS.index(self.priority), self.number

    def wake(self, granted):
        if self.gone:
            return False
        assert self.result is None, "woken twice"
        self.result = granted
        return True


class Interleavings(RuleBasedStateMachine):
    """Attempts come, wait, are cancelled, get permits and return them in any order, and the limit moves."""

    def __init__(self):
        super().__init__()
        self.permits = Permits(SETTINGS)
        self.limit = SETTINGS.max_concurrent
        self.in_use = 0
        self.queue = []  # in order of arrival
        self.count = 0

    def serve(self):
        """What must happen once anything has changed."""
        while self.queue and self.in_use < self.limit:
            first = min(self.queue, key=lambda waiter: waiter.order)
            self.queue.remove(first)
            if not first.gone:
                assert first.result is True, "a permit is free and the first in line has not got it"
                self.in_use += 1

    @rule(priority=st.sampled_from(RANKS))
    def come(self, priority):
        free = self.in_use < self.limit
        assert self.permits.try_acquire() is free
        if free:
            self.in_use += 1
            return
        self.count += 1
        waiter = Caller(priority, self.count)
        waiter.waiter = self.permits.enqueue(priority, waiter.wake)
        if len(self.queue) >= SETTINGS.max_queue:
            last = max(self.queue, key=lambda waiter: waiter.order)
            if last.order[0] <= waiter.order[0]:
                assert waiter.waiter is None
                return
            self.queue.remove(last)
            assert last.gone or last.result is False
        assert waiter.waiter is not None
        self.queue.append(waiter)

    @precondition(lambda self: self.in_use)
    @rule()
    def release(self):
        self.permits.release()
        self.in_use -= 1
        self.serve()

    @precondition(lambda self: self.queue)
    @rule(data=st.data(), runs=st.booleans())
    def cancel(self, data, runs):
        """Cancel a waiter. It may run, and leave, only later."""
        waiter = data.draw(st.sampled_from(self.queue))
        waiter.gone = True
        if runs:
            waiter.waiter.leave()
            self.queue.remove(waiter)

    @rule(limit=st.integers(1, 6))
    def resize(self, limit):
        self.permits._resize(limit)
        self.limit = limit
        self.serve()

    @invariant()
    def agrees_with_the_model(self):
        assert self.permits.in_use == self.in_use
        assert self.permits.limit == self.limit
        assert self.permits.waiting == len(self.queue) <= SETTINGS.max_queue
        assert all(waiter.result is None for waiter in self.queue), "served out of order"

    def teardown(self):
        """However it ends, all permits come home."""
        for waiter in self.queue:
            waiter.waiter.leave()
        for _ in range(self.in_use):
            self.permits.release()
        assert self.permits.idle


def test_permits_agree_with_the_model():
    """In any order of events, permits and waiters are as the model requires."""
    run_state_machine_as_test(Interleavings, settings=MACHINE)


def hand_on_to_anybody(permits):
    for queue in permits._queues.values():
        while queue and permits._in_use < permits._limit:
            queue.popitem(last=False)[0].wake(True)
            permits._in_use += 1


def hand_on_to_the_last(permits):
    for queue in permits._queues.values():
        while queue and permits._in_use < permits._limit:
            if queue.popitem()[0].wake(True):
                permits._in_use += 1


def hand_on_whatever_the_priority(permits):
    for queue in reversed(permits._queues.values()):
        while queue and permits._in_use < permits._limit:
            if queue.popitem(last=False)[0].wake(True):
                permits._in_use += 1


MUTANTS = {
    "permits of cancelled waiters are lost": (Permits, "_serve_waiters", hand_on_to_anybody),
    "the latest waiter is served first": (Permits, "_serve_waiters", hand_on_to_the_last),
    "probes go before users": (Permits, "_serve_waiters", hand_on_whatever_the_priority),
    "who leaves stays in the queue": (QueueEntry, "leave", lambda waiter: None),
    "no room is made for users": (Permits, "_make_room", lambda permits, priority: False),
    "a newcomer overtakes": (Permits, "try_acquire", lambda permits: True),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_model_detects_broken_permits(mutant, monkeypatch):
    """Negative control: with one part of the permits disabled, the comparison fails."""
    monkeypatch.setattr(*MUTANTS[mutant])
    only_find = settings(MACHINE, phases=[Phase.generate], database=None, print_blob=False, max_examples=1_000)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Interleavings, settings=only_find)
