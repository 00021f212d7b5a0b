"""The bucket that bounds hedges: its arithmetic against a model, and its bound."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_client._policies.hedging.budget import INITIAL_TOKENS, LOSS, MAX_TOKENS, MIN_WORTH, WIN_GAIN, HedgeTokens

EIGHTH = 0.125  # exact in binary, so that model and bucket agree to the last bit
steps = st.lists(st.sampled_from(["answer"] * 8 + ["hedge", "return", "win", "defeat"]), max_size=2000)


@given(steps)
def test_hedge_tokens_follow_the_model(steps: list[str]) -> None:
    """A whole token a hedge, an eighth a call by the worth of hedges, some given back, never above the most."""
    tokens, level, worth, out = HedgeTokens(), INITIAL_TOKENS, 1.0, 0
    for step in steps:
        match step:
            case "answer":
                tokens.deposit(EIGHTH)
                level += EIGHTH * worth
            case "hedge":
                assert tokens.try_spend() == (level >= 1)
                out += level >= 1
                level -= level >= 1
            case "return" if out:
                out -= 1
                tokens.refund()
                level += 1
            case "win" | "defeat":
                tokens.judge(won=step == "win")
                worth = min(1.0, worth + WIN_GAIN) if step == "win" else max(MIN_WORTH, worth - LOSS)
        level = min(level, MAX_TOKENS * worth)
        assert (tokens.available, tokens.worth) == (level, worth)


@given(st.lists(st.booleans(), max_size=3000))
def test_hedges_are_bounded_by_the_start_and_their_share(hedges: list[bool]) -> None:
    """In any order there are at most ten, and one per twenty answered calls."""
    tokens, made, answered = HedgeTokens(), 0, 0
    for hedge in hedges:
        if hedge:
            made += tokens.try_spend()
        else:
            tokens.deposit(0.05)
            answered += 1
        assert made <= INITIAL_TOKENS + 0.05 * answered + 1e-6


def test_hedge_tokens_run_out_without_answers() -> None:
    """Time adds no tokens: after the first ten hedges there are no more."""
    tokens = HedgeTokens()
    assert sum(tokens.try_spend() for _ in range(1000)) == INITIAL_TOKENS


def hedges_made(share_of_wins: float, calls: int = 20_000) -> float:
    """The share of calls hedged where hedges win at random and every call would be hedged."""
    tokens, rng, made = HedgeTokens(), Random(1), 0
    for _ in range(calls):
        tokens.deposit(0.05)
        if tokens.try_spend():
            made += 1
            tokens.judge(won=rng.random() < share_of_wins)
    return made / calls


@pytest.mark.parametrize("wins", [0.8, 0.98])
def test_hedges_that_mostly_win_get_their_full_share(wins: float) -> None:
    """Of the five in a hundred calls that they may be, three and a half at the least."""
    assert 0.035 <= hedges_made(wins) <= 0.0505


@pytest.mark.parametrize("wins", [0.0, 0.5])
def test_hedges_that_mostly_lose_are_cut_to_a_few(wins: float) -> None:
    """At most one per 200 calls is left, which is enough to notice a change."""
    assert 0.001 <= hedges_made(wins) <= 0.006


def test_hedges_that_win_again_come_back() -> None:
    """After a day of losses, ten wins are enough for the full share."""
    tokens = HedgeTokens()
    for _ in range(1000):
        tokens.judge(won=False)
    assert tokens.worth == MIN_WORTH
    for _ in range(10):
        tokens.judge(won=True)
    assert tokens.worth == 1.0


# --- when far more are late than usually are ---

USUAL = 0.05


def late_in(late: list[bool]) -> HedgeTokens:
    """Tokens of steps that were begun one after the other, some of them late."""
    tokens = HedgeTokens()
    for is_late in late:
        tokens.begun += 1
        if is_late:
            tokens.late(tokens.begun, USUAL)
    return tokens


def test_the_usual_number_of_late_steps_is_no_congestion() -> None:
    """With one in twenty late, coincidence suppresses at most three hedges in a hundred."""
    rng, tokens, congested = Random(1), HedgeTokens(), 0
    for _ in range(20_000):
        tokens.begun += 1
        if rng.random() < USUAL:
            tokens.late(tokens.begun, USUAL)
            congested += tokens.congested
    assert congested <= 0.03 * 20_000 * USUAL


def test_four_times_as_many_late_steps_as_usual_are_a_crowd_soon() -> None:
    """One in five: known after a hundred steps, and over after a hundred or so that were in time."""
    assert late_in([number % 5 == 0 for number in range(100)]).congested
    assert not late_in([number % 5 == 0 for number in range(100)] + [False] * 100 + [True]).congested


def test_late_steps_fade_with_the_steps_begun() -> None:
    """Of a thousand begun at once, fifty late at the same moment are usual. Of 400, they are not."""
    for begun, congested in ((1000, False), (400, True)):
        tokens = HedgeTokens()
        tokens.begun = begun
        for number in range(0, begun, begun // 50):
            tokens.late(number + 1, USUAL)
        assert tokens.congested is congested


@given(st.lists(st.tuples(st.integers(1, 500), st.sampled_from([0.05, 0.2, 1.0])), max_size=300))
def test_lateness_is_bounded_by_all_steps_being_late(late: list[tuple[int, float]]) -> None:
    """In any order of reports it only fades. Where all steps are usually late, there is no congestion."""
    tokens, total = HedgeTokens(), 0.0
    for number, usual in late:
        tokens.late(number, usual)
        total += 1 / usual
        assert 0 < tokens._lateness <= total
    everybody = HedgeTokens()
    for number in range(2000):
        everybody.late(number, 1.0)
        assert not everybody.congested
