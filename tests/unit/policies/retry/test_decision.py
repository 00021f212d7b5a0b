"""Whether a failed attempt is followed by another: every reason for "no", and the order of the questions."""

import itertools
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_client._core.endpoint import Endpoint
from resilient_client._core.kinds import ErrorKind
from resilient_client._policies.classify import Fault
from resilient_client._policies.retry.budget import RETRY_COST, TIMEOUT_COST, RetryTokens
from resilient_client._policies.retry.decision import GiveUp, Repeat, RetryState, decide
from resilient_client._policies.retry.retry_after import MAX_JITTER, MAX_JITTER_RATIO
from resilient_client._settings.retry import Retry, RetryBudget

TARGET = Endpoint("https", "api.example.com", 443)
FAULT = Fault(ErrorKind.DISCONNECTED, True, True, False, False, "disconnected")
STATE = RetryState(
    step=1,
    now=100.0,
    deadline=110.0,
    method="GET",
    idempotent=True,
    sendable=True,
    retry_after=None,
    target=TARGET,
    rejects_for=0.0,
    failed_alone=False,
)
EMPTY = RetryBudget(initial=0.0, min_per_second=0.0)

# What makes each question end in "no", in the order of the questions, and a part of the reason that it gives. "" means
# that the failure itself is the whole message.
REFUSALS = {
    "retryable": ({"retryable": False}, {}, ""),
    "rejected": ({"rejected": True}, {}, ""),
    "idempotent": (
        {},
        {"idempotent": False, "method": "POST"},
        "the server may have acted on this POST; give",
    ),
    "sendable": ({}, {"sendable": False}, "the body is one-shot and was already sent"),
    "attempts": ({}, {"step": 3}, ""),
    "cap": ({}, {"retry_after": 60.5}, "the server asks to wait 60.5 s, above"),
    "deadline": ({}, {"deadline": 100.5}, "a pause of 1 s does not fit into the 0.5 s left"),
    "circuit": ({}, {"rejects_for": 4.0}, "the circuit of https://api.example.com is open for another 4 s"),
    "budget": ({}, {}, "the retry budget of this upstream is empty"),
}
ORDER = list(REFUSALS)


class Delay:
    """A backoff of one second that counts how often it is asked."""

    def __init__(self, seconds=1.0):
        self.seconds = seconds
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return self.seconds


def make_tokens(initial=5.0):
    return RetryTokens(RetryBudget(initial=initial, burst=9.0, min_per_second=0.0), STATE.now)


def ask(fault=None, state=None, settings=None, *, delay=None, tokens=None, seed=0):
    """Decide on a retryable fault, with the given fields replaced."""
    return decide(
        FAULT._replace(**(fault or {})),
        STATE._replace(**(state or {})),
        settings or Retry(max_attempts=3),
        backoff_delay=delay or Delay(),
        tokens=tokens,
        rng=Random(seed),
    )


def refuse(*names, tokens=None):
    """Decide while the questions of these names would all end in "no"."""
    fault, state = {}, {}
    for name in names:
        fault |= REFUSALS[name][0]
        state |= REFUSALS[name][1]
    if "budget" in names:
        tokens = RetryTokens(EMPTY, STATE.now)
    return ask(fault, state, tokens=tokens)


# --- yes ---


def test_retryable_fault_is_repeated_after_the_backoff():
    """The usual answer: another attempt, after the delay of the backoff."""
    assert ask(delay=Delay(0.3)) == Repeat(0.3, 0.0)


def test_repeat_without_budget_costs_nothing():
    """Without a budget there is nothing to refund."""
    assert ask(tokens=None).cost == 0.0


def test_backoff_is_asked_once():
    """A random backoff must not be drawn twice for one delay."""
    delay = Delay()
    ask(state={"retry_after": 0.5}, delay=delay, tokens=make_tokens())
    assert delay.asked == 1


# --- no, and why ---


@pytest.mark.parametrize("name", ORDER)
def test_refusal_gives_its_reason(name):
    """Each question can end the retrying, with a reason that names the values and the remedy."""
    decision = refuse(name)
    part = REFUSALS[name][2]
    assert isinstance(decision, GiveUp)
    if part:
        assert decision.reason.startswith(f"not retried: {part}")
    else:
        assert decision.reason == ""


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(ORDER, 2)))
def test_refusal_names_the_first_reason(first, second):
    """With two reasons for "no", the one that comes first in the order of the questions is given."""
    assert refuse(first, second) == refuse(first)


