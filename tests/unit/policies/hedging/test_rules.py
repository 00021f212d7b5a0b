"""Whether a failed attempt starts the next one at once, and what that costs."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from resilient_client._core.errors import APIConnectionError, APIError, APITimeoutError, CircuitOpenError
from resilient_client._core.kinds import ErrorKind, Stage
from resilient_client._core.response import Response
from resilient_client._policies.classify import fault_of
from resilient_client._policies.hedging.rules import calls_for_next, cost_of_next
from resilient_client._policies.retry.budget import RETRY_COST, TIMEOUT_COST
from resilient_client._settings.retry import Retry

STATUSES = Retry().statuses


def reply(status: int, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, CIMultiDictProxy(CIMultiDict(named)), b"", URL("https://api.example.com/"))


def lost(*, kind: ErrorKind = ErrorKind.DISCONNECTED, retryable: bool = True, stale: bool = False) -> APIError:
    error = APIConnectionError("lost", kind=kind, stage=Stage.HEADERS, retryable=retryable)
    error.stale_connection = stale
    return error


@pytest.mark.parametrize(
    ("outcome", "next_at_once"),
    [
        (reply(500), True),
        (reply(503), True),
        (reply(503, Retry_After="1"), False),  # it asks for a pause, which the retry makes
        (reply(429), False),
        (reply(404), False),  # an answer
        (lost(), True),
        (lost(retryable=False), False),
        (lost(stale=True), False),  # the retry repeats it at once, and for nothing
        (lost(kind=ErrorKind.POOL), False),  # it is us who are busy
        (APITimeoutError("slow", stage=Stage.HEADERS, retryable=True), True),
        (CircuitOpenError("open"), False),
    ],
    ids=repr,
)
def test_failure_calls_for_next_only_if_retryable(outcome: Response | APIError, next_at_once: bool) -> None:
    """One that asks for time, was refused by the client, or is final does not."""
    assert calls_for_next(outcome, fault_of(outcome, STATUSES)) is next_at_once


def test_next_attempt_after_a_timeout_costs_as_much_as_its_retry() -> None:
    """Hedging does not avoid the cost of timeouts."""
    timeout = APITimeoutError("slow", stage=Stage.HEADERS, retryable=True)
    assert cost_of_next(fault_of(timeout, STATUSES)) == TIMEOUT_COST
    assert cost_of_next(fault_of(lost(), STATUSES)) == RETRY_COST
