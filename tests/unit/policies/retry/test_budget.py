"""The bucket that bounds retries: its arithmetic, and what an outage costs with it."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_client._policies.retry.budget import RETRY_COST, TIMEOUT_COST, RetryBudgets, RetryTokens
from resilient_client._settings.retry import RetryBudget

FULL = RetryBudget(initial=10.0, burst=10.0)
STILL = RetryBudget(initial=1.0, burst=2.0, max_extra_load=0.5, min_per_second=0.0)
"""Nothing trickles in, so that time does not matter."""

# Eighths and halves are exact in binary, so the model and the bucket agree to the last bit.
exact_settings = st.builds(
    RetryBudget,
    max_extra_load=st.sampled_from([0.0, 0.125, 0.25, 1.0]),
    burst=st.sampled_from([0.5, 2.0, 10.0]),
    min_per_second=st.sampled_from([0.0, 0.125, 4.0]),
)
step = st.tuples(
    st.integers(-16, 80).map(lambda eighths: eighths / 8),
    st.sampled_from([0.0, RETRY_COST, TIMEOUT_COST]),
)
"""Seconds that pass, and what is then spent; 0.0 stands for a deposit."""


@dataclass
class Model:
    """A bucket filled eighth by eighth of a second, as the settings describe it."""

    settings: RetryBudget
    level: float
    furthest: float = 0.0

    def add(self, tokens: float) -> None:
        self.level = min(self.settings.burst, self.level + tokens)

    def pass_to(self, now: float) -> None:
        while self.furthest < now:
            self.furthest += 0.125
            self.add(0.125 * self.settings.min_per_second)

    def spend(self, cost: float) -> bool:
        enough = self.level >= cost
        self.level -= cost if enough else 0.0
        return enough


def attempts_in_outage(*, every: float, lasting: float, deposit_when_started: bool = False) -> float:
    """Attempts per call when everything fails from a full bucket on, for a client that retries all it may."""
    tokens = RetryTokens(FULL, now=0.0)
    calls = round(lasting / every)
    retries = 0
    for call in range(calls):
        now = call * every
        if deposit_when_started:
            tokens.deposit(now)
        while tokens.try_spend(now, RETRY_COST):
            retries += 1
    return (calls + retries) / calls


def test_tokens_at_the_start_are_initial() -> None:
    """A new bucket holds ``initial``."""
    assert RetryTokens(RetryBudget(), now=7.0).available(7.0) == 5.0


def test_tokens_at_the_start_are_clipped_to_burst() -> None:
    """A default ``initial`` adapts to a smaller ``burst``."""
    assert RetryTokens(RetryBudget(burst=3.0), now=0.0).available(0.0) == 3.0


def test_try_spend_with_enough_tokens_takes_them() -> None:
    """The last whole token can be spent."""
    tokens = RetryTokens(STILL, now=0.0)
    assert tokens.try_spend(0.0, RETRY_COST)
    assert tokens.available(0.0) == 0.0


def test_try_spend_with_too_few_tokens_takes_none() -> None:
    """A refusal costs nothing: a cheaper attempt may still be paid for."""
    tokens = RetryTokens(STILL, now=0.0)
    assert not tokens.try_spend(0.0, TIMEOUT_COST)
    assert tokens.available(0.0) == 1.0


def test_deposit_adds_ratio() -> None:
    """One good call pays for ``max_extra_load`` of a retry."""
    tokens = RetryTokens(STILL, now=0.0)
    tokens.deposit(0.0)
    assert tokens.available(0.0) == 1.5


def test_deposit_into_a_full_bucket_is_lost() -> None:
    """Good times are remembered up to ``burst`` and no further."""
    tokens = RetryTokens(STILL, now=0.0)
    for _ in range(100):
        tokens.deposit(0.0)
    assert tokens.available(0.0) == 2.0


def test_tokens_after_a_while_have_trickled_in() -> None:
    """Without any call, ``min_per_second`` arrives by itself."""
    tokens = RetryTokens(RetryBudget(initial=0.0, min_per_second=0.01), now=0.0)
    assert tokens.available(50.0) == 0.5


def test_tokens_after_ages_end_at_burst() -> None:
    """What trickles in is capped too."""
    assert RetryTokens(RetryBudget(burst=7.0), now=0.0).available(1e9) == 7.0


def test_tokens_when_time_steps_back_stay_and_earn_nothing_twice() -> None:
    """A clock that steps back takes no token away and does not add tokens for the same seconds twice."""
    tokens = RetryTokens(RetryBudget(initial=0.0, min_per_second=0.5), now=0.0)
    assert [tokens.available(now) for now in (4.0, 1.0, 4.0, 6.0)] == [2.0, 2.0, 2.0, 3.0]


@pytest.mark.parametrize("every", [1.0, 0.5, 0.1, 0.01])
def test_outage_of_a_minute_costs_at_most_a_quarter_more(every: float) -> None:
    """Clients that call once a second or more send at most 1.25 times their load, even from a full bucket."""
    assert attempts_in_outage(every=every, lasting=60.0) <= 1.25


def test_outage_of_a_minute_costs_one_bucketful() -> None:
    """At one call a second the extra load is the bucket: 10 retries on 60 calls."""
    assert attempts_in_outage(every=1.0, lasting=60.0) == 70 / 60


def test_outage_costs_tiny_clients_at_most_half_more() -> None:
    """Clients that call once in 10 s send at most 1.5 times their load: 12 retries on 30 calls."""
    assert attempts_in_outage(every=10.0, lasting=300.0) == 42 / 30


@pytest.mark.parametrize(("every", "lasting", "bound"), [(1.0, 60.0, 1.25), (10.0, 300.0, 1.5)])
def test_outage_with_deposits_by_started_calls_breaks_the_bound(every: float, lasting: float, bound: float) -> None:
    """The bounds rest on depositing for answers: credited at their start, failing calls feed the storm."""
    assert attempts_in_outage(every=every, lasting=lasting, deposit_when_started=True) > bound


@given(exact_settings, st.lists(step, max_size=60))
@settings(derandomize=True, deadline=None)
def test_tokens_through_any_history_equal_a_plain_model(
    budget: RetryBudget, history: list[tuple[float, float]]
) -> None:
    """Counting lazily gives what counting every eighth of a second would."""
    tokens, model, now = RetryTokens(budget, now=0.0), Model(budget, min(5.0, budget.burst)), 0.0
    for passed, cost in history:
        now += passed
        model.pass_to(now)
        if cost:
            assert tokens.try_spend(now, cost) is model.spend(cost)
        else:
            tokens.deposit(now)
            model.add(budget.max_extra_load)
        assert tokens.available(now) == model.level


@given(
    st.builds(RetryBudget, max_extra_load=st.floats(0, 1), burst=st.floats(0.1, 100), min_per_second=st.floats(0, 10)),
    st.lists(step, max_size=60),
)
@settings(derandomize=True, deadline=None)
def test_spending_through_any_history_is_bounded_by_what_came_in(
    budget: RetryBudget, history: list[tuple[float, float]]
) -> None:
    """Tokens stay within 0 and ``burst``. At most the start, the deposits and the trickle are spent."""
    tokens, now, furthest, spent = RetryTokens(budget, now=0.0), 0.0, 0.0, 0.0
    came_in = tokens.available(0.0)
    for passed, cost in history:
        now += passed
        came_in += max(0.0, now - furthest) * budget.min_per_second
        furthest = max(furthest, now)
        if cost:
            spent += cost if tokens.try_spend(now, cost) else 0.0
        else:
            tokens.deposit(now)
            came_in += budget.max_extra_load
        assert 0.0 <= tokens.available(now) <= budget.burst
        assert spent <= came_in + 1e-9


def test_budgets_for_one_upstream_share_one_bucket() -> None:
    """All calls to an upstream draw on the same tokens."""
    budgets = RetryBudgets(RetryBudget())
    assert budgets.for_upstream("a", 0.0) is budgets.for_upstream("a", 9.0)


def test_budgets_for_two_upstreams_are_separate() -> None:
    """One upstream's outage leaves another's retries alone."""
    budgets = RetryBudgets(RetryBudget(min_per_second=0.0))
    budgets.for_upstream("a", 0.0).try_spend(0.0, RETRY_COST)
    assert budgets.for_upstream("b", 0.0).available(0.0) == 5.0


def test_budgets_for_a_late_upstream_start_with_its_first_use() -> None:
    """Nothing trickles in for the time before an upstream was known."""
    assert RetryBudgets(RetryBudget()).for_upstream("a", 1e6).available(1e6) == 5.0


def test_budgets_beyond_the_limit_drop_the_least_recently_used() -> None:
    """Memory is bounded, and the bucket used last is kept."""
    budgets = RetryBudgets(RetryBudget(), limit=2)
    first, second = budgets.for_upstream("first", 0.0), budgets.for_upstream("second", 0.0)
    budgets.for_upstream("first", 1.0)
    budgets.for_upstream("third", 2.0)
    assert budgets.for_upstream("first", 3.0) is first
    assert budgets.for_upstream("second", 3.0) is not second


def test_budgets_read_as_a_mapping_do_not_count_a_use() -> None:
    """Reading neither makes a bucket nor keeps one."""
    budgets = RetryBudgets(RetryBudget(), limit=2)
    first, second = budgets.for_upstream("first", 0.0), budgets.for_upstream("second", 0.0)
    assert dict(budgets) == {"first": first, "second": second}
    assert budgets["first"] is first
    assert budgets.get("never used") is None
    budgets.for_upstream("third", 1.0)
    assert list(budgets) == ["second", "third"]


def test_refunded_tokens_never_exceed_burst() -> None:
    """The tokens of an attempt that never started return. A full bucket stays full."""
    tokens = RetryTokens(RetryBudget(initial=5, burst=10, min_per_second=0), 0.0)
    assert tokens.try_spend(0.0, 2.0)
    tokens.refund(2.0)
    assert tokens.available(0.0) == 5.0
    tokens.refund(100.0)
    assert tokens.available(0.0) == 10.0