@pytest.mark.parametrize("name", [name for name in ORDER if name != "budget"])
def test_refusal_spends_nothing(name):
    """The budget is asked last, because asking takes tokens."""
    tokens = make_tokens()
    refuse(name, tokens=tokens)
    assert tokens.available(STATE.now) == 5.0


@pytest.mark.parametrize("name", ["retryable", "rejected", "idempotent", "sendable", "attempts", "cap"])
def test_refusal_draws_no_backoff(name):
    """A delay is computed only if the attempt may be repeated at all."""
    delay = Delay()
    ask(REFUSALS[name][0], REFUSALS[name][1], delay=delay)
    assert delay.asked == 0


@pytest.mark.parametrize(("initial", "kind"), [(0.9, ErrorKind.DISCONNECTED), (4.9, ErrorKind.TIMEOUT)])
def test_refusal_by_the_budget_spends_nothing(initial, kind):
    """Too few tokens stay in the bucket."""
    tokens = make_tokens(initial)
    assert isinstance(ask({"kind": kind}, tokens=tokens), GiveUp)
    assert tokens.available(STATE.now) == initial


# --- whether a repeat is harmless ---


@pytest.mark.parametrize(
    ("maybe_processed", "idempotent", "repeated"),
    [(False, False, True), (False, True, True), (True, True, True), (True, False, False)],
)
def test_repeat_needs_idempotency_only_if_processed(maybe_processed, idempotent, repeated):
    """A request that the server cannot have acted on is repeated with any method."""
    decision = ask({"maybe_processed": maybe_processed}, {"method": "POST", "idempotent": idempotent})
    assert isinstance(decision, Repeat) is repeated


def test_refusal_of_a_method_names_the_remedy():
    """The reason names the method and both ways to allow a repeat."""
    reason = ask({}, {"method": "PATCH", "idempotent": False}).reason
    assert reason == (
        "not retried: the server may have acted on this PATCH; "
        "give idempotency_key='auto' or idempotent=True if a repeat is harmless"
    )


@pytest.mark.parametrize("maybe_processed", [True, False])
def test_one_shot_body_is_never_repeated(maybe_processed):
    """A stream that was sent is gone, whether or not the server acted on it."""
    decision = ask({"maybe_processed": maybe_processed}, {"sendable": False})
    assert decision.reason.endswith("give bytes, a file or a factory")


# --- how often ---


@pytest.mark.parametrize(("step", "repeated"), [(1, True), (2, True), (3, False), (4, False)])
def test_attempts_are_bounded(step, repeated):
    """``max_attempts`` counts the first attempt, too."""
    assert isinstance(ask(state={"step": step}), Repeat) is repeated


def test_single_allowed_attempt_is_explained():
    """Without any repeat the error names the setting; after two attempts their number is enough."""
    assert ask(settings=Retry(max_attempts=1)).reason == "not retried: max_attempts=1"
    assert ask(state={"step": 3}).reason == ""


# --- stale connections ---


def test_stale_connection_is_repeated_at_once():
    """Without a delay, without tokens, and although the circuit would refuse for the length of a delay."""
    delay, tokens = Delay(), make_tokens()
    decision = ask({"stale": True}, {"retry_after": 90.0}, delay=delay, tokens=tokens)
    assert decision == Repeat(0.0, 0.0)
    assert (delay.asked, tokens.available(STATE.now)) == (0, 5.0)


@pytest.mark.parametrize("name", ["retryable", "rejected", "idempotent", "sendable", "attempts"])
def test_stale_connection_passes_the_questions_before(name):
    """A repeat that is not allowed is not allowed on a stale connection either."""
    fault, state, _ = REFUSALS[name]
    assert isinstance(ask({"stale": True} | fault, state), GiveUp)


# --- Retry-After ---


def test_retry_after_is_a_floor_under_the_backoff():
    """The longer of the two delays counts."""
    assert ask(state={"retry_after": 0.4}, delay=Delay(1.0)).delay == 1.0
    assert 4.0 <= ask(state={"retry_after": 4.0}, delay=Delay(1.0)).delay <= 5.0


@pytest.mark.parametrize(("seconds", "repeated"), [(2.0, True), (2.01, False), (math.inf, False)])
def test_retry_after_above_the_cap_ends_the_retrying(seconds, repeated):
    """A delay of exactly the cap is waited for; a longer one is never shortened to it."""
    decision = ask(state={"retry_after": seconds, "deadline": math.inf}, settings=Retry(max_retry_after=2))
    assert isinstance(decision, Repeat) is repeated


