"""The parts of an error: what programs read, and the one line for people that joins them."""

from __future__ import annotations

import copy
import pickle

import pytest

from resilient_client import APIConnectionError, APIError, BulkheadFullError, CircuitOpenError, DeadlineExceededError

LABEL = "GET https://a.example/users/{id}"


def test_error_text_joins_label_and_summary() -> None:
    """The label comes first; without one, the summary stands alone."""
    assert str(APIError("no answer", label=LABEL)) == f"{LABEL}: no answer"
    assert str(APIError("no answer")) == "no answer"


def test_error_text_adds_attempts_and_advice() -> None:
    """More than one attempt is counted, with the time; the advice comes last."""
    error = APIConnectionError("no answer", label=LABEL)
    error.attempts, error.elapsed, error.advice = 3, 1.5, ("not retried further: the budget is empty",)
    assert str(error) == f"{LABEL}: no answer; 3 attempts in 1.5 s; not retried further: the budget is empty"


@pytest.mark.parametrize("kind", [CircuitOpenError, BulkheadFullError])
def test_rejection_says_that_nothing_was_sent(kind: type[CircuitOpenError]) -> None:
    """The effect stands in the text, not in the summary."""
    error = kind("the circuit is open", label=LABEL)
    assert (error.summary, error.effect) == ("the circuit is open", "nothing was sent")
    assert str(error) == f"{LABEL}: the circuit is open; nothing was sent"


def test_error_without_a_summary_is_named_by_its_type() -> None:
    """There is always something to read."""
    assert (APIError().summary, str(DeadlineExceededError())) == ("APIError", "DeadlineExceededError")


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301 -- our own bytes
def test_error_parts_survive_a_copy(clone: object) -> None:
    """Copies and pickles keep every part."""
    error = CircuitOpenError("the circuit is open", label=LABEL, retry_after=2.0)
    error.advice = ("one reason",)
    assert callable(clone)
    same = clone(error)
    assert (same.label, same.summary, same.effect, same.advice) == (LABEL, error.summary, error.effect, error.advice)
    assert str(same) == str(error)
