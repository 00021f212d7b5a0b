"""The bucket that bounds hedges: its arithmetic against a model, and its bound."""

from hypothesis import given
from hypothesis import strategies as st

from resilient_client.policies.hedge_budget import MOST, START, HedgeTokens

EIGHTH = 0.125  # exact in binary, so that model and bucket agree to the last bit
steps = st.lists(st.sampled_from(["answer"] * 8 + ["hedge", "return"]), max_size=2000)


@given(steps)
def test_hedge_tokens_follow_the_model(steps: list[str]) -> None:
    """A whole token a hedge, an eighth a call, some given back, never above the most: step by step."""
    tokens, level, out = HedgeTokens(), START, 0
    for step in steps:
        if step == "answer":
            tokens.deposit(EIGHTH)
            level = min(MOST, level + EIGHTH)
        elif step == "hedge":
            assert tokens.try_spend() == (level >= 1)
            out += level >= 1
            level -= level >= 1
        elif out:
            out -= 1
            tokens.give_back()
            level = min(MOST, level + 1)
        assert tokens.available == level


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