def test_retry_after_cap_ignores_the_jitter():
    """The cap is compared with what the server asks for, not with the jittered delay."""
    decisions = [
        ask(state={"retry_after": 2.0, "deadline": math.inf}, settings=Retry(max_retry_after=2), seed=seed)
        for seed in range(20)
    ]
    assert max(decision.delay for decision in decisions) > 2.0


def test_retry_after_beyond_the_deadline_ends_the_retrying():
    """The requested delay is not shortened to the time that is left either."""
    assert "does not fit into the 10 s left" in ask(state={"retry_after": 30.0}).reason


@given(seconds=st.floats(0, 60), backoff=st.floats(0, 60), seed=st.integers(0, 1000))
def test_delay_is_bounded_by_backoff_and_jitter(seconds, backoff, seed):
    """It is never below either delay, and above both only by the jitter on ``Retry-After``."""
    decision = ask(state={"retry_after": seconds, "deadline": math.inf}, delay=Delay(backoff), seed=seed)
    assert decision.delay >= max(seconds, backoff)
    assert decision.delay <= max(backoff, seconds + min(seconds * MAX_JITTER_RATIO, MAX_JITTER))


# --- the deadline and the circuit ---


@pytest.mark.parametrize(("remaining", "repeated"), [(1.0, False), (1.0001, True), (0.0, False), (-5.0, False)])
def test_delay_must_end_before_the_deadline(remaining, repeated):
    """A delay that ends exactly at the deadline leaves no time for the attempt."""
    decision = ask(state={"deadline": STATE.now + remaining})
    assert isinstance(decision, Repeat) is repeated


def test_zero_delay_needs_time_for_the_attempt():
    """Even without a delay there is no repeat at the deadline."""
    assert isinstance(ask(state={"deadline": STATE.now}, delay=Delay(0.0)), GiveUp)


@given(remaining=st.floats(-100, 100), backoff=st.floats(0, 100), rejects_for=st.floats(0, 100))
def test_repeat_starts_before_the_deadline_and_after_the_break(remaining, backoff, rejects_for):
    """An attempt that would certainly be refused, or would have no time, is never started."""
    state = {"now": 0.0, "deadline": remaining, "rejects_for": rejects_for}
    decision = ask(state=state, delay=Delay(backoff))
    assert isinstance(decision, Repeat) is (rejects_for <= backoff < remaining)


@pytest.mark.parametrize(("rejects_for", "repeated"), [(0.9, True), (1.0, True), (1.1, False)])
def test_delay_may_end_with_the_break_of_the_circuit(rejects_for, repeated):
    """A circuit that admits again by then does not prevent the repeat."""
    assert isinstance(ask(state={"rejects_for": rejects_for}), Repeat) is repeated


def test_forced_open_circuit_gives_no_time():
    """A circuit without a known end of its break is reported without a number."""
    state = {"rejects_for": math.inf, "target": "every endpoint"}
    assert ask(state=state).reason == "not retried: the circuit of every endpoint is open"


# --- the budget ---


@pytest.mark.parametrize(
    ("kind", "failed_alone", "cost"),
    [
        (ErrorKind.DISCONNECTED, False, RETRY_COST),
        (ErrorKind.SERVER_ERROR, False, RETRY_COST),
        (ErrorKind.THROTTLED, False, RETRY_COST),
        (ErrorKind.TIMEOUT, False, TIMEOUT_COST),
        (ErrorKind.DEADLINE, False, TIMEOUT_COST),
        (ErrorKind.TIMEOUT, True, RETRY_COST),
        (ErrorKind.DEADLINE, True, RETRY_COST),
        (ErrorKind.DISCONNECTED, True, RETRY_COST),
    ],
)
def test_cost_depends_on_the_sign_of_overload(kind, failed_alone, cost):
    """A timeout costs more, except that of one endpoint while others serve; the cost is what was taken."""
    tokens = make_tokens()
    decision = ask({"kind": kind}, {"failed_alone": failed_alone}, tokens=tokens)
    assert decision == Repeat(1.0, cost)
    assert tokens.available(STATE.now) == 5.0 - cost


def test_budget_allows_as_many_repeats_as_it_has_tokens():
    """The bucket is shared: the calls after the last token are given up."""
    tokens = make_tokens(initial=3.0)
    decisions = [ask(tokens=tokens) for _ in range(5)]
    assert [isinstance(decision, Repeat) for decision in decisions] == [True] * 3 + [False] * 2
