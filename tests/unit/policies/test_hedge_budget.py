"""The bucket that bounds hedges: its arithmetic against a model, and its bound."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_client.policies.hedge_budget import DEFEAT, LEAST, MOST, START, WIN, HedgeTokens

EIGHTH = 0.125  # exact in binary, so that model and bucket agree to the last bit
steps = st.lists(st.sampled_from(["answer"] * 8 + ["hedge", "return", "win", "defeat"]), max_size=2000)


@given(steps)
def test_hedge_tokens_follow_the_model(steps: list[str]) -> None:
    """A whole token a hedge, an eighth a call by the worth of hedges, some given back, never above the most."""
    tokens, level, worth, out = HedgeTokens(), START, 1.0, 0
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
                tokens.give_back()
                level += 1
            case "win" | "defeat":
                tokens.judge(won=step == "win")
                worth = min(1.0, worth + WIN) if step == "win" else max(LEAST, worth - DEFEAT)
        level = min(level, MOST * worth)
        assert (tokens.available, tokens.worth) == (level, worth)


@given(st.lists(st.booleans(), max_size=3000))
def test_hedges_never_exceed_the_start_and_their_share_of_the_calls(hedges: list[bool]) -> None:
    """Whatever the order: at most ten, and one for each twenty answered calls."""
    tokens, made, answered = HedgeTokens(), 0, 0
    for hedge in hedges:
        if hedge:
            made += tokens.try_spend()
        else:
            tokens.deposit(0.05)
            answered += 1
        assert made <= START + 0.05 * answered + 1e-6


def test_hedge_tokens_of_an_upstream_that_answers_nothing_run_out() -> None:
    """No floor in time: after the first ten there are no more."""
    tokens = HedgeTokens()
    assert sum(tokens.try_spend() for _ in range(1000)) == START


def hedges_made(share_of_wins: float, calls: int = 20_000) -> float:
    """The share of calls hedged where hedges win by chance, and every call would like one."""
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
    """One in 200 calls at the most: enough to see when times change."""
    assert 0.001 <= hedges_made(wins) <= 0.006


def test_hedges_that_win_again_come_back() -> None:
    """After a day of defeats, ten wins are enough for the full share."""
    tokens = HedgeTokens()
    for _ in range(1000):
        tokens.judge(won=False)
    assert tokens.worth == LEAST
    for _ in range(10):
        tokens.judge(won=True)
    assert tokens.worth == 1.0
