"""The balancer against a deliberately simple model, under any interleaving of attempts, failures and changes.

The model keeps the attempts in flight, the endpoints that refuse and those reported as out. The conditions on a choice
are written down without describing how it is made.
"""

import random

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from yarl import URL

from resilient_client._core.endpoint import Endpoint
from resilient_client._policies.balancing.balancer import Balancer
from resilient_client._policies.balancing.endpoint_pool import EndpointPool, InFlight
from resilient_client._settings.load_balancing import HealthCheck, LoadBalancing

ALL = [Endpoint("http", host, 80) for host in "abcde"]
MACHINE = settings(stateful_step_count=50)


def url(endpoint: Endpoint) -> URL:
    return URL(f"http://{endpoint.host}")


class Interleavings(RuleBasedStateMachine):
    """Attempts begin and end in any order while circuits open, checks fail, time passes and endpoints change."""

    @initialize(
        strategy=st.sampled_from(["least_loaded", "round_robin", "ordered"]),
        count=st.integers(2, 5),
        slow_start=st.sampled_from([0, 10]),
    )
    def start(self, strategy, count, slow_start):
        self.now = 1000.0
        self.closed = set()
        self.out = set()  # as reported
        self.attempts = []
        self.endpoints = ALL[:count]
        config = LoadBalancing(
            strategy=strategy, eject_failures=2, slow_start=slow_start, health_check=HealthCheck(rise=1, fall=1)
        )
        self.endpoint_pool = EndpointPool(config, map(url, self.endpoints), random.Random(3), self.changed)
        self.balancer = Balancer(config, self.endpoint_pool, random.Random(4), self)

    # what the balancer is given: the circuits, and somebody to tell

    def would_admit(self, endpoint, _now):
        return endpoint not in self.closed

    def rejects_for(self, endpoint, _now):
        return 7.0 if endpoint in self.closed else 0.0

    def changed(self, endpoint, reason):
        assert (endpoint in self.out) is not bool(reason)
        if not reason:
            self.out.remove(endpoint)
            return
        self.out.add(endpoint)
        if not reason.startswith("health check"):
            out = self.out & set(self.endpoints)
            assert set(self.endpoints) - out, "the last one was ejected"
            ejected = [m for m in self.endpoint_pool.endpoints if m.outlier_state.ejected]
            assert len(ejected) <= max(1, len(self.endpoints) // 2)

    # what happens

    @rule(tried=st.lists(st.sampled_from(ALL), max_size=4), refused=st.lists(st.sampled_from(ALL), max_size=1))
    def pick(self, tried, refused):
        in_flight = self.balancer.pick(self.now, tried, refused)
        candidates = [e for e in self.endpoints if e not in refused and e not in self.closed]
        assert (in_flight is None) is (not candidates)
        if in_flight is None:
            return
        self.attempts.append(in_flight)
        chosen = in_flight.stats.endpoint
        assert chosen in candidates
        fewest = min(tried.count(endpoint) for endpoint in candidates)
        assert tried.count(chosen) == fewest
        least_tried = [endpoint for endpoint in candidates if tried.count(endpoint) == fewest]
        healthy = [endpoint for endpoint in least_tried if endpoint not in self.out]
        panic = len(set(self.endpoints) - self.out) < len(self.endpoints) / 2
        if healthy and not panic:
            assert chosen in healthy

    @precondition(lambda self: self.attempts)
    @rule(
        number=st.integers(0),
        end=st.sampled_from(["success", "slow", "failure", "silent", "throttled", "cancelled"]),
        twice=st.booleans(),
    )
    def end(self, number, end, twice):
        in_flight = self.attempts.pop(number % len(self.attempts))
        match end:
            case "success":
                in_flight.success(self.now, 0.01)
            case "slow":
                in_flight.success(self.now, 5.0)
            case "failure":
                in_flight.failure(self.now, 0.001)
            case "silent":
                in_flight.failure(self.now, 10.0, silent=True)
            case "throttled":
                in_flight.throttled(self.now, 0.001)
        for _ in range(1 + twice):
            in_flight.release()

    @rule()
    def break_down(self):
        """Make all endpoints fail, one after the other: random steps would seldom lead there."""
        for endpoint in self.endpoints:
            others = [other for other in self.endpoints if other != endpoint]
            for _ in range(2):
                if in_flight := self.balancer.pick(self.now, (), others):
                    in_flight.failure(self.now, 0.001)
                    in_flight.release()

    @rule(endpoint=st.sampled_from(ALL))
    def turn_circuit(self, endpoint):
        self.closed ^= {endpoint}
        if endpoint not in self.closed:
            self.endpoint_pool.recovered(endpoint, self.now)

    @rule(number=st.integers(0, 4), good=st.booleans())
    def check(self, number, good):
        stats = self.endpoint_pool.endpoints[number % len(self.endpoints)]
        self.endpoint_pool.checked(stats, self.now, "" if good else "status 503")

    @rule(seconds=st.sampled_from([0.01, 1.0, 11.0, 61.0]))
    def pass_time(self, seconds):
        self.now += seconds

    @rule(endpoints=st.lists(st.sampled_from(ALL), min_size=1, unique=True))
    def replace(self, endpoints):
        self.out &= set(endpoints)  # the end of a removed one is not reported, and it comes back as a new one
        self.endpoints = endpoints
        self.endpoint_pool.replace(map(url, endpoints), self.now)

    # what must hold

    @invariant()
    def counts_what_is_in_flight(self):
        for stats in self.endpoint_pool.endpoints:
            assert stats.in_flight == sum(in_flight.stats is stats for in_flight in self.attempts)
            assert 0 <= stats.unanswered <= stats.in_flight

    @invariant()
    def tells_who_is_out(self):
        healthy = {stats.endpoint for stats in self.endpoint_pool.endpoints if stats.outlier_state.healthy}
        assert healthy == set(self.endpoints) - self.out

    def teardown(self):
        for in_flight in getattr(self, "attempts", ()):
            in_flight.release()
            in_flight.release()
            assert in_flight.stats.in_flight >= 0
        for stats in self.endpoint_pool.endpoints:
            assert (stats.in_flight, stats.unanswered) == (0, 0)


def test_balancer_agrees_with_the_model():
    """In any order of events, the choice and the ejections are as the model requires."""
    run_state_machine_as_test(Interleavings, settings=MACHINE)


def release_without_looking(in_flight):
    in_flight.stats.in_flight -= 1


MUTANTS = {
    "a closed circuit does not matter": (Balancer, "_admits", lambda *_: True),
    "the last one may be ejected": (
        EndpointPool,
        "_eject",
        lambda self, m, now, reason: (
            None
            if m.outlier_state.ejected or m not in self.endpoints
            else (m.outlier_state.eject(now, self._rng), self._tell(m, reason))
        ),
    ),
    "an attempt may be released twice": (InFlight, "release", release_without_looking),
    "ejected endpoints are chosen": (EndpointPool, "healthy_of", lambda _, endpoints: endpoints),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_model_detects_a_broken_balancer(mutant, monkeypatch):
    """Negative control: with one part of the balancer disabled, the comparison fails."""
    monkeypatch.setattr(*MUTANTS[mutant])
    only_find = settings(MACHINE, phases=[Phase.generate], database=None, print_blob=False, max_examples=1_000)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Interleavings, settings=only_find)
